//! The database's data about itself.

use serde::{Deserialize, Serialize};
use weir_domain::time::Timestamp;

use crate::db::{Db, json};
use crate::vault::{Place, Vault};
use crate::{Result, StoreError};

pub(crate) const KEY_CHECK: Place<'static> = Place {
    table: "meta",
    column: "value",
    row: "key_check",
};
/// The sealed value.
pub(crate) const KEY_CHECKED: &[u8] = b"weir";

/// Checks that a host may use the database: no move or change of the master key is incomplete, and it is sealed with
/// this master key.
pub(crate) fn admit(db: &Db<'_>) -> Result<()> {
    check_move(db)?;
    check_reseal(db)?;
    check_key(db)
}

/// Detects at the start, not at the first send, that the database was created with another master key.
pub(crate) fn check_key(db: &Db<'_>) -> Result<()> {
    let sealed: Option<Vec<u8>> = db.one("SELECT value FROM meta WHERE name = 'key_check'", [], |row| row.get(0))?;
    match sealed {
        Some(sealed) => match db.vault.open(&sealed, KEY_CHECK) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::WrongKey),
        },
        None => {
            let sealed = db.vault.seal(KEY_CHECKED, KEY_CHECK, db.mint)?;
            db.run("INSERT INTO meta (name, value) VALUES ('key_check', ?1)", [sealed])?;
            Ok(())
        }
    }
}

/// The state of a move, as a database stores it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mark {
    /// It is being filled.
    Filling(End),
    /// It is the source of a completed move.
    Moved(End),
}

/// The other end of a move.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// The move's id, in hexadecimal: the same at both ends.
    pub(crate) id: String,
    /// The other database, for people.
    pub(crate) place: String,
    /// When the move began, in milliseconds.
    pub(crate) at: i64,
}

/// Rejects a database that is incomplete, or that was moved.
pub(crate) fn check_move(db: &Db<'_>) -> Result<()> {
    match mark(db)? {
        None => Ok(()),
        Some(Mark::Filling(end)) => Err(StoreError::Closed(format!(
            "the move from {} to this database, started {}, is incomplete; run `weir move` again",
            end.place,
            Timestamp::from_millis(end.at)
        ))),
        Some(Mark::Moved(end)) => Err(was_moved(&end)),
    }
}

pub(crate) fn was_moved(end: &End) -> StoreError {
    StoreError::Closed(format!(
        "it was moved to {}, by a move that started {}; set `store` to that database. To use this one again, as it was then, run \
         `weir move --reopen`",
        end.place,
        Timestamp::from_millis(end.at)
    ))
}

pub(crate) fn mark(db: &Db<'_>) -> Result<Option<Mark>> {
    let text = db.one("SELECT value FROM meta WHERE name = 'move'", [], |row| {
        row.get::<Vec<u8>>(0)
    })?;
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        place: "meta, row move".to_owned(),
        reason: error.to_string(),
    };
    text.map(|text| serde_json::from_slice(&text).map_err(damaged))
        .transpose()
}

pub(crate) fn set_mark(db: &Db<'_>, mark: &Mark) -> Result<()> {
    db.run(
        "INSERT INTO meta (name, value) VALUES ('move', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [json(mark)?.into_bytes()],
    )?;
    Ok(())
}

pub(crate) fn remove_mark(db: &Db<'_>) -> Result<()> {
    db.run("DELETE FROM meta WHERE name = 'move'", []).map(drop)
}

/// Notes that all values are sealed for `to`.
pub(crate) fn finish_reseal(db: &Db<'_>, to: &Vault) -> Result<()> {
    let check = to.seal(KEY_CHECKED, KEY_CHECK, db.mint)?;
    db.run("UPDATE meta SET value = ?1 WHERE name = 'key_check'", [check])?;
    db.run("DELETE FROM meta WHERE name = 'reseal'", []).map(drop)
}

/// Where the intent to change the master key is stored, for an engine that reseals in several transactions.
const RESEAL: Place<'static> = Place {
    table: "meta",
    column: "value",
    row: "reseal",
};

/// Notes that resealing for `to` has started; until its end the database cannot be used otherwise.
pub(crate) fn begin_reseal(db: &Db<'_>, to: &Vault) -> Result<()> {
    match reseal_intent(db)? {
        Some(started) if to.open(&started, RESEAL).is_ok() => Ok(()),
        Some(_) => Err(StoreError::Closed(
            "a change to another new master key is incomplete; run `weir reseal` with that key".to_owned(),
        )),
        None => {
            let intent = to.seal(KEY_CHECKED, RESEAL, db.mint)?;
            db.run("INSERT INTO meta (name, value) VALUES ('reseal', ?1)", [intent])
                .map(drop)
        }
    }
}

/// Rejects a database that may be partly sealed with another key.
pub(crate) fn check_reseal(db: &Db<'_>) -> Result<()> {
    match reseal_intent(db)? {
        None => Ok(()),
        Some(_) => Err(StoreError::Closed(
            "the change of its master key is incomplete; run `weir reseal` again, with the same old and new key"
                .to_owned(),
        )),
    }
}

fn reseal_intent(db: &Db<'_>) -> Result<Option<Vec<u8>>> {
    db.one("SELECT value FROM meta WHERE name = 'reseal'", [], |row| row.get(0))
}
