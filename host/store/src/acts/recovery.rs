//! Recovery of an endpoint's missed deliveries: one stored intent, processed in steps along the log.
//!
//! Each step reads a bounded number of events, the oldest first, and advances the intent's position in the same
//! transaction: after a crash, the intent continues where it was. Meanwhile nothing of the endpoint is leased, so that
//! an older event that the next step finds does not follow a newer one.

use std::collections::BTreeSet;

use weir_domain::event::EventType;
use weir_domain::id::{ChannelId, ConversationId, EndpointId};
use weir_domain::limits;
use weir_domain::record::fan_out::OwedDelivery;
use weir_domain::time::Timestamp;

use crate::db::{Db, get_enum, get_id, get_id_if, get_time, key, params};
use crate::tables::{deliveries, endpoints, events};
use crate::{Endpoint, RecoveryStep, Result};

pub(crate) fn begin(
    db: &Db<'_>,
    workspace: &str,
    endpoint: EndpointId,
    since: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let Some(endpoint) = endpoints::one(db, workspace, endpoint)? else {
        return Ok(false);
    };
    let until = events::last(db)?;
    // Events from before the endpoint was created are left out.
    let place = first_since(db, since.max(endpoint.created_at))?.map_or(until, |first| first - 1);
    db.write(
        "INSERT INTO endpoint_recoveries (endpoint_id, place, until, stepped_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (endpoint_id) DO UPDATE SET 
             place = CASE WHEN endpoint_recoveries.place < ?2 THEN endpoint_recoveries.place ELSE ?2 END, until = ?3, stepped_at = ?4",
        params![key(endpoint.id), place, until, now.as_millis()],
    )?;
    Ok(true)
}

/// The position of the first event from a moment on. Ids begin with their time; those of one millisecond are unordered.
fn first_since(db: &Db<'_>, since: Timestamp) -> Result<Option<i64>> {
    let id = |ms: i64| (u128::from(ms.unsigned_abs()) << 80).to_be_bytes();
    let first: Option<i64> = db.one(
        "SELECT at FROM events WHERE id >= ?1 AND at >= ?2 ORDER BY id LIMIT 1",
        params![id(since.as_millis()), since.as_millis()],
        |row| row.get(0),
    )?;
    let Some(first) = first else { return Ok(None) };
    let place = db.one(
        "SELECT min(sequence) FROM events WHERE id >= ?1 AND id < ?2",
        params![id(first), id(first + 1)],
        |row| row.get(0),
    )?;
    Ok(place.flatten())
}

pub(crate) fn before(db: &Db<'_>, before: Timestamp) -> Result<Vec<(String, EndpointId)>> {
    db.all(
        "SELECT e.workspace_id, e.id FROM endpoint_recoveries r JOIN endpoints e ON e.id = r.endpoint_id
         WHERE r.stepped_at < ?1",
        [before.as_millis()],
        |row| Ok((row.get(0)?, get_id(row, 1)?)),
    )
}

/// An event that the recovery reads.
struct Passed {
    sequence: i64,
    kind: EventType,
    channel: Option<ChannelId>,
    conversation: Option<ConversationId>,
    at: Timestamp,
}

pub(crate) fn step(db: &Db<'_>, workspace: &str, id: EndpointId, now: Timestamp) -> Result<RecoveryStep> {
    let done = RecoveryStep {
        recovered: 0,
        done: true,
    };
    let Some(endpoint) = endpoints::one(db, workspace, id)? else {
        return Ok(done);
    };
    let intent: Option<(i64, i64)> = db.one(
        "SELECT place, until FROM endpoint_recoveries WHERE endpoint_id = ?1",
        [key(id)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((place, until)) = intent else {
        return Ok(done);
    };
    let passed: Vec<Passed> = db.all(
        "SELECT sequence, type, channel_id, conversation_id, at FROM events
         WHERE workspace_id = ?1 AND sequence > ?2 AND sequence <= ?3 ORDER BY sequence LIMIT ?4",
        params![endpoint.workspace_id, place, until, limits::EVENTS_RECOVERED],
        |row| {
            Ok(Passed {
                sequence: row.get(0)?,
                kind: get_enum(row, 1, "events.type")?,
                channel: get_id_if(row, 2)?,
                conversation: get_id_if(row, 3)?,
                at: get_time(row, 4)?,
            })
        },
    )?;
    let mut recovered = 0;
    let mut lanes = BTreeSet::new();
    for event in &passed {
        recovered += recover(db, &endpoint, event, &mut lanes, now)?;
    }
    for lane in lanes {
        deliveries::put_in_order(db, id, lane, now)?;
    }
    let last = passed.last().map(|event| event.sequence);
    let last = last.filter(|_| passed.len() == limits::EVENTS_RECOVERED as usize);
    match last {
        Some(place) => {
            db.write(
                "UPDATE endpoint_recoveries SET place = ?2, stepped_at = ?3 WHERE endpoint_id = ?1",
                params![key(id), place, now.as_millis()],
            )?;
        }
        None => end(db, id)?,
    }
    Ok(RecoveryStep {
        recovered,
        done: last.is_none(),
    })
}

/// Makes an event due that the endpoint did not receive; returns the number of deliveries. Their conversations are
/// added to `lanes`, to be ordered.
fn recover(
    db: &Db<'_>,
    endpoint: &Endpoint,
    event: &Passed,
    lanes: &mut BTreeSet<[u8; 16]>,
    now: Timestamp,
) -> Result<u32> {
    let owed: Vec<(i64, Option<[u8; 16]>, bool)> = db.all(
        "SELECT n, lane, status = 'failed' OR (status = 'pending' AND owner IS NULL AND coalesce(due_at, 0) > ?3)
         FROM deliveries WHERE event = ?2 AND endpoint_id = ?1",
        params![key(endpoint.id), event.sequence, now.as_millis()],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if owed.is_empty() {
        // Endpoints receive no events about themselves; about the others they receive new ones soon enough.
        let is_about_one = matches!(
            event.kind,
            EventType::EndpointFailing | EventType::EndpointDisabled | EventType::EndpointRecovered
        );
        if is_about_one || event.at < endpoint.created_at || !endpoint.filter.wants(event.kind, event.channel) {
            return Ok(0);
        }
        let owed = OwedDelivery {
            workspace: endpoint.workspace_id.clone(),
            endpoint: endpoint.id,
            place: event.sequence,
            lane: event.conversation.filter(|_| endpoint.ordered),
            // The conversation is ordered below.
            is_due: !(endpoint.ordered && event.conversation.is_some()),
        };
        lanes.extend(owed.lane.map(key));
        deliveries::insert_all(db, &[owed], now)?;
        return Ok(1);
    }
    let mut recovered = 0;
    for (n, lane, _) in owed.into_iter().filter(|(_, _, waits)| *waits) {
        let due_at = lane.is_none().then_some(now.as_millis());
        db.write(
            "UPDATE deliveries SET status = 'pending', attempts = 0, due_at = ?2 WHERE n = ?1",
            params![n, due_at],
        )?;
        lanes.extend(lane);
        recovered += 1;
    }
    Ok(recovered)
}

fn end(db: &Db<'_>, id: EndpointId) -> Result<()> {
    db.write("DELETE FROM endpoint_recoveries WHERE endpoint_id = ?1", [key(id)])?;
    Ok(())
}
