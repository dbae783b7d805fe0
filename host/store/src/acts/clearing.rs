//! Deletes the contents of removed workspaces, in steps that are small enough not to delay other writers. A restart
//! continues this, since the mark of the removal is deleted last.

use std::time::Duration;

use weir_domain::id::{ChannelId, ConversationId, MediaId};
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::acts::erasure;
use crate::db::{Db, get_id, get_time, key, params};
use crate::tables::{media, outbox};

/// The minimum lifetime of a mark: all that was started in the workspace before it has ended by then, a connect session
/// last.
const MARKED: Duration = limits::CONNECT_SESSION.saturating_mul(2);
/// Conversations deleted in one step, each with its messages.
const CONVERSATIONS: u32 = 10;

/// The contents of a workspace except its conversations: `?1` is the workspace, `?2` the number of rows per step. Rows
/// that reference others come before them.
const ROWS: &[&str] = &[
    "DELETE FROM delivery_attempts WHERE delivery_id IN
       (SELECT id FROM deliveries WHERE workspace_id = ?1 ORDER BY n LIMIT ?2)",
    "DELETE FROM deliveries WHERE n IN (SELECT n FROM deliveries WHERE workspace_id = ?1 ORDER BY n LIMIT ?2)",
    "DELETE FROM events WHERE sequence IN
       (SELECT sequence FROM events WHERE workspace_id = ?1 ORDER BY sequence LIMIT ?2)",
    "DELETE FROM refusals WHERE rowid IN (SELECT rowid FROM refusals WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM refusal_counts WHERE (workspace_id, about, whom, rule) IN
       (SELECT workspace_id, about, whom, rule FROM refusal_counts WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM audit WHERE n IN (SELECT n FROM audit WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM claims WHERE rowid IN (SELECT rowid FROM claims WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM contacts WHERE id IN (SELECT id FROM contacts WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM dead_letters WHERE n IN (SELECT n FROM dead_letters
       WHERE app IN (SELECT name FROM apps WHERE workspace_id = ?1) LIMIT ?2)",
    "DELETE FROM endpoints WHERE id IN (SELECT id FROM endpoints WHERE workspace_id = ?1 LIMIT ?2)",
];

/// The contents of a deleted channel: `?1` is the channel.
const OF_CHANNEL: &[&str] = &[
    "DELETE FROM transcripts WHERE channel_id = ?1",
    "DELETE FROM erasures WHERE channel_id = ?1",
    "DELETE FROM early_receipts WHERE channel_id = ?1",
    "DELETE FROM history_gaps WHERE channel_id = ?1",
    "DELETE FROM outbox WHERE channel_id = ?1",
    "DELETE FROM turns WHERE channel_id = ?1",
    "DELETE FROM work WHERE channel_id = ?1",
    "DELETE FROM moved_states WHERE channel_id = ?1",
    "DELETE FROM state_owners WHERE channel_id = ?1",
    "DELETE FROM state WHERE channel_id = ?1",
    "DELETE FROM credentials WHERE channel_id = ?1",
    "DELETE FROM channels WHERE id = ?1",
];

/// Deleted together with the mark: `?1` is the workspace.
const LAST: &[&str] = &[
    "DELETE FROM dead_letter_counts WHERE app IN (SELECT name FROM apps WHERE workspace_id = ?1)",
    "DELETE FROM platform_clocks WHERE app IN (SELECT name FROM apps WHERE workspace_id = ?1)",
    "DELETE FROM apps WHERE workspace_id = ?1",
    "DELETE FROM sessions WHERE key_id IN (SELECT id FROM keys WHERE workspace_id = ?1)",
    "DELETE FROM keys WHERE workspace_id = ?1",
    "DELETE FROM workspaces WHERE id = ?1",
];

/// Deletes some of the contents of a removed workspace. Returns whether it found any.
pub(crate) fn clear(db: &Db<'_>, now: Timestamp, limit: u32) -> Result<bool> {
    let marked: Vec<(String, Timestamp)> = db.all(
        "SELECT id, removed_at FROM workspaces WHERE removed_at IS NOT NULL ORDER BY removed_at",
        [],
        |row| Ok((row.get(0)?, get_time(row, 1)?)),
    )?;
    for (id, removed_at) in marked {
        if clear_one(db, &id, limit, now)? {
            return Ok(true);
        }
        if removed_at.after(MARKED) <= now {
            for sql in LAST {
                db.write(sql, [&id])?;
            }
        }
    }
    Ok(false)
}

fn clear_one(db: &Db<'_>, id: &str, limit: u32, now: Timestamp) -> Result<bool> {
    let conversations: Vec<(ConversationId, ChannelId)> = db.all(
        "SELECT id, channel_id FROM conversations WHERE workspace_id = ?1 LIMIT ?2",
        params![id, CONVERSATIONS],
        |row| Ok((get_id(row, 0)?, get_id(row, 1)?)),
    )?;
    for (conversation, channel) in &conversations {
        outbox::forget(db, *channel, *conversation)?;
        erasure::erase_conversation(db, *conversation, now)?;
    }
    if !conversations.is_empty() {
        return Ok(true);
    }
    let uploads: Vec<MediaId> = db.all(
        "SELECT id FROM media WHERE workspace_id = ?1 LIMIT ?2",
        params![id, limit],
        |row| get_id(row, 0),
    )?;
    for upload in &uploads {
        db.write("DELETE FROM sent_uploads WHERE media_id = ?1", [key(*upload)])?;
        db.write("DELETE FROM media WHERE id = ?1", [key(*upload)])?;
    }
    media::to_be_removed(db, &uploads)?;
    let mut found = uploads.len();
    for sql in ROWS {
        found += db.run(sql, params![id, limit])?;
    }
    if found > 0 {
        return Ok(true);
    }
    let channels: Vec<ChannelId> = db.all(
        "SELECT id FROM channels WHERE workspace_id = ?1 LIMIT ?2",
        params![id, CONVERSATIONS],
        |row| get_id(row, 0),
    )?;
    for channel in &channels {
        for sql in OF_CHANNEL {
            db.write(sql, [key(*channel)])?;
        }
    }
    Ok(!channels.is_empty())
}

#[cfg(test)]
mod tests {
    /// Not deleted explicitly: these rows age out within a week and contain only ids.
    const LEFT: [&str; 3] = ["seen", "removed_events", "connect_sessions"];

    #[test]
    fn every_table_of_a_workspace_is_cleared() {
        let migrations = concat!(
            include_str!("../../migrations/sqlite/0001_first.sql"),
            include_str!("../../migrations/sqlite/0002_second.sql"),
            include_str!("../../migrations/sqlite/0003_third.sql"),
            include_str!("../../migrations/sqlite/0004_nodes.sql")
        );
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        connection.execute_batch(migrations).expect("the schema");
        let mut statement = connection
            .prepare(
                "SELECT DISTINCT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'
                 AND c.name IN ('workspace_id', 'channel_id', 'conversation_id', 'contact_id', 'message_id', 'media_id', 'app')",
            )
            .expect("a statement");
        let tables: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .and_then(Iterator::collect)
            .expect("names");
        assert!(tables.len() > 20, "{tables:?}");
        let written = concat!(
            include_str!("clearing.rs"),
            include_str!("erasure.rs"),
            include_str!("outbox.rs"),
            include_str!("../tables/media.rs")
        );
        for table in tables.iter().filter(|table| !LEFT.contains(&table.as_str())) {
            assert!(
                written.contains(&format!("DELETE FROM {table} ")),
                "{table} keeps what is in a removed workspace"
            );
        }
    }
}
