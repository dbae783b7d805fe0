//! A channel's small memory, and which version of its connector it belongs to.

use std::collections::BTreeMap;

use weir_domain::channel::ChannelStatus;
use weir_domain::erasure::Marks;
use weir_domain::event::{ChannelTold, EventType};
use weir_domain::id::ChannelId;
use weir_domain::record::About;
use weir_domain::time::Timestamp;

use crate::db::{Db, get_id, get_json, get_json_if, get_time_if, json, json_if, key, params};
use crate::tables::events;
use crate::tables::{channels, intents};
use crate::{ChannelState, HeldAccounts, Result, StateMove, StateOwner, StateWrite};

pub(crate) type State = BTreeMap<String, Vec<u8>>;

/// A key of a state, and its value.
type Entry = (String, Vec<u8>);

/// In one statement, so that state and owner are of one moment.
pub(crate) fn state(db: &Db<'_>, id: ChannelId) -> Result<ChannelState> {
    let mut state = ChannelState::default();
    let rows: Vec<(Option<Entry>, Option<String>)> = db.all(
        "SELECT s.key, s.value, o.version FROM (SELECT ?1 AS id) c
         LEFT JOIN state_owners o ON o.channel_id = c.id LEFT JOIN state s ON s.channel_id = c.id",
        [key(id)],
        |row| {
            let (name, value): (Option<String>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
            Ok((name.zip(value), row.get(2)?))
        },
    )?;
    for (entry, owner) in rows {
        state.entries.extend(entry);
        state.owner = owner;
    }
    Ok(state)
}

/// The version that owns a channel's state.
pub(crate) fn owner(db: &Db<'_>, id: ChannelId) -> Result<Option<String>> {
    db.one(
        "SELECT version FROM state_owners WHERE channel_id = ?1",
        [key(id)],
        |row| row.get(0),
    )
}

/// False, and nothing is written, if another version owns the state.
pub(crate) fn commit(db: &Db<'_>, id: ChannelId, writes: &[StateWrite]) -> Result<bool> {
    let Some(first) = writes.first() else { return Ok(true) };
    match owner(db, id)? {
        Some(owner) if owner != first.by => return Ok(false),
        Some(_) => {}
        // Whoever writes first owns it.
        None => {
            let connector = channels::needed(db, id)?.connector;
            db.run(
                "INSERT INTO state_owners (channel_id, connector, version) VALUES (?1, ?2, ?3)",
                params![key(id), connector, first.by],
            )?;
        }
    }
    for write in writes {
        put(db, id, &write.key, write.value.as_deref())?;
    }
    Ok(true)
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

pub(crate) fn replace(db: &Db<'_>, id: ChannelId, with: &State) -> Result<()> {
    db.run("DELETE FROM state WHERE channel_id = ?1", [key(id)])?;
    for (name, value) in with {
        put(db, id, name, Some(value))?;
    }
    Ok(())
}

pub(crate) fn owners(db: &Db<'_>, connector: &str) -> Result<Vec<StateOwner>> {
    db.all(
        "SELECT c.app, c.platform_id, c.id, o.version, o.reason, o.held, o.held_at
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
            })
        },
    )
}

/// How many accounts each version owns the states of.
pub(crate) fn owned(db: &Db<'_>, connector: &str) -> Result<BTreeMap<String, u64>> {
    let counts = db.all(
        "SELECT o.version, count(*) FROM state_owners o JOIN channels c ON c.id = o.channel_id
         WHERE o.connector = ?1 AND c.status <> 'deleted' GROUP BY o.version",
        [connector],
        |row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs())),
    )?;
    Ok(counts.into_iter().collect())
}

