//! Conversations whose history could not be read yet.

use weir_domain::id::ChannelId;
use weir_domain::record::erase::{Erasure, Left};
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, get_id, get_time, get_time_if, key, ms, params};
use crate::tables::CHANNEL;
use crate::{HistoryGap, Result};

/// The most that are shown of one channel; no more conversations are read of a channel at one time.
const SHOWN: u32 = 500;

const GAP: &str = "channel_id, conversation, contact, answered, since, attempts, due_at, detail";

fn read(row: &Row<'_>) -> Result<HistoryGap> {
    Ok(HistoryGap {
        channel: get_id(row, 0)?,
        conversation: row.get(1)?,
        contact: row.get(2)?,
        answered: row.get(3)?,
        since: get_time(row, 4)?,
        attempts: row.get(5)?,
        due_at: get_time_if(row, 6)?,
        detail: row.get(7)?,
    })
}

/// Stores a gap. A known gap is extended to the earlier moment.
pub(crate) fn keep(db: &Db<'_>, workspace: &str, gap: &HistoryGap) -> Result<()> {
    db.write(
        &format!(
            "INSERT INTO history_gaps ({GAP})
             SELECT id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM channels WHERE id = ?1 AND workspace_id = ?2
             ON CONFLICT (channel_id, conversation) DO UPDATE SET
                 since = CASE WHEN history_gaps.since < excluded.since THEN history_gaps.since ELSE excluded.since END,
                 attempts = excluded.attempts, due_at = excluded.due_at, detail = excluded.detail"
        ),
        params![
            key(gap.channel),
            workspace,
            gap.conversation,
            gap.contact,
            gap.answered,
            gap.since.as_millis(),
            gap.attempts,
            ms(gap.due_at),
            gap.detail,
        ],
    )?;
    Ok(())
}

pub(crate) fn close(db: &Db<'_>, workspace: &str, channel: ChannelId, conversation: &str) -> Result<()> {
    db.write(
        &format!("DELETE FROM history_gaps WHERE channel_id = {CHANNEL} AND conversation = ?3"),
        params![key(channel), workspace, conversation],
    )?;
    Ok(())
}

/// Deletes the names of an erased person from a channel's gaps.
pub(crate) fn forget(db: &Db<'_>, workspace: &str, channel: ChannelId, erasure: &Erasure) -> Result<()> {
    let gaps = db.all(
        &format!("SELECT {GAP} FROM history_gaps WHERE channel_id = ?1"),
        [key(channel)],
        read,
    )?;
    for gap in gaps {
        match erasure.gap_left(&gap.conversation, gap.contact.as_deref(), &gap.detail) {
            Left::Nothing => close(db, workspace, channel, &gap.conversation)?,
            Left::Changed(detail) => keep(db, workspace, &HistoryGap { detail, ..gap })?,
            Left::Same => {}
        }
    }
    Ok(())
}

pub(crate) fn of(db: &Db<'_>, workspace: &str, channel: ChannelId) -> Result<Vec<HistoryGap>> {
    db.all(
        &format!("SELECT {GAP} FROM history_gaps WHERE channel_id = {CHANNEL} ORDER BY conversation LIMIT ?3"),
        params![key(channel), workspace, SHOWN],
        read,
    )
}

pub(crate) fn due(db: &Db<'_>, limit: u32, now: Timestamp) -> Result<Vec<(String, HistoryGap)>> {
    db.all(
        &format!(
            "SELECT {GAP}, workspace_id FROM history_gaps JOIN channels ON id = channel_id
             WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2"
        ),
        params![now.as_millis(), limit],
        |row| Ok((row.get(8)?, read(row)?)),
    )
}
