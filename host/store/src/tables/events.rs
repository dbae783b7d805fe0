//! The event log.

use std::ops::ControlFlow;

use weir_domain::event::{Event, EventFilter};
use weir_domain::id::{EventId, Id};
use weir_domain::limits;
use weir_domain::record::NewEvent;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, Value, get_enum, get_id, get_id_if, get_json, get_time, key, key_if, key_value, params};
use crate::{Listed, Result};

/// Appends events. Returns their positions.
pub(crate) fn insert_all(db: &Db<'_>, events: Vec<(EventId, NewEvent)>, now: Timestamp) -> Result<Vec<i64>> {
    let values = |(id, NewEvent { about, kind, data }): (EventId, NewEvent)| -> [Value; 7] {
        [
            key_value(id),
            about.workspace.into(),
            key_if(about.channel).into(),
            key_if(about.conversation).into(),
            kind.as_str().to_owned().into(),
            now.as_millis().into(),
            data.into(),
        ]
    };
    let rows: Vec<_> = events.into_iter().map(values).collect();
    db.insert_numbered(
        "INSERT INTO events (id, workspace_id, channel_id, conversation_id, type, at, data)",
        "sequence",
        &rows,
    )
}

pub(crate) const EVENT: &str =
    "e.id, e.type, e.at, e.workspace_id, e.channel_id, e.conversation_id, e.sequence, e.data";

pub(crate) fn read(row: &Row<'_>) -> Result<Event> {
    Ok(Event {
        id: get_id(row, 0)?,
        kind: get_enum(row, 1, "events.type")?,
        timestamp: get_time(row, 2)?,
        workspace_id: row.get(3)?,
        channel_id: get_id_if(row, 4)?,
        conversation_id: get_id_if(row, 5)?,
        sequence: row.get(6)?,
        data: get_json(row, 7, "events.data")?,
    })
}

pub(crate) fn after(
    db: &Db<'_>,
    workspace: &str,
    sequence: i64,
    filter: &EventFilter,
    limit: u32,
) -> Result<Listed<Event>> {
    // Two statements, so that each uses its own index.
    let of = match filter.conversation {
        Some(_) => "e.workspace_id || '' = ?1 AND e.conversation_id = ?3",
        None => "e.workspace_id = ?1 AND ?3 IS NULL",
    };
    let sql = format!("SELECT {EVENT} FROM events e WHERE {of} AND e.sequence > ?2 ORDER BY e.sequence");
    let (mut found, mut scanned, mut last, mut next) = (Vec::new(), 0, sequence, None);
    db.each(&sql, params![workspace, sequence, key_if(filter.conversation)], |row| {
        if scanned == limits::ROWS_SCANNED {
            next = Some(last);
            return Ok(ControlFlow::Break(()));
        }
        scanned += 1;
        // The document is read only of events that match.
        if filter.wants(get_enum(row, 1, "events.type")?, get_id_if(row, 4)?) {
            if found.len() == limit as usize {
                next = Some(last);
                return Ok(ControlFlow::Break(()));
            }
            found.push(read(row)?);
        }
        last = row.get(6)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Listed {
        rows: found,
        next: next.map(|place| place.to_string()),
    })
}

pub(crate) fn place(db: &Db<'_>, workspace: &str, id: EventId) -> Result<Option<i64>> {
    for table in ["events", "removed_events"] {
        let known = db.one(
            &format!("SELECT sequence FROM {table} WHERE id = ?2 AND workspace_id = ?1"),
            params![workspace, key(id)],
            |row| row.get(0),
        )?;
        if known.is_some() {
            return Ok(known);
        }
    }
    // The newest of the deleted events represents the others, whose positions were deleted.
    let horizon: Option<EventId> = db.one(
        "SELECT id FROM removed_events WHERE sequence < coalesce((SELECT min(sequence) FROM events), ?1)
         ORDER BY sequence DESC LIMIT 1",
        [i64::MAX],
        |row| get_id(row, 0),
    )?;
    Ok(horizon
        .is_some_and(|horizon| id.minted_at() <= horizon.minted_at())
        .then_some(0))
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: EventId) -> Result<Option<Event>> {
    db.one(
        &format!("SELECT {EVENT} FROM events e WHERE e.workspace_id = ?1 AND e.id = ?2"),
        params![workspace, key(id)],
        read,
    )
}

pub(crate) fn last(db: &Db<'_>) -> Result<i64> {
    Ok(db
        .one("SELECT max(sequence) FROM events", [], |row| row.get::<Option<i64>>(0))?
        .flatten()
        .unwrap_or(0))
}
