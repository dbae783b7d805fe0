//! A channel's state, and the version of its connector that owns it.

use std::collections::BTreeMap;

use weir_domain::id::ChannelId;
use weir_domain::record::erase::Erasure;

use crate::db::{Db, Row, get_id, get_json, get_json_if, get_time_if, json, json_if, key, params};
use crate::tables::CHANNEL;
use crate::{ChannelState, Result, StateOwner};

pub(crate) type State = BTreeMap<String, Vec<u8>>;

/// A key of a state, and its value.
type Entry = (String, Vec<u8>);

/// One statement, so that state and owner are consistent.
const STATE: &str = "SELECT s.key, s.value, o.version FROM channels c
     LEFT JOIN state_owners o ON o.channel_id = c.id LEFT JOIN state s ON s.channel_id = c.id WHERE c.id = ?1";

pub(crate) fn of(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<ChannelState> {
    let rows = db.all(
        &format!("{STATE} AND c.workspace_id = ?2"),
        params![key(id), workspace],
        read,
    )?;
    Ok(whole(rows))
}

/// The state that a row references.
pub(crate) fn state(db: &Db<'_>, id: ChannelId) -> Result<ChannelState> {
    Ok(whole(db.all(STATE, [key(id)], read)?))
}

type StateRow = (Option<Entry>, Option<String>);

fn read(row: &Row<'_>) -> Result<StateRow> {
    let (name, value): (Option<String>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
    Ok((name.zip(value), row.get(2)?))
}

fn whole(rows: Vec<StateRow>) -> ChannelState {
    let mut state = ChannelState::default();
    for (entry, owner) in rows {
        state.entries.extend(entry);
        state.owner = owner;
    }
    state
}

/// The version that owns a channel's state.
pub(crate) fn owner(db: &Db<'_>, id: ChannelId) -> Result<Option<String>> {
    db.one(
        "SELECT version FROM state_owners WHERE channel_id = ?1",
        [key(id)],
        |row| row.get(0),
    )
}

pub(crate) fn put(db: &Db<'_>, id: ChannelId, name: &str, value: Option<&[u8]>) -> Result<()> {
    match value {
        Some(value) => db.run(
            "INSERT INTO state (channel_id, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel_id, key) DO UPDATE SET value = ?3",
            params![key(id), name, value],
        )?,
        None => db.run(
            "DELETE FROM state WHERE channel_id = ?1 AND key = ?2",
            params![key(id), name],
        )?,
    };
    Ok(())
}

pub(crate) fn replace(db: &Db<'_>, id: ChannelId, with: &State) -> Result<()> {
    db.write("DELETE FROM state WHERE channel_id = ?1", [key(id)])?;
    for (name, value) in with {
        put(db, id, name, Some(value))?;
    }
    Ok(())
}

pub(crate) fn owners(db: &Db<'_>, connector: &str) -> Result<Vec<StateOwner>> {
    db.all(
        "SELECT c.app, c.platform_id, c.id, o.version, o.reason, o.held, o.held_at, c.workspace_id
         FROM state_owners o JOIN channels c ON c.id = o.channel_id WHERE o.connector = ?1 ORDER BY c.id",
        [connector],
        |row| {
            Ok(StateOwner {
                app: row.get(0)?,
                platform_id: row.get(1)?,
                channel_id: get_id(row, 2)?,
                version: row.get(3)?,
                reason: row.get(4)?,
                held: row.get(5)?,
                held_at: get_time_if(row, 6)?,
                workspace_id: row.get(7)?,
            })
        },
    )
}

/// The number of accounts whose state each version owns.
pub(crate) fn owned(db: &Db<'_>, connector: &str) -> Result<BTreeMap<String, u64>> {
    let counts = db.all(
        "SELECT o.version, count(*) FROM state_owners o JOIN channels c ON c.id = o.channel_id
         WHERE o.connector = ?1 AND c.status <> 'deleted' GROUP BY o.version",
        [connector],
        |row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs())),
    )?;
    Ok(counts.into_iter().collect())
}

pub(crate) fn held(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<Option<String>> {
    let held = db.one(
        &format!("SELECT held FROM state_owners WHERE channel_id = {CHANNEL}"),
        params![key(id), workspace],
        |row| row.get(0),
    )?;
    Ok(held.flatten())
}

/// Deletes the entries that contain data of an erased person, also in the copy that is kept for a rollback: the
/// connector starts without them. Also deletes reports of a connector or a version about the account that contain the
/// person's names.
pub(crate) fn forget(db: &Db<'_>, id: ChannelId, erasure: &Erasure) -> Result<()> {
    let without = |mut state: State| {
        state.retain(|name, value| !erasure.takes_entry(name, value));
        state
    };
    let unless_named = |words| erasure.marks.unless_repeated_in(words);
    for (name, value) in &state(db, id)?.entries {
        if erasure.takes_entry(name, value) {
            db.write(
                "DELETE FROM state WHERE channel_id = ?1 AND key = ?2",
                params![key(id), name],
            )?;
        }
    }
    let owner: Option<(Option<State>, Option<String>, Option<String>)> = db.one(
        "SELECT copy, reason, held FROM state_owners WHERE channel_id = ?1",
        [key(id)],
        |row| Ok((get_json_if(row, 0, "state_owners.copy")?, row.get(1)?, row.get(2)?)),
    )?;
    if let Some((copy, reason, held)) = owner {
        db.write(
            "UPDATE state_owners SET copy = ?2, reason = ?3, held = ?4 WHERE channel_id = ?1",
            params![
                key(id),
                json_if(copy.map(without).as_ref())?,
                reason.map(unless_named),
                held.map(unless_named)
            ],
        )?;
    }
    // Also in the state that undoing a version change would restore.
    let moved: Option<(State, Option<State>, Option<String>)> = db.one(
        "SELECT state, copy, reason FROM moved_states WHERE channel_id = ?1",
        [key(id)],
        |row| {
            Ok((
                get_json(row, 0, "moved_states.state")?,
                get_json_if(row, 1, "moved_states.copy")?,
                row.get(2)?,
            ))
        },
    )?;
    if let Some((was, copy, reason)) = moved {
        db.write(
            "UPDATE moved_states SET state = ?2, copy = ?3, reason = ?4 WHERE channel_id = ?1",
            params![
                key(id),
                json(&without(was))?,
                json_if(copy.map(without).as_ref())?,
                reason.map(unless_named)
            ],
        )?;
    }
    Ok(())
}
