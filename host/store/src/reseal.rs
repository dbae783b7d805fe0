//! Changing the master key: opens all sealed values with the old key and seals them with the new one.

#[cfg(test)]
mod tests;

use weir_domain::id::{ChannelId, ConnectSessionId, EndpointId, Id};

use crate::Result;
use crate::db::{Db, Row, ToParam, Value, get_id};
use crate::tables::{channels, connect, endpoints, keys};
use crate::vault::{Place, Vault};

/// Values per step, each with its row: a secret has some hundred bytes.
const STEP: i64 = 100;

/// A column of sealed values.
struct Sealed {
    /// A query for a step after a key, in rising order.
    read: &'static str,
    write: &'static str,
    /// Below every key.
    first: Value,
    key: fn(&Row<'_>) -> Result<Value>,
    /// The row id, as its place names it.
    row: fn(&Row<'_>) -> Result<String>,
    place: fn(&str) -> Place<'_>,
}

const SEALED: [Sealed; 5] = [
    Sealed {
        read: "SELECT channel_id, sealed FROM credentials WHERE channel_id > ?1 ORDER BY channel_id LIMIT ?2",
        write: "UPDATE credentials SET sealed = ?2 WHERE channel_id = ?1",
        first: Value::Blob(Vec::new()),
        key: id,
        row: named::<ChannelId>,
        place: channels::place,
    },
    Sealed {
        read: "SELECT id, session FROM connect_sessions WHERE id > ?1 ORDER BY id LIMIT ?2",
        write: "UPDATE connect_sessions SET session = ?2 WHERE id = ?1",
        first: Value::Blob(Vec::new()),
        key: id,
        row: named::<ConnectSessionId>,
        place: connect::place,
    },
    Sealed {
        read: "SELECT id, tokens FROM connect_sessions WHERE tokens IS NOT NULL AND id > ?1 ORDER BY id LIMIT ?2",
        write: "UPDATE connect_sessions SET tokens = ?2 WHERE id = ?1",
        first: Value::Blob(Vec::new()),
        key: id,
        row: named::<ConnectSessionId>,
        place: connect::place_of_tokens,
    },
    Sealed {
        read: "SELECT id, secrets FROM endpoints WHERE id > ?1 ORDER BY id LIMIT ?2",
        write: "UPDATE endpoints SET secrets = ?2 WHERE id = ?1",
        first: Value::Blob(Vec::new()),
        key: id,
        row: named::<EndpointId>,
        place: endpoints::place,
    },
    Sealed {
        read: "SELECT name, secrets FROM apps WHERE name > ?1 ORDER BY name LIMIT ?2",
        write: "UPDATE apps SET secrets = ?2 WHERE name = ?1",
        first: Value::Text(String::new()),
        key: |row| row.get(0).map(Value::Text),
        row: |row| row.get(0),
        place: keys::secrets_of,
    },
];

fn id(row: &Row<'_>) -> Result<Value> {
    row.get(0).map(Value::Id)
}

fn named<I: Id + std::fmt::Display>(row: &Row<'_>) -> Result<String> {
    Ok(get_id::<I>(row, 0)?.to_string())
}

/// Work of one transaction.
pub(crate) type Step<'s> = &'s dyn Fn(&Db<'_>) -> Result<Stepped>;

/// The result of a step: the number of values that it sealed, and the key after which the next one continues, if any.
pub(crate) struct Stepped {
    sealed: u64,
    next: Option<Value>,
}

/// Seals all values for `to`, in steps that `run` executes; returns their number. Values that are sealed for it already
/// stay.
pub(crate) fn all(to: &Vault, mut run: impl FnMut(Step<'_>) -> Result<Stepped>) -> Result<u64> {
    let mut count = 0;
    for column in SEALED {
        let mut after = Some(column.first.clone());
        while let Some(key) = after {
            let stepped = run(&|db| step(db, &column, &key, to))?;
            count += stepped.sealed;
            after = stepped.next;
        }
    }
    Ok(count)
}

fn step(db: &Db<'_>, column: &Sealed, after: &Value, to: &Vault) -> Result<Stepped> {
    let values: Vec<(Value, String, Vec<u8>)> =
        db.all(column.read, vec![after.to_param(), STEP.to_param()], |row| {
            Ok(((column.key)(row)?, (column.row)(row)?, row.get(1)?))
        })?;
    let is_last = values.len() < usize::try_from(STEP).unwrap_or_default();
    let (mut sealed, mut next) = (0, None);
    for (key, name, value) in values {
        let place = (column.place)(&name);
        if to.open(&value, place).is_err() {
            let plain = db.vault.open(&value, place)?;
            let value = to.seal(&plain, place, db.mint)?;
            db.run(column.write, vec![key.to_param(), value.to_param()])?;
            sealed += 1;
        }
        next = Some(key);
    }
    Ok(Stepped {
        sealed,
        next: next.filter(|_| !is_last),
    })
}
