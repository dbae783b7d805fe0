//! Deliveries of events to endpoints. For an endpoint that keeps order, only the oldest unsettled event of a
//! conversation has a due time: a failing event blocks its own conversation only. Endpoints are served round-robin,
//! each within its bound on deliveries in flight and within its operator's rate: a slow endpoint delays no other.

use std::collections::BTreeSet;

use weir_domain::id::{DeliveryId, EndpointId, EventId};
use weir_domain::limits;
use weir_domain::record::fan_out::{Lane, OwedDelivery};
use weir_domain::time::Timestamp;

use crate::db::{
    Db, Row, Value, cursor_number, fetch, get_enum, get_id, get_json, get_time, get_time_if, json, key, key_if,
    key_value, params,
};
use crate::tables::{endpoints, events};
use crate::{DeliveriesOf, Delivery, DeliveryAttempt, DeliveryLease, Endpoint, Listed, Page, Result, StoreError};

/// The lanes with an unsettled delivery, among these.
pub(crate) fn busy(db: &Db<'_>, lanes: BTreeSet<Lane>) -> Result<BTreeSet<Lane>> {
    let busy = db.wanted(
        lanes
            .into_iter()
            .map(|(endpoint, lane)| [key_value(endpoint), key_value(lane)]),
        &[],
        "SELECT w1, w2 FROM wanted WHERE EXISTS (SELECT 1 FROM deliveries
             WHERE endpoint_id = w1 AND lane = w2 AND status = 'pending' AND lane IS NOT NULL)",
        |row| Ok((get_id(row, 0)?, get_id(row, 1)?)),
    )?;
    Ok(busy.into_iter().collect())
}

/// Inserts deliveries after all others. Returns their ids.
pub(crate) fn insert_all(db: &Db<'_>, owed: &[OwedDelivery], now: Timestamp) -> Result<Vec<DeliveryId>> {
    let ids: Vec<DeliveryId> = owed.iter().map(|_| db.mint(now)).collect();
    let values = |(id, one): (&DeliveryId, &OwedDelivery)| -> [Value; 8] {
        [
            key_value(*id),
            one.workspace.clone().into(),
            key_value(one.endpoint),
            one.place.into(),
            key_if(one.lane).into(),
            "pending".to_owned().into(),
            one.is_due.then_some(now.as_millis()).into(),
            now.as_millis().into(),
        ]
    };
    let rows: Vec<_> = ids.iter().zip(owed).map(values).collect();
    db.insert_all(
        "INSERT INTO deliveries (id, workspace_id, endpoint_id, event, lane, status, due_at, created_at)",
        &rows,
    )?;
    Ok(ids)
}

pub(crate) fn add(
    db: &Db<'_>,
    workspace: &str,
    endpoint: EndpointId,
    event: EventId,
    now: Timestamp,
) -> Result<DeliveryId> {
    let found = db.one(
        "SELECT e.sequence FROM events e JOIN endpoints p ON p.workspace_id = e.workspace_id
         WHERE e.id = ?1 AND p.id = ?2 AND e.workspace_id = ?3",
        params![key(event), key(endpoint), workspace],
        |row| row.get::<i64>(0),
    )?;
    let sequence =
        found.ok_or_else(|| StoreError::Database(format!("no {event} and {endpoint} in the workspace {workspace}")))?;
    // Requested by the operator: it waits for no other delivery.
    let owed = OwedDelivery {
        workspace: workspace.to_owned(),
        endpoint,
        place: sequence,
        lane: None,
        is_due: true,
    };
    let added = insert_all(db, &[owed], now)?.pop();
    added.ok_or_else(|| StoreError::Database("a delivery was not added".to_owned()))
}

/// Makes deliveries due that dead nodes leased.
pub(crate) fn end_leases_of_dead(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let ended = db.run(
        "UPDATE deliveries SET due_at = ?1
         WHERE due_at > ?1 AND owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [now.as_millis()],
    )?;
    Ok(u32::try_from(ended).unwrap_or(u32::MAX))
}

