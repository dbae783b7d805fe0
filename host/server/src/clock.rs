//! The host's clock: the system's, or a sandbox's that it follows.
//!
//! A followed clock is read a few times a second and runs on at the system's pace in between. When it jumps, who sleeps until
//! a moment must look again; [`HostClock::set`] says so.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use serde::Deserialize;
use url::Url;
use weir_domain::credential::Secrets;
use weir_domain::policy::{Request, RequestBody, may_follow_clock};
use weir_domain::time::Timestamp;
use weir_egress::{Egress, NoBodies};

/// How often a followed clock is read.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// What the way of an answer can take; more is a jump.
const JUMP: Duration = Duration::from_secs(1);

/// What time it is.
#[derive(Debug)]
pub struct HostClock(Mutex<Source>);

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    Followed { read: Timestamp, at: Instant },
}

impl HostClock {
    /// The system's.
    pub fn system() -> Self {
        Self(Mutex::new(Source::System))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        // A poisoned lock holds a value as good as any other.
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Source::System => system_now(),
            Source::Followed { read, at } => read.after(at.elapsed()),
        }
    }

    /// Goes on from what the followed clock said. Whether that is a jump.
    pub fn set(&self, read: Timestamp) -> bool {
        let before = self.now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Source::Followed {
            read,
            at: Instant::now(),
        };
        read.since(before) > JUMP || before.since(read) > JUMP
    }
}

impl weir_runtime::context::Clock for HostClock {
    fn now(&self) -> Timestamp {
        HostClock::now(self)
    }
}

fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unsigned_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[derive(Deserialize)]
struct Reading {
    now_ms: i64,
}

/// Asks the clock at `url`.
///
/// # Errors
/// In words.
pub(crate) async fn read(egress: &Egress, url: &Url) -> Result<Timestamp, String> {
    let permit = may_follow_clock(Request {
        method: Method::GET,
        url: url.clone(),
        headers: Vec::new(),
        body: RequestBody::Empty,
    });
    let answer = egress
        .send(permit, &Secrets::default(), &NoBodies)
        .await
        .map_err(|error| error.to_string())?;
    let reading: Reading = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("it answers {} and no {{\"now_ms\": …}}", answer.status))?;
    Ok(Timestamp::from_millis(reading.now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_followed_clock_goes_on_from_what_was_read_and_tells_a_jump() {
        let clock = HostClock::system();
        let there = Timestamp::from_millis(1_000_000);
        assert!(clock.set(there), "from the system's time to another is a jump");
        assert!(clock.now() >= there);
        assert!(!clock.set(clock.now()), "its own time is none");
        assert!(clock.set(there.after(Duration::from_secs(48 * 3600))));
    }
}
