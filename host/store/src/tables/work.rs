//! Work for a channel that one node at a time does. It is free when no node has it, when its node is dead, and when its
//! lease expired. A due time further ahead than any that is ever written is from before the clock was set back.

use std::collections::BTreeSet;

use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, enum_text, get_enum, get_id, get_time_if, key, params};
use crate::{Requeue, Result, WorkKind, WorkLease};

/// Claims the work of a channel for a node, which does not claim its own work a second time. `None` while another node
/// has it.
pub(crate) fn take(
    db: &Db<'_>,
    channel: ChannelId,
    kind: WorkKind,
    node: &str,
    now: Timestamp,
) -> Result<Option<WorkLease>> {
    let taken = db.run(
        "INSERT INTO work (channel_id, kind, node, epoch, until) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (channel_id, kind) DO UPDATE SET node = ?3, epoch = work.epoch + 1, until = ?4
         WHERE work.node IS NULL OR work.node = ?3 OR work.until <= ?5",
        params![
            key(channel),
            enum_text(kind)?,
            node,
            now.after(kind.lease()).as_millis(),
            now.as_millis()
        ],
    )?;
    if taken == 0 {
        return Ok(None);
    }
    db.one(
        "SELECT channel_id, kind, since, failures, node, epoch FROM work WHERE channel_id = ?1 AND kind = ?2",
        params![key(channel), enum_text(kind)?],
        read,
    )
}

fn read(row: &Row<'_>) -> Result<WorkLease> {
    Ok(WorkLease {
        channel_id: get_id(row, 0)?,
        kind: get_enum(row, 1, "work.kind")?,
        since: get_time_if(row, 2)?,
        failures: row.get(3)?,
        node: row.get(4)?,
        epoch: row.get(5)?,
    })
}

/// Claims due work, the longest due first.
pub(crate) fn lease(db: &Db<'_>, kind: WorkKind, node: &str, limit: u32, now: Timestamp) -> Result<Vec<WorkLease>> {
    let due: Vec<ChannelId> = db.all(
        "SELECT channel_id FROM work WHERE kind = ?1 AND (
             (node IS NULL AND (due_at <= ?2 OR due_at > ?3))
             OR (node IS NOT NULL AND until <= ?2))
         ORDER BY coalesce(due_at, 0), channel_id LIMIT ?4",
        params![
            enum_text(kind)?,
            now.as_millis(),
            now.after(limits::WORK_WAIT).as_millis(),
            limit
        ],
        |row| get_id(row, 0),
    )?;
    let mut leases = Vec::new();
    for channel in due {
        leases.extend(take(db, channel, kind, node, now)?);
        db.write(
            "UPDATE work SET due_at = NULL WHERE channel_id = ?1 AND kind = ?2",
            params![key(channel), enum_text(kind)?],
        )?;
    }
    Ok(leases)
}

/// The next due time of unclaimed work.
pub(crate) fn next_due(db: &Db<'_>, kind: WorkKind, now: Timestamp) -> Result<Option<Timestamp>> {
    let next = db.one(
        "SELECT min(CASE WHEN due_at > ?2 THEN ?3 ELSE due_at END) FROM work WHERE kind = ?1 AND node IS NULL",
        params![
            enum_text(kind)?,
            now.after(limits::WORK_WAIT).as_millis(),
            now.as_millis()
        ],
        |row| get_time_if(row, 0),
    )?;
    Ok(next.flatten())
}

