//! Data kept for inspection: dead letters, refusals, the audit log, queue depths.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_domain::id::{ChannelId, DeadLetterId, RefusalId};
use weir_domain::limits;
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

use crate::db::{
    Db, Row, cursor_id, cursor_number, enum_text, fetch, get_enum, get_id, get_json, get_time, get_time_if, json, key,
    limit, listed, params,
};
use crate::{
    AuditEntry, DeadLetter, Depths, Listed, Page, RefusalCount, RefusalRecord, RefusedWhat, Result, StoreError,
};

// ---- dead letters --------------------------------------------------------------------------------------------------

/// A webhook without its body.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
}

fn read_letter(row: &Row<'_>, body: Vec<u8>) -> Result<DeadLetter> {
    let head: Head = get_json(row, 5, "dead_letters.head")?;
    Ok(DeadLetter {
        id: get_id(row, 0)?,
        app: row.get(1)?,
        version: row.get(2)?,
        reason: row.get(3)?,
        received_at: get_time(row, 4)?,
        webhook: RawWebhook {
            method: head.method,
            query: head.query,
            headers: head.headers,
            body: Bytes::from(body),
        },
    })
}

pub(crate) fn keep_letter(db: &Db<'_>, letter: DeadLetter) -> Result<()> {
    // Each was acknowledged, or is about to be: a new one never displaces another.
    let kept: u32 = db
        .one(
            "SELECT kept FROM dead_letter_counts WHERE app = ?1",
            [&letter.app],
            |row| row.get(0),
        )?
        .unwrap_or_default();
    if kept >= limits::DEAD_LETTERS {
        return Err(StoreError::Unavailable {
            reason: format!(
                "the app {:?} has {} dead letters, the maximum; replay or delete some",
                letter.app,
                limits::DEAD_LETTERS
            ),
        });
    }
    let head = Head {
        method: letter.webhook.method,
        query: letter.webhook.query,
        headers: letter.webhook.headers,
    };
    db.write(
        "INSERT INTO dead_letters (id, app, version, reason, received_at, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            key(letter.id),
            letter.app,
            letter.version,
            letter.reason,
            letter.received_at.as_millis(),
            json(&head)?,
            letter.webhook.body.as_ref(),
        ],
    )?;
    db.write(
        "INSERT INTO dead_letter_counts (app, kept, dropped) VALUES (?1, 1, 0)
         ON CONFLICT (app) DO UPDATE SET kept = dead_letter_counts.kept + 1",
        [&letter.app],
    )?;
    if kept + 1 == limits::DEAD_LETTERS_WARNED {
        tracing::warn!(
            app = letter.app,
            "The app has {} dead letters; at {} its webhooks that cannot be translated are answered 503. Replay or delete some",
            limits::DEAD_LETTERS_WARNED,
            limits::DEAD_LETTERS
        );
    }
    Ok(())
}

const LETTER: &str = "id, app, version, reason, received_at, head";

pub(crate) fn letters(db: &Db<'_>, apps: &BTreeSet<String>, page: &Page) -> Result<Listed<DeadLetter>> {
    let rows = db.all(
        &format!(
            "SELECT {LETTER}, n FROM dead_letters WHERE app IN (SELECT value FROM json_each(?1)) AND n < ?2
             ORDER BY n DESC LIMIT ?3"
        ),
        params![
            apps.iter().cloned().collect::<Vec<_>>(),
            cursor_number(page),
            fetch(page)
        ],
        |row| Ok((read_letter(row, Vec::new())?, row.get::<i64>(6)?)),
    )?;
    let listed = listed(page, rows, |(_, n)| n.to_string());
    Ok(Listed {
        rows: listed.rows.into_iter().map(|(letter, _)| letter).collect(),
        next: listed.next,
    })
}

/// A dead letter belongs to the workspace of its app.
pub(crate) fn letter(db: &Db<'_>, workspace: &str, id: DeadLetterId) -> Result<Option<DeadLetter>> {
    db.one(
        &format!(
            "SELECT {LETTER}, body FROM dead_letters
             WHERE id = ?1 AND app IN (SELECT name FROM apps WHERE workspace_id = ?2)"
        ),
        params![key(id), workspace],
        |row| read_letter(row, row.get(6)?),
    )
}

pub(crate) fn drop_letter(db: &Db<'_>, workspace: &str, id: DeadLetterId) -> Result<bool> {
    let is_theirs = db.exists(
        "SELECT 1 FROM dead_letters WHERE id = ?1 AND app IN (SELECT name FROM apps WHERE workspace_id = ?2)",
        params![key(id), workspace],
    )?;
    Ok(is_theirs && remove_letter(db, id)?)
}

