//! Deletion by age: oldest first, in steps that are small enough not to delay other writers.
//!
//! Every table here grows in the order of time, so that a step reads what it deletes and one row more.

use weir_domain::id::{EndpointId, MediaId, MessageId};
use weir_domain::time::Timestamp;

use crate::db::{Db, get_id, get_id_if, get_time, key, params};
use crate::tables::{endpoints, ledger, media, seen};
use crate::{Forgotten, KeptSince, Result};

pub(crate) fn forget(db: &Db<'_>, since: &KeptSince, limit: u32) -> Result<Forgotten> {
    let mut forgotten = Forgotten {
        place: since.place,
        ..Forgotten::default()
    };
    if let Some(before) = since.messages {
        messages(db, since, before, limit, &mut forgotten)?;
        events(db, since, before, limit, &mut forgotten)?;
    }
    if let Some(before) = since.media {
        attachments(db, since, before, limit, &mut forgotten)?;
    }
    if let Some(before) = since.dead_letters {
        forgotten.dead_letters = ledger::forget_letters(db, before, limit)?;
        forgotten.more |= forgotten.dead_letters >= limit;
    }
    if let Some(before) = since.seen {
        forgotten.seen = seen::forget(db, before, limit)?;
        forgotten.more |= forgotten.seen >= limit;
    }
    Ok(forgotten)
}

/// The latest date that counts: a later one was written by a wrong clock.
fn latest(since: &KeptSince) -> i64 {
    since.now.unwrap_or(Timestamp::MAX).as_millis()
}

/// Whether a step reached its limit.
fn is_full(taken: usize, limit: u32) -> bool {
    taken >= limit as usize
}

/// A message in the outbox is not settled, and stays.
fn messages(db: &Db<'_>, since: &KeptSince, before: Timestamp, limit: u32, forgotten: &mut Forgotten) -> Result<()> {
    let oldest: Vec<(MessageId, Timestamp)> = db.all(
        "SELECT id, created_at FROM messages WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE message_id = messages.id)
         AND created_at <= ?2 ORDER BY n LIMIT ?1",
        params![limit, latest(since)],
        |row| Ok((get_id(row, 0)?, get_time(row, 1)?)),
    )?;
    let old: Vec<_> = oldest
        .into_iter()
        .take_while(|(_, created_at)| *created_at < before)
        .collect();
    for (id, created_at) in &old {
        seen::keep_keys(db, "id = ?1", [key(*id)], *created_at)?;
        let attached: Vec<MediaId> = db.all("SELECT id FROM media WHERE message_id = ?1", [key(*id)], |row| {
            get_id(row, 0)
        })?;
        for sql in [
            "DELETE FROM media WHERE message_id = ?1",
            "DELETE FROM attempts WHERE message_id = ?1",
            "DELETE FROM messages WHERE id = ?1",
        ] {
            db.write(sql, [key(*id)])?;
        }
        media::to_be_removed(db, &attached)?;
        forgotten.media += u32::try_from(attached.len()).unwrap_or(u32::MAX);
        forgotten.messages += 1;
    }
    forgotten.more |= is_full(old.len(), limit);
    Ok(())
}

