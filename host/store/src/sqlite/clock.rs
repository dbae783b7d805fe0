//! What waits and what is in hand, when the clock is set: the moments that were noted for them are moments of the clock as it
//! was.
//!
//! One transaction over all that waits, however much: it is rare, and a half of it done could not be told from all of it.

use std::time::Duration;

use rusqlite::params;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::db::Db;

/// Next tries, the ends of leases, and the waits in doubt: each waits as long as it had still to wait. When a message left is
/// noted by the right clock, so that its echo is known. What was due already is due now; moments of the platform stay.
const WAITS: [&str; 6] = [
    "UPDATE outbox SET not_before = max(?1, not_before - ?2), due_at = max(?1, due_at - ?2) WHERE not_before > ?1 OR due_at > ?1",
    "UPDATE outbox SET dispatched_at = dispatched_at - ?2 WHERE state IN ('sending', 'uncertain') AND dispatched_at > ?1",
    "UPDATE turns SET due_at = max(?1, due_at - ?2) WHERE due_at > ?1",
    "UPDATE deliveries SET due_at = max(?1, due_at - ?2) WHERE due_at > ?1",
    "UPDATE endpoints SET paced_until = max(0, paced_until - ?2), failing_since = min(?1, failing_since)
     WHERE paced_until > ?1 OR failing_since > ?1",
    "UPDATE media SET due_at = max(?1, due_at - ?2) WHERE due_at > ?1",
];

/// The clock was set back by so much and shows `now`. How many rows were touched.
pub(super) fn set_back(db: &Db<'_>, by: Duration, now: Timestamp) -> Result<u32> {
    all(&WAITS, |sql| db.run(sql, params![now.as_millis(), millis(by)]))
}

/// What waits may go earlier; what is in hand would be taken for lost, and a message sent again.
const IN_HAND: [&str; 2] = [
    "UPDATE outbox SET not_before = not_before + ?2 WHERE state = 'sending' AND owner = ?1",
    "UPDATE deliveries SET due_at = due_at + ?2 WHERE owner = ?1",
];

/// The clock was set forward by so much, under this worker. How many rows were touched.
pub(super) fn set_forward(db: &Db<'_>, owner: &str, by: Duration) -> Result<u32> {
    all(&IN_HAND, |sql| db.run(sql, params![owner, millis(by)]))
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