pub(crate) fn has_leases_of_dead(db: &Db<'_>, now: Timestamp) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM deliveries
         WHERE due_at > ?1 AND owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL) LIMIT 1",
        [now.as_millis()],
    )
}

pub(crate) fn lease(db: &Db<'_>, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>> {
    let limit = limit as usize;
    let due_endpoints: Vec<EndpointId> = db.all(
        "SELECT id FROM endpoints e WHERE enabled = 1
           AND NOT EXISTS (SELECT 1 FROM endpoint_recoveries r WHERE r.endpoint_id = e.id)
           AND EXISTS (SELECT 1 FROM deliveries d WHERE d.endpoint_id = e.id AND d.due_at <= ?1)
         ORDER BY turn, id",
        [now.as_millis()],
        |row| get_id(row, 0),
    )?;
    let mut waiting = Vec::with_capacity(due_endpoints.len());
    for id in due_endpoints {
        let Some(endpoint) = endpoints::by_id(db, id)? else {
            continue;
        };
        let bound = endpoint.max_in_flight.min(limits::DELIVERIES_PER_ENDPOINT);
        let room = bound.saturating_sub(in_flight(db, id, now)?);
        waiting.push((endpoint, room));
    }
    let mut leases = Vec::new();
    while leases.len() < limit && !waiting.is_empty() {
        let mut still = Vec::with_capacity(waiting.len());
        for (endpoint, room) in waiting {
            if leases.len() == limit {
                break;
            }
            if room == 0 || !may_go(db, &endpoint, now)? {
                continue;
            }
            if let Some(lease) = lease_head(db, &endpoint, owner, now)? {
                leases.push(lease);
                db.write(
                    "UPDATE endpoints SET turn = (SELECT max(turn) + 1 FROM endpoints),
                         paced_until = CASE WHEN max_per_second IS NULL THEN 0
                             WHEN paced_until > ?2 THEN paced_until + 1000 / max_per_second
                             ELSE ?2 + 1000 / max_per_second END
                     WHERE id = ?1",
                    params![key(endpoint.id), now.as_millis()],
                )?;
                still.push((endpoint, room - 1));
            }
        }
        waiting = still;
    }
    Ok(leases)
}

/// Makes due what this owner leased and does not have in flight. Returns their number.
pub(crate) fn free(db: &Db<'_>, owner: &str, in_flight: &BTreeSet<DeliveryId>, now: Timestamp) -> Result<u32> {
    let leased: Vec<DeliveryId> = db.all(
        "SELECT id FROM deliveries WHERE owner = ?1 AND due_at > ?2",
        params![owner, now.as_millis()],
        |row| get_id(row, 0),
    )?;
    let mut freed = 0;
    for id in leased.into_iter().filter(|id| !in_flight.contains(id)) {
        db.write(
            "UPDATE deliveries SET due_at = ?2 WHERE id = ?1",
            params![key(id), now.as_millis()],
        )?;
        freed += 1;
    }
    Ok(freed)
}

/// Deliveries of an endpoint that are in flight: leased, and the lease not expired.
fn in_flight(db: &Db<'_>, endpoint: EndpointId, now: Timestamp) -> Result<u32> {
    Ok(db
        .one(
            "SELECT count(*) FROM deliveries WHERE endpoint_id = ?1 AND owner IS NOT NULL AND due_at > ?2",
            params![key(endpoint), now.as_millis()],
            |row| row.get(0),
        )?
        .unwrap_or(0))
}

/// Whether the rate of an endpoint allows another delivery: the generic cell rate algorithm with a burst of one second,
/// so that rounds that are further apart than the interval lose no deliveries.
fn may_go(db: &Db<'_>, endpoint: &Endpoint, now: Timestamp) -> Result<bool> {
    if endpoint.max_per_second.is_none() {
        return Ok(true);
    }
    db.exists(
        "SELECT 1 FROM endpoints WHERE id = ?1 AND paced_until + 1000 / max_per_second <= ?2 + 1000",
        params![key(endpoint.id), now.as_millis()],
    )
}