fn remove_letter(db: &Db<'_>, id: DeadLetterId) -> Result<bool> {
    db.write(
        "UPDATE dead_letter_counts SET kept = kept - 1 WHERE app = (SELECT app FROM dead_letters WHERE id = ?1)",
        [key(id)],
    )?;
    Ok(db.run("DELETE FROM dead_letters WHERE id = ?1", [key(id)])? > 0)
}

/// Deletes up to `limit` of those that arrived before then, the oldest first; returns their number.
pub(crate) fn forget_letters(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u32> {
    let oldest: Vec<(DeadLetterId, Timestamp)> = db.all(
        "SELECT id, received_at FROM dead_letters ORDER BY n LIMIT ?1",
        params![limit],
        |row| Ok((get_id(row, 0)?, get_time(row, 1)?)),
    )?;
    let mut gone = 0;
    for (id, _) in oldest.into_iter().take_while(|(_, received_at)| *received_at < before) {
        gone += u32::from(remove_letter(db, id)?);
    }
    Ok(gone)
}

// ---- refusals ------------------------------------------------------------------------------------------------------

pub(crate) fn keep_refusal(db: &Db<'_>, refusal: &RefusalRecord) -> Result<()> {
    let (id, at) = (key(refusal.id), refusal.at.as_millis());
    db.write(
        "INSERT INTO refusals (id, workspace_id, at, refusal) VALUES (?1, ?2, ?3, ?4)",
        params![id, refusal.workspace_id, at, json(refusal)?],
    )?;
    db.write(
        "INSERT INTO refusal_counts (workspace_id, about, whom, rule, count, first_at, last_at, last)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, ?6)
         ON CONFLICT (workspace_id, about, whom, rule) DO UPDATE SET count = refusal_counts.count + 1, last_at = ?5, last = ?6",
        params![
            refusal.workspace_id,
            enum_text(refusal.about)?,
            refusal.whom,
            refusal.rule,
            at,
            id
        ],
    )?;
    Ok(())
}

const COUNT: &str = "about, whom, rule, count, first_at, last_at, last";

fn read_count(row: &Row<'_>) -> Result<RefusalCount> {
    Ok(RefusalCount {
        about: get_enum(row, 0, "refusal_counts.about")?,
        whom: row.get(1)?,
        rule: row.get(2)?,
        count: row.get::<i64>(3)?.unsigned_abs(),
        first_at: get_time(row, 4)?,
        last_at: get_time(row, 5)?,
        last: get_id(row, 6)?,
    })
}

/// How often each rule refused, the most frequent first: for the given channels, or for the whole workspace, including
/// its connectors, if none are given.
pub(crate) fn refusal_counts(
    db: &Db<'_>,
    workspace: &str,
    of: &BTreeSet<ChannelId>,
    most: u32,
) -> Result<Vec<RefusalCount>> {
    if of.is_empty() {
        return db.all(
            &format!(
                "SELECT {COUNT} FROM refusal_counts WHERE workspace_id = ?1
                 ORDER BY count DESC, last_at DESC LIMIT ?2"
            ),
            params![workspace, most],
            read_count,
        );
    }
    let sql = format!("SELECT {COUNT} FROM refusal_counts WHERE workspace_id = ?1 AND about = ?2 AND whom = ?3");
    let about = enum_text(RefusedWhat::Send)?;
    let mut counts = Vec::new();
    for channel in of {
        counts.extend(db.all(&sql, params![workspace, about, channel.to_string()], read_count)?);
    }
    counts.sort_by_key(|count| Reverse((count.count, count.last_at)));
    counts.truncate(most as usize);
    Ok(counts)
}

/// Deletes rows older than these moments or beyond the bound, up to a limit; returns their number.
pub(crate) fn forget(db: &Db<'_>, refusals: Timestamp, changes: Timestamp) -> Result<u32> {
    let mut gone = 0;
    for (table, row, before, kept) in [
        ("refusals", "rowid", refusals, limits::REFUSALS),
        ("audit", "n", changes, limits::AUDIT_ENTRIES),
    ] {
        let over = db.run(
            &format!(
                "DELETE FROM {table} WHERE {row} IN (SELECT {row} FROM {table}
                 WHERE at < ?1 OR at < (SELECT at FROM {table} ORDER BY at DESC LIMIT 1 OFFSET ?2)
                 ORDER BY at LIMIT ?3)"
            ),
            params![before.as_millis(), kept, limits::FORGET_AT_ONCE],
        )?;
        gone += u32::try_from(over).unwrap_or(u32::MAX);
    }
    Ok(gone)
}

pub(crate) fn refusal(db: &Db<'_>, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>> {
    db.one(
        "SELECT refusal FROM refusals WHERE id = ?2 AND workspace_id = ?1",
        params![workspace, key(id)],
        |row| get_json(row, 0, "refusals.refusal"),
    )
}

