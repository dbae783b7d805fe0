//! The host's clock: the system's, the database server's, or a sandbox's that it follows.
//!
//! A followed clock is read a few times a second and advances at the system's pace in between unless it is paused. Both
//! clocks may step: a person or a time server sets the system's. A sleeper must then recheck its deadline, a task
//! scheduled before a backward step must not wait longer because of it, and leased work must not be treated as expired
//! after a forward step. `Core::check_clock` ensures this.

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
/// How long the followed clock may take to respond at the start.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How often the system's clock is compared with the monotonic clock.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Larger than a response's latency and than what a time server slews between two readings; a larger difference is a
/// step.
const STEP: Duration = Duration::from_secs(1);

/// The clock differs from its expected reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was set forward by this duration.
    Forward(Duration),
    /// It was set back by this duration.
    Back(Duration),
}

/// The step, if the clock shows `read` where `expected` was expected.
fn step(expected: Timestamp, read: Timestamp, tolerance: Duration) -> Option<Step> {
    let (back, forward) = (expected.since(read), read.since(expected));
    if back > tolerance {
        Some(Step::Back(back))
    } else if forward > tolerance {
        Some(Step::Forward(forward))
    } else {
        None
    }
}

/// The host's clock.
#[derive(Debug)]
pub struct HostClock(Mutex<Source>);

#[derive(Clone, Copy, Debug)]
enum Source {
    /// The system's clock, with its last reading.
    System {
        seen: Timestamp,
        at: Instant,
    },
    Followed {
        read: Timestamp,
        at: Instant,
    },
    Stopped(Timestamp),
}

impl HostClock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Mutex::new(Source::System {
            seen: system_now(),
            at: Instant::now(),
        }))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        // A poisoned lock still holds a valid value.
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Source::System { .. } => system_now(),
            Source::Followed { read, at } => read.after(at.elapsed()),
            Source::Stopped(read) => read,
        }
    }

    /// Reads the clock: `reading` for a followed clock, `None` for the system's.
    pub fn measure(&self, reading: Option<Reading>) -> ClockCheck {
        let at = Instant::now();
        let source = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = match source {
            Source::System { seen, at: then } | Source::Followed { read: seen, at: then } => {
                seen.after(at.saturating_duration_since(then))
            }
            Source::Stopped(read) => read,
        };
        let (source, tolerance) = match reading {
            None => (Source::System { seen: system_now(), at }, STEP),
            Some(Reading { now_ms, runs: true }) => {
                let read = Timestamp::from_millis(now_ms);
                (Source::Followed { read, at }, STEP)
            }
            Some(Reading { now_ms, runs: false }) => {
                // For a paused clock any change is a step.
                (Source::Stopped(Timestamp::from_millis(now_ms)), Duration::ZERO)
            }
        };
        let (Source::System { seen: shown, .. } | Source::Followed { read: shown, .. } | Source::Stopped(shown)) =
            source;
        ClockCheck {
            source,
            shown,
            step: step(expected, shown, tolerance),
        }
    }

    /// Continues from a reading.
    pub fn accept(&self, clock_check: ClockCheck) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = clock_check.source;
    }
}

/// One reading of a clock, and whether the clock was stepped.
#[derive(Clone, Copy, Debug)]
pub struct ClockCheck {
    source: Source,
    /// The time read.
    pub shown: Timestamp,
    /// The step, if there was one.
    pub step: Option<Step>,
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

/// The reading of a followed clock.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Reading {
    now_ms: i64,
    /// Whether the clock is running; true if the response omits it.
    #[serde(default = "goes_on")]
    runs: bool,
}

fn goes_on() -> bool {
    true
}

/// Reads the clock at `url`.
///
/// # Errors
/// The error as text.
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

/// The time on the database server; `None` if the database is in this process. All hosts on a database use it, so that
/// a timestamp written by one means the same to all.
pub(crate) fn of_server(store: &dyn Store) -> Option<Timestamp> {
    let now = store.server_time()?;
    Some(Timestamp::from_unsigned_millis(
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
    ))
}

/// The same, as a reading to continue from.
pub(crate) fn of_record(store: &dyn Store) -> Option<Reading> {
    let now_ms = of_server(store)?.as_millis();
    Some(Reading { now_ms, runs: true })
}

/// While a virtual clock is followed, it decides about windows and signatures: no app may then use a real platform.
///
/// # Errors
/// Such an app exists, or the database failed.
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

/// Polls the clock at `url` until it answers, for at most the time that a program started together with the host may
/// take.
///
/// # Errors
/// The last error as text.
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

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_followed_clock_goes_on_from_what_was_read_and_tells_a_step() {
        let clock = HostClock::system();
        let see = |now: Timestamp, runs| {
            let clock_check = clock.measure(Some(Reading {
                now_ms: now.as_millis(),
                runs,
            }));
            clock.accept(clock_check);
            clock_check.step
        };
        let there = Timestamp::from_millis(1_000_000_000);
        assert!(
            matches!(see(there, true), Some(Step::Back(_))),
            "from the system's time to an earlier one"
        );
        assert!(clock.now() >= there);
        assert_eq!(see(clock.now(), true), None, "its own time is none");
        let later = there.after(48 * HOUR);
        assert!(matches!(see(later, false), Some(Step::Forward(by)) if by <= 48 * HOUR));
        assert_eq!(clock.now(), later);
        assert_eq!(see(later, false), None, "the clock is paused");
        let moment = Duration::from_millis(1);
        let any = "any move of it counts";
        assert_eq!(see(later.after(moment), false), Some(Step::Forward(moment)), "{any}");
        assert_eq!(see(later, false), Some(Step::Back(moment)), "{any}");
        assert_eq!(see(later.before(HOUR), false), Some(Step::Back(HOUR)));
    }

    #[test]
    fn clock_step_is_reported_until_accepted() {
        let here = Timestamp::from_millis(1_000_000_000);
        for (read, expected) in [
            (here, None),
            (here.before(STEP), None),
            (here.after(STEP), None),
            (here.after(HOUR), Some(Step::Forward(HOUR))),
            (here.before(HOUR), Some(Step::Back(HOUR))),
        ] {
            assert_eq!(step(here, read, STEP), expected, "{read}");
        }
        let clock = HostClock::system();
        assert_eq!(clock.measure(None).step, None);
        let elsewhere = Reading { now_ms: 0, runs: true };
        assert!(clock.measure(Some(elsewhere)).step.is_some());
        assert!(
            clock.measure(Some(elsewhere)).step.is_some(),
            "the first step was not accepted"
        );
    }
}