fn lease_head(db: &Db<'_>, endpoint: &Endpoint, owner: &str, now: Timestamp) -> Result<Option<DeliveryLease>> {
    loop {
        let due = db.one(
            &format!(
                "SELECT {}, d.id, d.n, d.epoch + 1, d.attempts + 1, d.lane, d.owner IS NOT NULL
                 FROM deliveries d JOIN events e ON e.sequence = d.event
                 WHERE d.endpoint_id = ?1 AND d.due_at <= ?2 ORDER BY d.due_at, d.n LIMIT 1",
                events::EVENT
            ),
            params![key(endpoint.id), now.as_millis()],
            |row| {
                let lease = DeliveryLease {
                    delivery: get_id(row, 8)?,
                    owner: owner.to_owned(),
                    epoch: row.get(10)?,
                    endpoint: endpoint.clone(),
                    event: events::read(row)?,
                    attempt: row.get(11)?,
                };
                let (lane, was_leased): (Option<[u8; 16]>, bool) = (row.get(12)?, row.get(13)?);
                Ok((lease, row.get::<i64>(9)?, lane.filter(|_| was_leased)))
            },
        )?;
        let Some((lease, n, lost_in)) = due else {
            return Ok(None);
        };
        // Its lease expired, and an older delivery of its conversation may have been recovered since, which goes first.
        if let Some(lane) = lost_in
            && head(db, endpoint.id, lane)? != Some(n)
        {
            db.write("UPDATE deliveries SET due_at = NULL, owner = NULL WHERE n = ?1", [n])?;
            release(db, endpoint.id, lane, now)?;
            continue;
        }
        db.write(
            "UPDATE deliveries SET owner = ?2, epoch = ?3, due_at = ?4 WHERE n = ?1",
            params![n, owner, lease.epoch, now.after(limits::LEASE).as_millis()],
        )?;
        return Ok(Some(lease));
    }
}

/// Stores an attempt. The numbers of stored attempts continue over a recovery, while the delivery's own count starts
/// again.
pub(crate) fn keep_attempt(db: &Db<'_>, delivery: DeliveryId, mut attempt: DeliveryAttempt) -> Result<()> {
    attempt.number = db
        .one(
            "SELECT coalesce(max(number), 0) + 1 FROM delivery_attempts WHERE delivery_id = ?1",
            [key(delivery)],
            |row| row.get(0),
        )?
        .unwrap_or(1);
    db.write(
        "INSERT INTO delivery_attempts (delivery_id, number, attempt) VALUES (?1, ?2, ?3)",
        params![key(delivery), attempt.number, json(&attempt)?],
    )?;
    Ok(())
}

/// Makes the oldest unsettled event of a conversation due, and the others wait for it; unless one of them is leased:
/// its end then does this.
pub(crate) fn release(db: &Db<'_>, endpoint: EndpointId, lane: [u8; 16], now: Timestamp) -> Result<()> {
    // Uses the index of leased deliveries, which are few: a conversation may have thousands waiting.
    let held = db.exists(
        "SELECT 1 FROM deliveries INDEXED BY deliveries_leased
         WHERE endpoint_id = ?1 AND owner IS NOT NULL AND due_at > ?3 AND lane = ?2 LIMIT 1",
        params![key(endpoint), lane, now.as_millis()],
    )?;
    let head = if held { None } else { head(db, endpoint, lane)? };
    if let Some(head) = head {
        db.write(
            "UPDATE deliveries SET due_at = coalesce(due_at, ?2) WHERE n = ?1",
            params![head, now.as_millis()],
        )?;
    }
    Ok(())
}

/// The oldest unsettled event of a conversation.
pub(crate) fn head(db: &Db<'_>, endpoint: EndpointId, lane: [u8; 16]) -> Result<Option<i64>> {
    db.one(
        "SELECT n FROM deliveries WHERE endpoint_id = ?1 AND lane = ?2 AND status = 'pending' AND lane IS NOT NULL
         ORDER BY event, n LIMIT 1",
        params![key(endpoint), lane],
        |row| row.get(0),
    )
}