/// Refusals, newest first: those about the given channels, or all of the workspace if none are given.
pub(crate) fn refusals(
    db: &Db<'_>,
    workspace: &str,
    of: &BTreeSet<ChannelId>,
    page: &Page,
) -> Result<Listed<RefusalRecord>> {
    if of.is_empty() {
        let rows = db.all(
            "SELECT refusal FROM refusals WHERE workspace_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
            params![workspace, cursor_id::<RefusalId>(page), fetch(page)],
            |row| get_json(row, 0, "refusals.refusal"),
        )?;
        return Ok(listed(page, rows, |last: &RefusalRecord| last.id.to_string()));
    }
    // The channel is in the document only, so the bound is on the rows scanned. Rows that do not match are not kept.
    let (mut rows, mut scanned, mut last, mut next) = (Vec::new(), 0, None, None);
    db.each(
        "SELECT refusal FROM refusals WHERE workspace_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        params![
            workspace,
            cursor_id::<RefusalId>(page),
            i64::try_from(limits::ROWS_SCANNED + 1).unwrap_or(i64::MAX)
        ],
        |row| {
            if scanned == limits::ROWS_SCANNED {
                next = last;
                return Ok(ControlFlow::Break(()));
            }
            scanned += 1;
            let refusal: RefusalRecord = get_json(row, 0, "refusals.refusal")?;
            let id = refusal.id;
            if refusal.channel_id.is_some_and(|channel| of.contains(&channel)) {
                if rows.len() == limit(page) {
                    next = last;
                    return Ok(ControlFlow::Break(()));
                }
                rows.push(refusal);
            }
            last = Some(id);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(Listed {
        rows,
        next: next.map(|id: RefusalId| id.to_string()),
    })
}

// ---- audit ---------------------------------------------------------------------------------------------------------

pub(crate) fn audit(db: &Db<'_>, entry: &AuditEntry) -> Result<()> {
    db.write(
        "INSERT INTO audit (workspace_id, at, entry) VALUES (?1, ?2, ?3)",
        params![entry.workspace_id, entry.at.as_millis(), json(entry)?],
    )?;
    Ok(())
}

pub(crate) fn audit_log(db: &Db<'_>, workspace: &str, page: &Page) -> Result<Listed<AuditEntry>> {
    let rows: Vec<(AuditEntry, i64)> = db.all(
        "SELECT entry, n FROM audit WHERE workspace_id = ?1 AND n < ?2 ORDER BY n DESC LIMIT ?3",
        params![workspace, cursor_number(page), fetch(page)],
        |row| Ok((get_json(row, 0, "audit.entry")?, row.get(1)?)),
    )?;
    let listed = listed(page, rows, |(_, n)| n.to_string());
    Ok(Listed {
        rows: listed.rows.into_iter().map(|(entry, _)| entry).collect(),
        next: listed.next,
    })
}

// ---- depths --------------------------------------------------------------------------------------------------------

pub(crate) fn depths(db: &Db<'_>) -> Result<Depths> {
    let count = |sql: &str| -> Result<u64> { Ok(db.one(sql, [], |row| row.get::<u32>(0))?.unwrap_or(0).into()) };
    let oldest = |sql: &str| db.one(sql, [], |row| get_time_if(row, 0)).map(Option::flatten);
    Ok(Depths {
        outbox: count("SELECT count(*) FROM outbox WHERE state <> 'uncertain'")?,
        outbox_oldest_at: oldest("SELECT since FROM outbox WHERE state <> 'uncertain' ORDER BY n LIMIT 1")?,
        uncertain: count("SELECT count(*) FROM outbox WHERE state = 'uncertain'")?,
        uncertain_oldest_at: oldest("SELECT min(dispatched_at) FROM outbox WHERE state = 'uncertain'")?,
        deliveries: count("SELECT count(*) FROM deliveries WHERE status = 'pending'")?,
        deliveries_oldest_at: oldest("SELECT created_at FROM deliveries WHERE status = 'pending' ORDER BY n LIMIT 1")?,
        media: count("SELECT count(*) FROM media WHERE due_at IS NOT NULL")?,
        media_oldest_at: oldest("SELECT min(created_at) FROM media WHERE due_at IS NOT NULL")?,
        dead_letters: count("SELECT CAST(coalesce(sum(kept), 0) AS BIGINT) FROM dead_letter_counts")?,
        dead_letters_of_one_app: count("SELECT coalesce(max(kept), 0) FROM dead_letter_counts")?,
        dead_letters_oldest_at: oldest("SELECT received_at FROM dead_letters ORDER BY n LIMIT 1")?,
        writes: 0,
        log_bytes: 0,
    })
}
