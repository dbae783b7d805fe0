//! Which facts a channel has got: by the keys that connectors give them, each of which is acted on once.
//!
//! Keys lie in spans of time, so that the old ones are together and go without an index by time, which each fact would pay for.
//! Only digests of them are kept: a key may hold an id of the platform's, and stays when the person who it names is erased, so
//! that what the platform repeats does not bring them back.
//! A key is looked for in its own span and in those beside it, and so known for at least a whole span.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::db::{Db, Params, get_id, key, key_value, params};

/// The span that a moment lies in.
fn span(at: Timestamp) -> i64 {
    at.as_millis() / i64::try_from(limits::SEEN.as_millis()).unwrap_or(i64::MAX)
}

/// What is kept of a key: half of its SHA-256.
pub(crate) fn digest(fact: &str) -> String {
    let digest = Sha256::digest(fact);
    hex::encode(digest.first_chunk::<16>().unwrap_or(&[0; 16]))
}

/// Which of these facts their channels have got.
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

/// Notes the keys of messages that are about to be deleted, those `of` a condition on their rows, so that what the platform repeats
/// does not bring them back.
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

/// Notes a key; whether it was new.
pub(crate) fn note(db: &Db<'_>, channel: ChannelId, fact: &str, now: Timestamp) -> Result<bool> {
    // The span after this one has keys only if the clock was set back.
    let rows = db.run(
        "INSERT INTO seen (span, channel_id, key) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM seen WHERE span IN (?1 - 1, ?1 + 1) AND channel_id = ?2 AND key = ?3)
         ON CONFLICT DO NOTHING",
        params![span(now), key(channel), digest(fact)],
    )?;
    Ok(rows == 1)
}

/// Forgets up to `limit` keys of spans that were over before then; how many.
pub(crate) fn forget(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<u32> {
    let gone = db.run(
        "DELETE FROM seen WHERE (span, channel_id, key) IN (SELECT span, channel_id, key FROM seen WHERE span < ?1 LIMIT ?2)",
        params![span(before), limit],
    )?;
    Ok(u32::try_from(gone).unwrap_or(u32::MAX))
}