/// Restores the order of a conversation to which older events were added: the oldest goes first, and a newer one that
/// was due waits.
pub(crate) fn put_in_order(db: &Db<'_>, endpoint: EndpointId, lane: [u8; 16], now: Timestamp) -> Result<()> {
    db.write(
        "UPDATE deliveries SET due_at = NULL
         WHERE endpoint_id = ?1 AND lane = ?2 AND status = 'pending' AND lane IS NOT NULL AND due_at IS NOT NULL
           AND (owner IS NULL OR due_at <= ?3)",
        params![key(endpoint), lane, now.as_millis()],
    )?;
    release(db, endpoint, lane, now)
}

pub(crate) fn next_due(db: &Db<'_>) -> Result<Option<Timestamp>> {
    db.moment(
        "SELECT min(CASE WHEN due < paced THEN paced ELSE due END) FROM (
             SELECT (SELECT min(due_at) FROM deliveries d WHERE d.endpoint_id = e.id AND d.due_at IS NOT NULL) AS due,
                 CASE WHEN max_per_second IS NULL THEN 0 ELSE paced_until + 1000 / max_per_second - 1000 END AS paced
             FROM endpoints e WHERE e.enabled = 1
               AND NOT EXISTS (SELECT 1 FROM endpoint_recoveries r WHERE r.endpoint_id = e.id)) AS waiting",
    )
}

const DELIVERY: &str = "d.id, d.endpoint_id, e.id, e.type, d.status, d.attempts, d.due_at, d.created_at, d.n
    FROM deliveries d JOIN events e ON e.sequence = d.event";

fn read(row: &Row<'_>) -> Result<(Delivery, i64)> {
    let delivery = Delivery {
        id: get_id(row, 0)?,
        endpoint_id: get_id(row, 1)?,
        event_id: get_id(row, 2)?,
        event_type: get_enum(row, 3, "events.type")?,
        status: row.get(4)?,
        attempts: row.get(5)?,
        due_at: get_time_if(row, 6)?,
        created_at: get_time(row, 7)?,
    };
    Ok((delivery, row.get(8)?))
}

pub(crate) fn all(db: &Db<'_>, workspace: &str, wanted: DeliveriesOf, page: &Page) -> Result<Listed<Delivery>> {
    // Each query uses the index that covers it.
    let of = match wanted {
        DeliveriesOf { event: Some(_), .. } => {
            "d.event = (SELECT sequence FROM events WHERE id = ?5) AND (?4 IS NULL OR d.endpoint_id = ?4)"
        }
        DeliveriesOf { endpoint: Some(_), .. } => "d.endpoint_id = ?4 AND ?5 IS NULL",
        DeliveriesOf { .. } => "?4 IS NULL AND ?5 IS NULL",
    };
    let rows = db.all(
        &format!("SELECT {DELIVERY} WHERE {of} AND d.workspace_id = ?1 AND d.n < ?2 ORDER BY d.n DESC LIMIT ?3"),
        params![
            workspace,
            cursor_number(page),
            fetch(page),
            key_if(wanted.endpoint),
            key_if(wanted.event)
        ],
        read,
    )?;
    let listed = crate::db::listed(page, rows, |(_, n)| n.to_string());
    Ok(Listed {
        rows: listed.rows.into_iter().map(|(delivery, _)| delivery).collect(),
        next: listed.next,
    })
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: DeliveryId) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>> {
    let found = db.one(
        &format!("SELECT {DELIVERY} WHERE d.id = ?2 AND d.workspace_id = ?1"),
        params![workspace, key(id)],
        read,
    )?;
    let Some((delivery, _)) = found else { return Ok(None) };
    let attempts = db.all(
        "SELECT attempt FROM delivery_attempts WHERE delivery_id = ?1 ORDER BY number",
        [key(id)],
        |row| get_json(row, 0, "delivery_attempts.attempt"),
    )?;
    Ok(Some((delivery, attempts)))
}
