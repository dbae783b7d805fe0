//! Another master key: whatever is sealed is opened with the old one and sealed with the new, all of it or nothing.

use weir_domain::id::{ChannelId, ConnectSessionId, EndpointId, Id};

use crate::Result;
use crate::db::{Db, Row, get_id, params};
use crate::meta::{KEY_CHECK, KEY_CHECKED};
use crate::tables::{channels, connect, endpoints, keys};
use crate::vault::{Place, Vault};

/// A column of sealed values.
struct Sealed {
    read: &'static str,
    write: &'static str,
    /// The row as its place names it.
    row: fn(&Row<'_>) -> Result<String>,
    place: fn(&str) -> Place<'_>,
}

const SEALED: [Sealed; 5] = [
    Sealed {
        read: "SELECT channel_id, sealed FROM credentials",
        write: "UPDATE credentials SET sealed = ?2 WHERE channel_id = ?1",
        row: named::<ChannelId>,
        place: channels::place,
    },
    Sealed {
        read: "SELECT id, session FROM connect_sessions",
        write: "UPDATE connect_sessions SET session = ?2 WHERE id = ?1",
        row: named::<ConnectSessionId>,
        place: connect::place,
    },
    Sealed {
        read: "SELECT id, tokens FROM connect_sessions WHERE tokens IS NOT NULL",
        write: "UPDATE connect_sessions SET tokens = ?2 WHERE id = ?1",
        row: named::<ConnectSessionId>,
        place: connect::place_of_tokens,
    },
    Sealed {
        read: "SELECT id, secrets FROM endpoints",
        write: "UPDATE endpoints SET secrets = ?2 WHERE id = ?1",
        row: named::<EndpointId>,
        place: endpoints::place,
    },
    Sealed {
        read: "SELECT name, secrets FROM apps",
        write: "UPDATE apps SET secrets = ?2 WHERE name = CAST(?1 AS TEXT)",
        row: |row| row.get(0),
        place: keys::secrets_of,
    },
];

fn named<I: Id + std::fmt::Display>(row: &Row<'_>) -> Result<String> {
    Ok(get_id::<I>(row, 0)?.to_string())
}

/// Seals everything for `to`; how many values.
pub(super) fn all(db: &Db<'_>, to: &Vault) -> Result<u64> {
    let mut count = 0;
    for Sealed {
        read,
        write,
        row,
        place,
    } in SEALED
    {
        let values: Vec<(Vec<u8>, String, Vec<u8>)> = db.all(read, [], |found| {
            Ok((found.get::<&[u8]>(0)?.to_vec(), row(found)?, found.get(1)?))
        })?;
        for (id, name, sealed) in values {
            let plain = db.vault.open(&sealed, place(&name))?;
            let sealed = to.seal(&plain, place(&name), db.mint)?;
            db.run(write, params![id, sealed])?;
            count += 1;
        }
    }
    let check = to.seal(KEY_CHECKED, KEY_CHECK, db.mint)?;
    db.run("UPDATE meta SET value = ?1 WHERE name = 'key_check'", [check])?;
    Ok(count)
}