/// False if the state is another by now.
pub(crate) fn hand_over(db: &Db<'_>, connector: &str, handed: &StateMove) -> Result<bool> {
    let now = state(db, handed.channel_id)?;
    if now.entries != handed.before || owner(db, handed.channel_id)?.is_some_and(|owner| owner != handed.from) {
        return Ok(false);
    }
    intents::keep_moved(db, connector, handed.channel_id, &now.entries)?;
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
pub(crate) fn hold(
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
    tell(db, id, EventType::ChannelDegraded, reason, now)
}

fn tell(db: &Db<'_>, id: ChannelId, kind: EventType, reason: &str, now: Timestamp) -> Result<()> {
    let told = ChannelTold {
        channel: channels::needed(db, id)?,
        reason: Some(reason.to_owned()),
        days_left: None,
    };
    events::append(db, &About::channel(&told.channel), kind, &told, now)?;
    Ok(())
}

/// What a call wrote to a state that another version took over while it ran is not in the record: says so.
pub(crate) fn tell_unwritten(db: &Db<'_>, id: ChannelId, writes: &[StateWrite], now: Timestamp) -> Result<()> {
    let by = writes.first().map_or("", |write| write.by.as_str());
    let reason = format!("what {by} wrote to the channel's state is not kept: another version owns it");
    tell(db, id, EventType::ChannelDegraded, &reason, now)
}

/// Gives a state that `from` took over from `to` back as it was. False if there is no copy of it.
pub(crate) fn give_back(db: &Db<'_>, connector: &str, id: ChannelId, from: &str, to: &str) -> Result<bool> {
    let copy: Option<State> = db.one(
        "SELECT copy FROM state_owners
         WHERE channel_id = ?1 AND version = ?2 AND copy_version = ?3 AND copy IS NOT NULL",
        params![key(id), from, to],
        |row| get_json(row, 0, "state_owners.copy"),
    )?;
    let Some(copy) = copy else { return Ok(false) };
    intents::keep_moved(db, connector, id, &state(db, id)?.entries)?;
    replace(db, id, &copy)?;
    db.run(
        "UPDATE state_owners SET version = ?2, copy_version = NULL, copy = NULL, reason = NULL WHERE channel_id = ?1",
        params![key(id), to],
    )?;
    Ok(true)
}

pub(crate) fn held(db: &Db<'_>, id: ChannelId) -> Result<Option<String>> {
    let held = db.one(
        "SELECT held FROM state_owners WHERE channel_id = ?1",
        [key(id)],
        |row| row.get(0),
    )?;
    Ok(held.flatten())
}

/// Holds the accounts whose versions cannot run, for these reasons, and frees the others.
pub(crate) fn hold_accounts(
    db: &Db<'_>,
    connector: &str,
    reasons: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<HeldAccounts> {
    let mut changed = HeldAccounts::default();
    for owner in owners(db, connector)? {
        let (id, why) = (owner.channel_id, reasons.get(&owner.version));
        let channel = channels::needed(db, id)?;
        // Another reason of the same is no news.
        if why.is_some() == owner.held.is_some() || channel.status == ChannelStatus::Deleted {
            continue;
        }
        db.run(
            "UPDATE state_owners SET held = ?2, held_at = ?3 WHERE channel_id = ?1",
            params![key(id), why, why.map(|_| now.as_millis())],
        )?;
        match (why, channel.status) {
            (Some(why), ChannelStatus::Connected) => {
                channels::set_status(db, id, ChannelStatus::Degraded, why, now)?;
            }
            // A person is asked for already, or the channel is not set up: that stays the more urgent.
            (Some(why), _) => tell(db, id, EventType::ChannelDegraded, why, now)?,
            (None, status) => {
                let words = format!("{connector} {} serves the account", owner.version);
                if status == ChannelStatus::Degraded && !channels::waits_for_set_up(db, id)? {
                    channels::set_status(db, id, ChannelStatus::Connected, &words, now)?;
                } else {
                    tell(db, id, EventType::ChannelRecovered, &words, now)?;
                }
            }
        }
        changed.held += u32::from(why.is_some());
        changed.freed += u32::from(why.is_none());
    }
    Ok(changed)
}

/// Forgets the entries in which one of these stands, also in the copy that is kept for a roll-back: the connector begins anew
/// with what they were about.
pub(crate) fn forget(db: &Db<'_>, id: ChannelId, marks: &Marks) -> Result<()> {
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
    // And in what an undone change of versions would bring back.
    let moved: Option<(State, Option<State>)> = db.one(
        "SELECT state, copy FROM moved_states WHERE channel_id = ?1",
        [key(id)],
        |row| {
            Ok((
                get_json(row, 0, "moved_states.state")?,
                get_json_if(row, 1, "moved_states.copy")?,
            ))
        },
    )?;
    if let Some((mut was, mut copy)) = moved {
        was.retain(|name, value| !names(name, value));
        if let Some(copy) = &mut copy {
            copy.retain(|name, value| !names(name, value));
        }
        db.run(
            "UPDATE moved_states SET state = ?2, copy = ?3 WHERE channel_id = ?1",
            params![key(id), json(&was)?, json_if(copy.as_ref())?],
        )?;
    }
    Ok(())
}
