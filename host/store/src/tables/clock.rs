//! Adjusts stored moments when the clock is set: waits and leases were computed by the clock before the step.
//!
//! One transaction over all waiting rows, however many: steps are rare, and a half-finished adjustment could not be
//! distinguished from a finished one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_domain::clock::{ClockOffset, aging};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::db::{Db, json, params};
use crate::tables::nodes;

/// Next attempts, the ends of leases, and the waits of uncertain messages: each keeps its remaining duration. The time
/// at which a message was sent moves too, so that its echo is matched. Rows that were due already are due now; moments
/// of the platform's clock stay.
const WAITS: [&str; 7] = [
    "UPDATE outbox SET not_before = CASE WHEN not_before - ?2 < ?1 THEN ?1 ELSE not_before - ?2 END,
         due_at = CASE WHEN due_at - ?2 < ?1 THEN ?1 ELSE due_at - ?2 END WHERE not_before > ?1 OR due_at > ?1",
    "UPDATE outbox SET dispatched_at = dispatched_at - ?2 WHERE state IN ('sending', 'uncertain') AND dispatched_at > ?1",
    "UPDATE turns SET due_at = CASE WHEN due_at - ?2 < ?1 THEN ?1 ELSE due_at - ?2 END WHERE due_at > ?1",
    "UPDATE deliveries SET due_at = CASE WHEN due_at - ?2 < ?1 THEN ?1 ELSE due_at - ?2 END WHERE due_at > ?1",
    "UPDATE endpoints SET paced_until = CASE WHEN paced_until < ?2 THEN 0 ELSE paced_until - ?2 END,
         failing_since = CASE WHEN failing_since > ?1 THEN ?1 ELSE failing_since END
     WHERE paced_until > ?1 OR failing_since > ?1",
    "UPDATE media SET due_at = CASE WHEN due_at - ?2 < ?1 THEN ?1 ELSE due_at - ?2 END WHERE due_at > ?1",
    "UPDATE work SET due_at = CASE WHEN due_at - ?2 < ?1 THEN ?1 ELSE due_at - ?2 END, until = until - ?2, since = since - ?2
     WHERE due_at > ?1 OR until > ?1",
];

/// The clock was set back by `by` and shows `now`. Returns the number of rows touched.
pub(crate) fn set_back(db: &Db<'_>, by: Duration, now: Timestamp) -> Result<u32> {
    all(&WAITS, |sql| db.run(sql, params![now.as_millis(), millis(by)]))
}

/// Waiting rows may become due earlier; a leased row would count as lost, and its message would be sent again.
const LEASED: [&str; 3] = [
    "UPDATE outbox SET not_before = not_before + ?2 WHERE state = 'sending' AND owner = ?1",
    "UPDATE deliveries SET due_at = due_at + ?2 WHERE owner = ?1",
    "UPDATE work SET until = until + ?2 WHERE node = ?1",
];

/// The clock was set forward by `by` while this worker ran. Returns the number of rows touched.
pub(crate) fn set_forward(db: &Db<'_>, owner: &str, by: Duration) -> Result<u32> {
    all(&LEASED, |sql| db.run(sql, params![owner, millis(by)]))
}

/// The same statements for all nodes that are alive.
const LEASED_BY_ALL: [&str; 3] = [
    "UPDATE outbox SET not_before = not_before + ?1 WHERE state = 'sending'
       AND owner IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
    "UPDATE deliveries SET due_at = due_at + ?1 WHERE owner IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
    "UPDATE work SET until = until + ?1 WHERE node IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
];

/// The name of the last clock step in `meta`.
const STEP: &str = "clock_step";

/// A clock step: its size in milliseconds, and the time that the clock showed then.
#[derive(Serialize, Deserialize)]
struct NotedStep {
    by: i64,
    shown: i64,
}

/// Two nodes may notice one step at moments up to this far apart, and may measure its size up to this much differently.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
const ALIKE: Duration = Duration::from_secs(2);

impl NotedStep {
    fn is(&self, other: &Self) -> bool {
        let within = |one: i64, other: i64, span: Duration| one.abs_diff(other) <= millis(span).unsigned_abs();
        within(self.by, other.by, ALIKE) && within(self.shown, other.shown, NOTICED_WITHIN)
    }
}

/// Whether the last step of the clock that all nodes follow was backward.
pub(crate) fn was_set_back(db: &Db<'_>) -> Result<bool> {
    Ok(noted_step(db)?.is_some_and(|step| step.by < 0))
}

