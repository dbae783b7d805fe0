//! The facts that a channel received: by the keys that connectors assign; each is applied once.
//!
//! Keys are grouped by span of time, so that old ones are adjacent and can be deleted without an index by time, which
//! would slow down each fact. Only digests are stored: a key may contain a platform id, and is kept when its person is
//! erased, so that a repetition by the platform does not restore them. A key is searched in its own span and the two
//! adjacent ones, and so recognized for at least a whole span.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::db::{Db, Params, get_id, key, key_value, params};

/// The span that contains a moment.
fn span(at: Timestamp) -> i64 {
    at.as_millis() / i64::try_from(limits::SEEN.as_millis()).unwrap_or(i64::MAX)
}

/// The stored part of a key: half of its SHA-256.
pub(crate) fn digest(fact: &str) -> String {
    let digest = Sha256::digest(fact);
    hex::encode(digest.first_chunk::<16>().unwrap_or(&[0; 16]))
}

/// The facts, among these, that their channels have received.
pub(crate) fn known<'a>(
    db: &Db<'_>,
    facts: impl IntoIterator<Item = (ChannelId, &'a str)>,
    now: Timestamp,
) -> Result<Vec<(ChannelId, String)>> {
    let digests: BTreeMap<(ChannelId, String), &str> = facts
        .into_iter()
        .map(|(channel, fact)| ((channel, digest(fact)), fact))
        .collect();
    let keys = digests
        .keys()
        .map(|(channel, digest)| [key_value(*channel), digest.clone().into()]);
    let found: Vec<(ChannelId, String)> = db.wanted(
        keys,
        params![span(now)],
        "SELECT channel_id, key FROM wanted
         CROSS JOIN seen ON span IN (?1 - 1, ?1, ?1 + 1) AND channel_id = w1 AND key = w2",
        |row| Ok((get_id(row, 0)?, row.get(1)?)),
    )?;
    let facts = found.into_iter().filter_map(|(channel, digest)| {
        let key = (channel, digest);
        digests.get(&key).map(|fact| (key.0, (*fact).to_owned()))
    });
    Ok(facts.collect())
}

/// Stores the keys of messages that are about to be deleted, with `of` as the condition on their rows, so that a
/// repetition by the platform does not restore them.
pub(crate) fn keep_keys(db: &Db<'_>, of: &str, params: impl Params, now: Timestamp) -> Result<()> {
    let keys: Vec<(ChannelId, String)> = db.all(
        &format!("SELECT channel_id, platform_id FROM messages WHERE platform_id IS NOT NULL AND part = 0 AND {of}"),
        params,
        |row| Ok((get_id(row, 0)?, row.get(1)?)),
    )?;
    for (channel, fact) in keys {
        note(db, channel, &fact, now)?;
    }
    Ok(())
}

/// Stores a key; returns whether it was new.
pub(crate) fn note(db: &Db<'_>, channel: ChannelId, fact: &str, now: Timestamp) -> Result<bool> {
    // The following span has keys only if the clock was set back.
    let rows = db.run(
        "INSERT INTO seen (span, channel_id, key) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM seen WHERE span IN (?1 - 1, ?1 + 1) AND channel_id = ?2 AND key = ?3)
         ON CONFLICT DO NOTHING",
        params![span(now), key(channel), digest(fact)],
    )?;
    Ok(rows == 1)
}

/// Deletes up to `limit` keys of spans that ended before then; returns their number.
pub(crate) fn forget(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u32> {
    let gone = db.run(
        "DELETE FROM seen WHERE (span, channel_id, key) IN (SELECT span, channel_id, key FROM seen WHERE span < ?1 LIMIT ?2)",
        params![span(before), limit],
    )?;
    Ok(u32::try_from(gone).unwrap_or(u32::MAX))
}