/// Ends claimed work: it is due again at the given time, or at an earlier one that was requested meanwhile; without
/// either it is finished. Returns false if the node has lost the claim.
pub(crate) fn end(db: &Db<'_>, lease: &WorkLease, requeue: Option<Requeue>) -> Result<bool> {
    if requeue.is_none() {
        let is_over = db.run(
            "DELETE FROM work WHERE channel_id = ?1 AND kind = ?2 AND node = ?3 AND epoch = ?4 AND due_at IS NULL",
            params![key(lease.channel_id), enum_text(lease.kind)?, lease.node, lease.epoch],
        )?;
        if is_over > 0 {
            return Ok(true);
        }
    }
    let ended = db.run(
        "UPDATE work SET node = NULL, until = NULL, failures = ?5,
             due_at = CASE WHEN due_at <= coalesce(?6, due_at) THEN due_at ELSE ?6 END
         WHERE channel_id = ?1 AND kind = ?2 AND node = ?3 AND epoch = ?4",
        params![
            key(lease.channel_id),
            enum_text(lease.kind)?,
            lease.node,
            lease.epoch,
            requeue.map_or(0, |requeue| requeue.failures),
            requeue.map(|requeue| requeue.due_at.as_millis())
        ],
    )?;
    Ok(ended > 0)
}

/// Releases a node's claimed work of channels that are not in flight there. Returns how many.
pub(crate) fn free(
    db: &Db<'_>,
    kind: WorkKind,
    node: &str,
    in_flight: &BTreeSet<ChannelId>,
    now: Timestamp,
) -> Result<u32> {
    let leased: Vec<ChannelId> = db.all(
        "SELECT channel_id FROM work WHERE kind = ?1 AND node = ?2",
        params![enum_text(kind)?, node],
        |row| get_id(row, 0),
    )?;
    let mut freed = 0;
    for channel in leased.into_iter().filter(|channel| !in_flight.contains(channel)) {
        db.write(
            "UPDATE work SET node = NULL, until = NULL, due_at = coalesce(due_at, ?3) WHERE channel_id = ?1 AND kind = ?2",
            params![key(channel), enum_text(kind)?, now.as_millis()],
        )?;
        freed += 1;
    }
    Ok(freed)
}

/// Whether dead nodes have claimed work.
pub(crate) fn has_dead(db: &Db<'_>) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM work WHERE node IS NOT NULL AND node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL) LIMIT 1",
        [],
    )
}

/// Makes work that dead nodes claimed due at once. Returns the number of rows.
pub(crate) fn end_of_dead(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let ended = db.run(
        "UPDATE work SET node = NULL, until = NULL, due_at = coalesce(due_at, ?1)
         WHERE node IS NOT NULL AND node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [now.as_millis()],
    )?;
    Ok(u32::try_from(ended).unwrap_or(u32::MAX))
}

/// Requests a channel's history from this moment, or from an earlier one that was requested already.
pub(crate) fn request_history(db: &Db<'_>, channel: ChannelId, since: Timestamp, now: Timestamp) -> Result<()> {
    db.write(
        "INSERT INTO work (channel_id, kind, since, due_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (channel_id, kind) DO UPDATE SET due_at = ?4,
             since = CASE WHEN work.since < ?3 THEN work.since ELSE ?3 END",
        params![
            key(channel),
            enum_text(WorkKind::History)?,
            since.as_millis(),
            now.as_millis()
        ],
    )?;
    Ok(())
}

/// The channels with work of a kind.
pub(crate) fn channels(db: &Db<'_>, kind: WorkKind) -> Result<BTreeSet<ChannelId>> {
    let all = db.all(
        "SELECT channel_id FROM work WHERE kind = ?1",
        [enum_text(kind)?],
        |row| get_id(row, 0),
    )?;
    Ok(all.into_iter().collect())
}

/// Sets the polled channels to exactly these; a new one is due at once.
pub(crate) fn enlist_polls(db: &Db<'_>, polled: &BTreeSet<ChannelId>, now: Timestamp) -> Result<()> {
    let (kind, known) = (enum_text(WorkKind::Poll)?, channels(db, WorkKind::Poll)?);
    for new in polled.difference(&known) {
        db.write(
            "INSERT INTO work (channel_id, kind, due_at) VALUES (?1, ?2, ?3) ON CONFLICT (channel_id, kind) DO NOTHING",
            params![key(*new), kind, now.as_millis()],
        )?;
    }
    for gone in known.difference(polled) {
        db.write(
            "DELETE FROM work WHERE channel_id = ?1 AND kind = ?2",
            params![key(*gone), kind],
        )?;
    }
    Ok(())
}