fn noted_step(db: &Db<'_>) -> Result<Option<NotedStep>> {
    let noted = db.one("SELECT value FROM meta WHERE name = ?1", [STEP], |row| {
        Ok(serde_json::from_slice::<NotedStep>(row.get(0)?).ok())
    })?;
    Ok(noted.flatten())
}

/// The clock of all nodes was set by `by` milliseconds, back if negative, as this node noticed. `None` if another node
/// noticed first, or this node was ended: its work belongs to others now.
pub(crate) fn set_for_all(db: &Db<'_>, node: &str, by: i64, now: Timestamp, moves_nodes: bool) -> Result<Option<u32>> {
    let step = NotedStep {
        by,
        shown: now.as_millis(),
    };
    if !nodes::is_alive(db, node)? || noted_step(db)?.is_some_and(|noted| noted.is(&step)) {
        return Ok(None);
    }
    db.write(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![STEP, json(&step)?.into_bytes()],
    )?;
    if moves_nodes {
        // No heartbeat may be in the future.
        db.write(
            "UPDATE nodes SET beat_at = CASE WHEN beat_at + ?1 > ?2 THEN ?2 ELSE beat_at + ?1 END WHERE ended_at IS NULL",
            params![by, now.as_millis()],
        )?;
        db.write("UPDATE duties SET until = until + ?1", [by])?;
    }
    if by < 0 {
        set_back(db, Duration::from_millis(by.unsigned_abs()), now).map(Some)
    } else {
        all(&LEASED_BY_ALL, |sql| db.run(sql, [by])).map(Some)
    }
}

/// The stored offsets, by app; an app without one agrees with the host's clock.
pub(crate) fn platforms(db: &Db<'_>) -> Result<BTreeMap<String, ClockOffset>> {
    let noted = db.all("SELECT app, offset_ms FROM platform_clocks", [], |row| {
        Ok((row.get(0)?, ClockOffset::from_millis(row.get(1)?)))
    })?;
    Ok(noted.into_iter().collect())
}

/// Rows that wait for a moment of the platform's clock, stored as the host's clock was thought to show it.
const PLATFORM_MOMENTS: [&str; 2] = [
    "UPDATE outbox SET expires_at = CASE WHEN expires_at < ?2 THEN 0 ELSE expires_at - ?2 END
     WHERE expires_at IS NOT NULL AND channel_id IN (SELECT id FROM channels WHERE app = ?1)",
    "UPDATE conversations SET news_at = CASE WHEN news_at < ?2 THEN 0 ELSE news_at - ?2 END
     WHERE news_at IS NOT NULL AND channel_id IN (SELECT id FROM channels WHERE app = ?1)",
];

/// Stores the offset of a platform's clock from the host's, and moves what waits for its moments. Returns the number of
/// rows touched.
pub(crate) fn platform(db: &Db<'_>, app: &str, offset: ClockOffset, now: Timestamp) -> Result<u32> {
    let noted: Option<i64> = db.one("SELECT offset_ms FROM platform_clocks WHERE app = ?1", [app], |row| {
        row.get(0)
    })?;
    let by = offset.as_millis() - noted.unwrap_or_default();
    if by == 0 {
        return Ok(0);
    }
    db.write(
        "INSERT INTO platform_clocks (app, offset_ms, noted_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (app) DO UPDATE SET offset_ms = ?2, noted_at = ?3",
        params![app, offset.as_millis(), now.as_millis()],
    )?;
    all(&PLATFORM_MOMENTS, |sql| db.run(sql, params![app, by]))
}

/// The name of the aging clock in `meta`.
const AGING: &str = "aging";

/// Advances the clock by which ages are counted, and returns its time.
pub(crate) fn age(db: &Db<'_>, passed: Duration, now: Timestamp) -> Result<Timestamp> {
    let stood = db.one("SELECT value FROM meta WHERE name = ?1", [AGING], |row| {
        Ok(std::str::from_utf8(row.get(0)?).ok().and_then(|ms| ms.parse().ok()))
    })?;
    let stood = stood.flatten().map_or(now, Timestamp::from_millis);
    let stands = aging(stood, passed, now);
    db.write(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![AGING, stands.as_millis().to_string().into_bytes()],
    )?;
    Ok(stands)
}

fn all(statements: &[&'static str], run: impl Fn(&'static str) -> Result<usize>) -> Result<u32> {
    let mut touched = 0;
    for sql in statements {
        touched += run(sql)?;
    }
    Ok(u32::try_from(touched).unwrap_or(u32::MAX))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