/// Deliveries first, then the events without a pending delivery. Events that an enabled endpoint waits for stay and are
/// skipped; those that a disabled endpoint waits for are missed.
fn events(db: &Db<'_>, since: &KeptSince, before: Timestamp, limit: u32, forgotten: &mut Forgotten) -> Result<()> {
    let oldest: Vec<OldDelivery> = db.all(
        "SELECT d.n, d.id, d.created_at, d.status = 'pending', e.id, coalesce(e.enabled, 0)
         FROM deliveries d LEFT JOIN endpoints e ON e.id = d.endpoint_id WHERE d.n > ?1 ORDER BY d.n LIMIT ?2",
        params![since.place.delivery, limit],
        |row| {
            Ok(OldDelivery {
                n: row.get(0)?,
                id: row.get(1)?,
                created_at: get_time(row, 2)?,
                is_pending: row.get(3)?,
                endpoint: get_id_if(row, 4)?,
                is_enabled: row.get(5)?,
            })
        },
    )?;
    let is_old = |at: Timestamp| at < before || since.is_ahead(at);
    let old: Vec<&OldDelivery> = oldest.iter().take_while(|one| is_old(one.created_at)).collect();
    forgotten.more |= is_full(old.len(), limit);
    forgotten.place.delivery = old.last().map_or(since.place.delivery, |last| last.n);
    let old = old.into_iter().filter(|one| !since.is_ahead(one.created_at));
    for delivery in old.filter(|one| !(one.is_pending && one.is_enabled)) {
        db.write("DELETE FROM delivery_attempts WHERE delivery_id = ?1", [&delivery.id])?;
        db.write("DELETE FROM deliveries WHERE n = ?1", [delivery.n])?;
        if let Some(endpoint) = delivery.endpoint.filter(|_| delivery.is_pending) {
            *forgotten.missed.entry(endpoint).or_default() += 1;
        }
    }
    for (endpoint, count) in &forgotten.missed {
        endpoints::missed(db, *endpoint, *count)?;
    }
    let oldest: Vec<(i64, Timestamp, bool)> = db.all(
        "SELECT sequence, at, EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.sequence AND d.status = 'pending')
         FROM events e WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        params![since.place.event, limit],
        |row| Ok((row.get(0)?, get_time(row, 1)?, row.get(2)?)),
    )?;
    let old: Vec<&(i64, Timestamp, bool)> = oldest.iter().take_while(|(_, at, _)| is_old(*at)).collect();
    forgotten.more |= is_full(old.len(), limit);
    forgotten.place.event = old.last().map_or(since.place.event, |(sequence, _, _)| *sequence);
    let old = old.into_iter().filter(|(_, at, _)| !since.is_ahead(*at));
    for (sequence, _, _) in old.filter(|(_, _, is_awaited)| !is_awaited) {
        db.write("DELETE FROM events WHERE sequence = ?1", [sequence])?;
        forgotten.events += 1;
    }
    // A reader whose last event is older than all that is kept starts with the oldest: single positions need not be
    // kept, except the newest of the deleted, which marks how far back they go.
    db.write(
        "DELETE FROM removed_events WHERE sequence IN (SELECT sequence FROM removed_events
         WHERE sequence < (SELECT max(sequence) FROM removed_events
             WHERE sequence < coalesce((SELECT min(sequence) FROM events), ?1))
         ORDER BY sequence LIMIT ?2)",
        params![i64::MAX, 2 * limit],
    )?;
    Ok(())
}

/// A delivery as a step of the deletion sees it.
struct OldDelivery {
    n: i64,
    id: Vec<u8>,
    created_at: Timestamp,
    is_pending: bool,
    /// `None` if the endpoint was deleted.
    endpoint: Option<EndpointId>,
    is_enabled: bool,
}

/// The message stays, and shows that its attachment existed.
fn attachments(db: &Db<'_>, since: &KeptSince, before: Timestamp, limit: u32, forgotten: &mut Forgotten) -> Result<()> {
    // Ids of this kind sort by time.
    let oldest: Vec<(MediaId, Timestamp)> = db.all(
        "SELECT id, created_at FROM media WHERE created_at <= ?2 ORDER BY id LIMIT ?1",
        params![limit, latest(since)],
        |row| Ok((get_id(row, 0)?, get_time(row, 1)?)),
    )?;
    let mut deleted = 0;
    for (id, _) in oldest.into_iter().take_while(|(_, created_at)| *created_at < before) {
        media::expired(db, id)?;
        db.write("DELETE FROM media WHERE id = ?1", [key(id)])?;
        db.write("DELETE FROM sent_uploads WHERE media_id = ?1", [key(id)])?;
        media::to_be_removed(db, &[id])?;
        forgotten.media += 1;
        deleted += 1;
    }
    forgotten.more |= is_full(deleted, limit);
    Ok(())
}
