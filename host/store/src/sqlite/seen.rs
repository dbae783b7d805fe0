//! Which facts a channel has heard: by the keys that connectors give them, each of which is acted on once.
//!
//! Keys lie in spans of time, so that the old ones are together and go without an index by time, which each fact would pay for.
//! A key is looked for in its own span and in those beside it, and so known for at least a whole span.

use rusqlite::params;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::db::{Db, key};

/// The span that a moment lies in.
fn span(at: Timestamp) -> i64 {
    at.as_millis() / i64::try_from(limits::SEEN.as_millis()).unwrap_or(i64::MAX)
}

/// Notes that a channel heard of a fact; whether that is the first time.
pub(super) fn first(db: &Db<'_>, channel: ChannelId, fact: &str, now: Timestamp) -> Result<bool> {
    // The span after this one has keys only if the clock was set back.
    let rows = db.run(
        "INSERT OR IGNORE INTO seen (span, channel_id, key) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM seen WHERE span IN (?1 - 1, ?1 + 1) AND channel_id = ?2 AND key = ?3)",
        params![span(now), key(channel), fact],
    )?;
    Ok(rows == 1)
}

/// Forgets up to `limit` keys of spans that were over before then; how many.
pub(super) fn forget(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u32> {
    let gone = db.run(
        "DELETE FROM seen WHERE (span, channel_id, key) IN (SELECT span, channel_id, key FROM seen WHERE span < ?1 LIMIT ?2)",
        params![span(before), limit],
    )?;
    Ok(u32::try_from(gone).unwrap_or(u32::MAX))
}
