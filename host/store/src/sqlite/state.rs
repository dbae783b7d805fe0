//! A channel's small memory, and which version of its connector it belongs to.

use std::collections::BTreeMap;

use rusqlite::params;
use weir_domain::erasure::Marks;
use weir_domain::event::{ChannelTold, EventType};
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::sqlite::channels;
use crate::sqlite::db::{Db, get_id, get_json, get_json_if, json, key};
use crate::sqlite::events::{self, About};
use crate::{ChannelState, Result, StateMove, StateOwner, StateWrite};

type State = BTreeMap<String, Vec<u8>>;

/// In one statement, so that state and owner are of one moment.
pub(super) fn state(db: &Db<'_>, id: ChannelId) -> Result<ChannelState> {
    let mut state = ChannelState::default();
    let rows: Vec<(String, Vec<u8>, Option<String>)> = db.all(
        "SELECT s.key, s.value, o.version FROM state s LEFT JOIN state_owners o ON o.channel_id = s.channel_id
         WHERE s.channel_id = ?1",
        [key(id)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    for (name, value, owner) in rows {
        state.entries.insert(name, value);
        state.owner = owner;
    }
    Ok(state)
}

pub(super) fn commit(db: &Db<'_>, id: ChannelId, writes: &[StateWrite]) -> Result<()> {
    let Some(first) = writes.first() else { return Ok(()) };
    let other = "SELECT 1 FROM state_owners WHERE channel_id = ?1 AND version <> ?2";
    if db.exists(other, params![key(id), first.by])? {
        tracing::warn!(
            channel.id = %id,
            "What {} wrote to the state of {id} is dropped: another version has taken it over",
            first.by
        );
        return Ok(());
    }
    for write in writes {
        put(db, id, &write.key, write.value.as_deref())?;
    }
    Ok(())
}

fn put(db: &Db<'_>, id: ChannelId, name: &str, value: Option<&[u8]>) -> Result<()> {
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

fn replace(db: &Db<'_>, id: ChannelId, with: &State) -> Result<()> {
    db.run("DELETE FROM state WHERE channel_id = ?1", [key(id)])?;
    for (name, value) in with {
        put(db, id, name, Some(value))?;
    }
    Ok(())
}

pub(super) fn owners(db: &Db<'_>, connector: &str) -> Result<Vec<StateOwner>> {
    db.all(
        "SELECT c.app, c.platform_id, c.id, o.version, o.reason
         FROM apps a JOIN channels c ON c.app = a.name LEFT JOIN state_owners o ON o.channel_id = c.id
         WHERE a.connector = ?1 AND (o.channel_id IS NOT NULL OR EXISTS (SELECT 1 FROM state s WHERE s.channel_id = c.id))",
        [connector],
        |row| {
            Ok(StateOwner {
                app: row.get(0)?,
                platform_id: row.get(1)?,
                channel_id: get_id(row, 2)?,
                version: row.get(3)?,
                reason: row.get(4)?,
            })
        },
    )
}

/// False if the state is another by now.
pub(super) fn hand_over(db: &Db<'_>, connector: &str, handed: &StateMove) -> Result<bool> {
    if state(db, handed.channel_id)?.entries != handed.before {
        return Ok(false);
    }
    replace(db, handed.channel_id, &handed.after)?;
    db.run(
        "INSERT INTO state_owners (channel_id, connector, version, copy_version, copy, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, NULL)
         ON CONFLICT (channel_id) DO UPDATE SET version = ?3, copy_version = ?4, copy = ?5, reason = NULL",
        params![
            key(handed.channel_id),
            connector,
            handed.to,
            handed.from,
            json(&handed.before)?
        ],
    )?;
    Ok(true)
}

/// The version keeps the channel's state, since another could not take it over.
pub(super) fn hold(
    db: &Db<'_>,
    connector: &str,
    id: ChannelId,
    version: &str,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    db.run(
        "INSERT INTO state_owners (channel_id, connector, version, copy_version, copy, reason)
         VALUES (?1, ?2, ?3, NULL, NULL, ?4)
         ON CONFLICT (channel_id) DO UPDATE SET version = ?3, reason = ?4",
        params![key(id), connector, version, reason],
    )?;
    let channel = channels::needed(db, id)?;
    let told = ChannelTold {
        channel,
        reason: Some(reason.to_owned()),
        days_left: None,
    };
    let about = About {
        channel: Some(id),
        ..About::workspace(&told.channel.workspace_id)
    };
    events::append(db, about, EventType::ChannelDegraded, &told, now)?;
    Ok(())
}

/// Gives the states that a version took over back as they were.
pub(super) fn give_back(db: &Db<'_>, connector: &str, version: &str) -> Result<u64> {
    let copies: Vec<(ChannelId, String, State)> = db.all(
        "SELECT channel_id, copy_version, copy FROM state_owners
         WHERE connector = ?1 AND version = ?2 AND copy IS NOT NULL",
        [connector, version],
        |row| Ok((get_id(row, 0)?, row.get(1)?, get_json(row, 2, "state_owners.copy")?)),
    )?;
    for (id, owner, copy) in &copies {
        replace(db, *id, copy)?;
        db.run(
            "UPDATE state_owners SET version = ?2, copy_version = NULL, copy = NULL WHERE channel_id = ?1",
            params![key(*id), owner],
        )?;
    }
    Ok(copies.len() as u64)
}

/// Forgets the entries in which one of these stands, also in the copy that is kept for a roll-back: the connector begins anew
/// with what they were about.
pub(super) fn forget(db: &Db<'_>, id: ChannelId, marks: &Marks) -> Result<()> {
    let names = |name: &str, value: &[u8]| marks.stand_in(name.as_bytes()) || marks.stand_in(value);
    for (name, value) in &state(db, id)?.entries {
        if names(name, value) {
            db.run(
                "DELETE FROM state WHERE channel_id = ?1 AND key = ?2",
                params![key(id), name],
            )?;
        }
    }
    let copy: Option<Option<State>> = db.one(
        "SELECT copy FROM state_owners WHERE channel_id = ?1",
        [key(id)],
        |row| get_json_if(row, 0, "state_owners.copy"),
    )?;
    if let Some(mut copy) = copy.flatten() {
        copy.retain(|name, value| !names(name, value));
        db.run(
            "UPDATE state_owners SET copy = ?2 WHERE channel_id = ?1",
            params![key(id), json(&copy)?],
        )?;
    }
    Ok(())
}
