//! Deleting what is older than it is kept: oldest first, and so much in one step that nobody waits long for it.
//!
//! Every table here grows in the order of time, so that a step reads what it deletes and one row more.

use rusqlite::params;
use weir_domain::id::{MediaId, MessageId};
use weir_domain::time::Timestamp;

use crate::sqlite::db::{Db, get_id, get_time, key};
use crate::sqlite::{ledger, media, seen};
use crate::{Forgotten, KeptSince, Result};

pub(super) fn forget(db: &Db<'_>, since: &KeptSince, limit: u32) -> Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    if let Some(before) = since.messages {
        messages(db, before, limit, &mut forgotten)?;
        events(db, before, limit, &mut forgotten)?;
    }
    if let Some(before) = since.media {
        attachments(db, before, limit, &mut forgotten)?;
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

/// Whether a step took all that it may.
fn is_full(taken: usize, limit: u32) -> bool {
    taken >= limit as usize
}

/// What is in the outbox is not settled, and stays.
fn messages(db: &Db<'_>, before: Timestamp, limit: u32, forgotten: &mut Forgotten) -> Result<()> {
    let oldest: Vec<(MessageId, Timestamp)> = db.all(
        "SELECT id, created_at FROM messages WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE message_id = messages.id)
         ORDER BY n LIMIT ?1",
        params![limit],
        |row| Ok((get_id(row, 0)?, get_time(row, 1)?)),
    )?;
    let old: Vec<MessageId> = oldest
        .into_iter()
        .take_while(|(_, created_at)| *created_at < before)
        .map(|(id, _)| id)
        .collect();
    for id in &old {
        let attached: Vec<MediaId> = db.all("SELECT id FROM media WHERE message_id = ?1", [key(*id)], |row| {
            get_id(row, 0)
        })?;
        for sql in [
            "DELETE FROM media WHERE message_id = ?1",
            "DELETE FROM attempts WHERE message_id = ?1",
            "DELETE FROM messages WHERE id = ?1",
        ] {
            db.run(sql, [key(*id)])?;
        }
        forgotten.media.extend(attached);
        forgotten.messages += 1;
    }
    forgotten.more |= is_full(old.len(), limit);
    Ok(())
}

/// An event that an endpoint still waits for stays, with all after it.
fn events(db: &Db<'_>, before: Timestamp, limit: u32, forgotten: &mut Forgotten) -> Result<()> {
    let settled: Vec<(Vec<u8>, Timestamp)> = db.all(
        "SELECT id, created_at FROM deliveries WHERE status <> 'pending' ORDER BY n LIMIT ?1",
        params![limit],
        |row| Ok((row.get(0)?, get_time(row, 1)?)),
    )?;
    let settled: Vec<Vec<u8>> = settled
        .into_iter()
        .take_while(|(_, created_at)| *created_at < before)
        .map(|(id, _)| id)
        .collect();
    for id in &settled {
        db.run("DELETE FROM delivery_attempts WHERE delivery_id = ?1", [id])?;
        db.run("DELETE FROM deliveries WHERE id = ?1", [id])?;
    }
    let oldest: Vec<(i64, Timestamp)> = db.all(
        "SELECT sequence, at FROM events ORDER BY sequence LIMIT ?1",
        params![limit],
        |row| Ok((row.get(0)?, get_time(row, 1)?)),
    )?;
    let old: Vec<i64> = oldest
        .into_iter()
        .take_while(|(_, at)| *at < before)
        .map(|(sequence, _)| sequence)
        .collect();
    if old.is_empty() {
        forgotten.more |= is_full(settled.len(), limit);
        return Ok(());
    }
    let waited_for: Option<i64> = db
        .one(
            "SELECT min(event) FROM deliveries WHERE status = 'pending'",
            [],
            |row| row.get::<_, Option<i64>>(0),
        )?
        .flatten();
    let free = old
        .iter()
        .take_while(|sequence| waited_for.is_none_or(|first| **sequence < first));
    let mut deleted = 0;
    for sequence in free {
        db.run("DELETE FROM events WHERE sequence = ?1", [sequence])?;
        deleted += 1;
    }
    forgotten.events += u32::try_from(deleted).unwrap_or(u32::MAX);
    forgotten.more |= is_full(deleted, limit) || is_full(settled.len(), limit);
    Ok(())
}

/// The message stays, and says that its attachment was here.
fn attachments(db: &Db<'_>, before: Timestamp, limit: u32, forgotten: &mut Forgotten) -> Result<()> {
    // Ids of this kind sort by time.
    let oldest: Vec<(MediaId, Timestamp)> = db.all(
        "SELECT id, created_at FROM media ORDER BY id LIMIT ?1",
        params![limit],
        |row| Ok((get_id(row, 0)?, get_time(row, 1)?)),
    )?;
    let mut deleted = 0;
    for (id, _) in oldest.into_iter().take_while(|(_, created_at)| *created_at < before) {
        media::expired(db, id)?;
        db.run("DELETE FROM media WHERE id = ?1", [key(id)])?;
        forgotten.media.push(id);
        deleted += 1;
    }
    forgotten.more |= is_full(deleted, limit);
    Ok(())
}
