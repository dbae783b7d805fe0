//! The host's clock: the system's, or a sandbox's that it follows.
//!
//! A followed clock is read a few times a second, and runs on at the system's pace in between unless it stands still. When it
//! jumps, who sleeps until a moment must look again; [`HostClock::set`] says so.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use serde::Deserialize;
use url::Url;
use weir_domain::credential::Secrets;
use weir_domain::policy::{Request, RequestBody, may_follow_clock};
use weir_domain::time::Timestamp;
use weir_egress::{Egress, NoBodies};
use weir_store::Store;

/// How often a followed clock is read.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// How long the followed clock may take to answer at the start.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// What the way of an answer can take; more is a jump.
const JUMP: Duration = Duration::from_secs(1);

/// What time it is.
#[derive(Debug)]
pub struct HostClock(Mutex<Source>);

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    Followed { read: Timestamp, at: Instant },
    Stopped(Timestamp),
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
            Source::Stopped(read) => read,
        }
    }

    /// Goes on from what the followed clock said. Whether that is a jump, or any move of one that stands still.
    pub fn set(&self, reading: Reading) -> bool {
        let read = Timestamp::from_millis(reading.now_ms);
        let before = self.now();
        let (source, jump) = if reading.runs {
            (
                Source::Followed {
                    read,
                    at: Instant::now(),
                },
                JUMP,
            )
        } else {
            (Source::Stopped(read), Duration::ZERO)
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = source;
        read.since(before) > jump || before.since(read) > jump
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

/// What a followed clock shows.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Reading {
    now_ms: i64,
    /// Whether it goes on by itself; one that does not say so does.
    #[serde(default = "goes_on")]
    runs: bool,
}

fn goes_on() -> bool {
    true
}

/// Asks the clock at `url`.
///
/// # Errors
/// In words.
pub(crate) async fn read(egress: &Egress, url: &Url) -> Result<Reading, String> {
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
    serde_json::from_slice(&answer.body).map_err(|_| format!("it answers {} and no {{\"now_ms\": …}}", answer.status))
}

/// While a virtual clock is followed, windows and signatures are judged by it: no app may then talk to a real platform.
///
/// # Errors
/// Such an app, or the record.
pub(crate) async fn check(store: &dyn Store, clock: &str) -> anyhow::Result<()> {
    for app in store.apps().await? {
        if app.origins.0.is_empty() || !app.origins.is_all_loopback() {
            anyhow::bail!(
                "clock = {clock:?} is refused: the app {:?} is not mapped to this machine; map its origins, or unset the clock",
                app.name
            );
        }
    }
    Ok(())
}

/// Asks the clock at `url` until it answers, as long as a program that starts beside the host may take.
///
/// # Errors
/// What it said last, in words.
pub(crate) async fn first_reading(egress: &Egress, url: &Url) -> Result<Reading, String> {
    let deadline = tokio::time::Instant::now() + FIRST_ANSWER;
    loop {
        match read(egress, url).await {
            Err(_) if tokio::time::Instant::now() < deadline => tokio::time::sleep(FOLLOW_EVERY).await,
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_followed_clock_goes_on_from_what_was_read_and_tells_a_jump() {
        let clock = HostClock::system();
        let shows = |now: Timestamp, runs| Reading {
            now_ms: now.as_millis(),
            runs,
        };
        let there = Timestamp::from_millis(1_000_000);
        assert!(
            clock.set(shows(there, true)),
            "from the system's time to another is a jump"
        );
        assert!(clock.now() >= there);
        assert!(!clock.set(shows(clock.now(), true)), "its own time is none");
        let later = there.after(Duration::from_secs(48 * 3600));
        assert!(clock.set(shows(later, false)));
        assert_eq!(clock.now(), later);
        assert!(!clock.set(shows(later, false)), "it stands still");
        assert!(
            clock.set(shows(later.after(Duration::from_millis(1)), false)),
            "any move of it counts"
        );
    }
}
