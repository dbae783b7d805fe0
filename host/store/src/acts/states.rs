//! Moves the states of connectors between versions, and writes the state changes of calls.

use weir_domain::event::{ChannelEventData, EventType};
use weir_domain::id::ChannelId;
use weir_domain::record::About;
use weir_domain::record::states::{self, Writer};
use weir_domain::time::Timestamp;

use crate::acts::events;
use crate::db::{Db, get_id, get_json, json, key, params};
use crate::tables::state::{self, State};
use crate::tables::{channels, intents, revisions};
use crate::{Result, Revised, StateMove, StateWrite};

/// Stores the writes of one call. Returns false, and writes nothing, if another version owns the state.
pub(crate) fn commit(db: &Db<'_>, id: ChannelId, writes: &[StateWrite]) -> Result<bool> {
    let Some(first) = writes.first() else { return Ok(true) };
    match states::writer(state::owner(db, id)?.as_deref(), &first.by) {
        Writer::Stranger => return Ok(false),
        Writer::Owner => {}
        Writer::First => {
            let connector = channels::needed(db, id)?.connector;
            db.write(
                "INSERT INTO state_owners (channel_id, connector, version) VALUES (?1, ?2, ?3)",
                params![key(id), connector, first.by],
            )?;
        }
    }
    for write in writes {
        state::put(db, id, &write.key, write.value.as_deref())?;
    }
    Ok(true)
}

/// Moves a state to another version. Returns false if it has changed since it was read.
pub(crate) fn move_state(db: &Db<'_>, connector: &str, state_move: &StateMove) -> Result<bool> {
    let now = state::state(db, state_move.channel_id)?;
    if !states::may_move(now.owner.as_deref(), &now.entries, &state_move.from, &state_move.before) {
        return Ok(false);
    }
    intents::keep_moved(db, connector, state_move.channel_id, &now.entries)?;
    state::replace(db, state_move.channel_id, &state_move.after)?;
    db.write(
        "INSERT INTO state_owners (channel_id, connector, version, copy_version, copy, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, NULL)
         ON CONFLICT (channel_id) DO UPDATE SET version = ?3, copy_version = ?4, copy = ?5, reason = NULL",
        params![
            key(state_move.channel_id),
            connector,
            state_move.to,
            state_move.from,
            json(&state_move.before)?
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
    db.write(
        "INSERT INTO state_owners (channel_id, connector, version, copy_version, copy, reason)
         VALUES (?1, ?2, ?3, NULL, NULL, ?4)
         ON CONFLICT (channel_id) DO UPDATE SET version = ?3, reason = ?4",
        params![key(id), connector, version, reason],
    )?;
    revisions::bump(db, Revised::Connector, connector)?;
    emit(db, id, EventType::ChannelDegraded, reason, now)
}

pub(crate) fn emit(db: &Db<'_>, id: ChannelId, kind: EventType, reason: &str, now: Timestamp) -> Result<()> {
    let channel = channels::needed(db, id)?;
    let about = About::channel(&channel);
    let data = ChannelEventData {
        channel: channel.into(),
        reason: Some(reason.to_owned()),
        days_left: None,
    };
    events::append(db, &about, kind, &data, now)?;
    Ok(())
}

/// Logs that the writes of a call were discarded, because another version took the state over during the call.
pub(crate) fn notify_unwritten(db: &Db<'_>, id: ChannelId, writes: &[StateWrite], now: Timestamp) -> Result<()> {
    let by = writes.first().map_or("", |write| write.by.as_str());
    let reason = format!("the write of {by} to the channel's state was discarded: another version owns it");
    emit(db, id, EventType::ChannelDegraded, &reason, now)
}

/// Restores a state that `from` took over from `to`, as it was. Returns false if no copy of it exists.
pub(crate) fn give_back(db: &Db<'_>, connector: &str, id: ChannelId, from: &str, to: &str) -> Result<bool> {
    let copy: Option<State> = db.one(
        "SELECT copy FROM state_owners
         WHERE channel_id = ?1 AND version = ?2 AND copy_version = ?3 AND copy IS NOT NULL",
        params![key(id), from, to],
        |row| get_json(row, 0, "state_owners.copy"),
    )?;
    let Some(copy) = copy else { return Ok(false) };
    intents::keep_moved(db, connector, id, &state::state(db, id)?.entries)?;
    state::replace(db, id, &copy)?;
    db.write(
        "UPDATE state_owners SET version = ?2, copy_version = NULL, copy = NULL, reason = NULL WHERE channel_id = ?1",
        params![key(id), to],
    )?;
    Ok(true)
}

/// Restores the states that the change in progress moved, with their owners, and ends the change; returns their number.
pub(crate) fn undo(db: &Db<'_>, connector: &str) -> Result<u64> {
    let moved: Vec<(ChannelId, State)> = db.all(
        "SELECT channel_id, state FROM moved_states WHERE connector = ?1",
        [connector],
        |row| Ok((get_id(row, 0)?, get_json(row, 1, "moved_states.state")?)),
    )?;
    for (id, was) in &moved {
        state::replace(db, *id, was)?;
        db.write(
            "UPDATE state_owners SET (version, copy_version, copy, reason) =
                (SELECT m.version, m.copy_version, m.copy, m.reason FROM moved_states m WHERE m.channel_id = ?1)
             WHERE channel_id = ?1",
            [key(*id)],
        )?;
    }
    intents::end(db, connector)?;
    revisions::bump(db, Revised::Connector, connector)?;
    Ok(moved.len() as u64)
}
