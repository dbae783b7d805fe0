//! The offsets of the platforms' clocks from ours.
//!
//! The timestamps that a platform signs and the dates of its responses narrow a clock estimate for each app. A new
//! estimate is first stored in the database, where queued messages wait for moments on the platform's clock, and used
//! for decisions only afterwards. So a restart continues with the stored estimate, and nothing that was accepted by one
//! clock expires by the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use weir_domain::clock::{ClockOffset, ClockSample, PlatformClock};
use weir_domain::time::Timestamp;
use weir_runtime::context::AnswerDates;

/// Estimates that moved by less than this are not stored again: platforms report whole seconds.
const WORTH_NOTING_MS: u64 = 1_000;

/// The clocks of all apps' platforms.
#[derive(Debug)]
pub(crate) struct PlatformClocks {
    apps: Mutex<HashMap<String, Arc<AppClock>>>,
    /// Notified when an estimate differs from the stored one.
    pub(crate) moved: Arc<Notify>,
}

/// The clock of one app's platform.
#[derive(Debug, Default)]
pub(crate) struct AppClock {
    known: Mutex<Known>,
    /// `None` if our clock is the platform's own: then no estimate is needed.
    moved: Option<Arc<Notify>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    estimate: PlatformClock,
    /// The estimate used for decisions.
    noted: ClockOffset,
}

impl PlatformClocks {
    /// Starts from the stored offsets.
    pub(crate) fn new(noted: BTreeMap<String, ClockOffset>) -> Self {
        let clocks = Self {
            apps: Mutex::default(),
            moved: Arc::default(),
        };
        for (app, offset) in noted {
            clocks.of(&app).with(|known| {
                *known = Known {
                    estimate: PlatformClock::noted(offset),
                    noted: offset,
                };
            });
        }
        clocks
    }

    /// The clock of an app's platform. Bounded by the number of apps.
    pub(crate) fn of(&self, app: &str) -> Arc<AppClock> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = apps.entry(app.to_owned()).or_insert_with(|| {
            Arc::new(AppClock {
                known: Mutex::default(),
                moved: Some(Arc::clone(&self.moved)),
            })
        });
        Arc::clone(clock)
    }

    /// The system's clock was set by so many milliseconds, forward if positive.
    pub(crate) fn ours_was_set(&self, by_ms: i64) {
        for (_, clock) in self.all() {
            clock.with(|known| known.estimate.ours_was_set(by_ms));
        }
        self.moved.notify_one();
    }

    /// All of them, by app.
    pub(crate) fn all(&self) -> Vec<(String, Arc<AppClock>)> {
        let apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.iter()
            .map(|(app, clock)| (app.clone(), Arc::clone(clock)))
            .collect()
    }
}

impl AppClock {
    /// The clock with which the platform's times are compared.
    pub(crate) fn offset(&self) -> ClockOffset {
        self.with(|known| known.noted)
    }

    /// Whether the offset is known, and not only assumed to be zero.
    pub(crate) fn is_known(&self) -> bool {
        self.moved.is_none() || self.with(|known| known.estimate.is_known())
    }

    /// Whether the estimate is stored and in use.
    pub(crate) fn is_settled(&self) -> bool {
        self.with(|known| known.moved().is_none())
    }

    /// The platform signed data at `signed_at`, and it was received at `received_at`.
    pub(crate) fn signed(&self, signed_at: Timestamp, received_at: Timestamp) {
        self.observe(ClockSample::signed(signed_at, received_at));
    }

    /// The estimate, if it differs from the one that is stored and in use.
    pub(crate) fn moved(&self) -> Option<ClockOffset> {
        self.with(|known| known.moved())
    }

    /// The database has this estimate: decisions use it from now on.
    pub(crate) fn noted(&self, offset: ClockOffset) {
        self.with(|known| known.noted = offset);
    }

    fn observe(&self, sample: ClockSample) {
        let Some(moved) = &self.moved else { return };
        let is_worth_noting = self.with(|known| {
            known.estimate.observe(sample);
            known.moved().is_some()
        });
        if is_worth_noting {
            moved.notify_one();
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// The estimate, if it differs from the stored one.
    fn moved(self) -> Option<ClockOffset> {
        let offset = self.estimate.offset();
        let apart = offset.as_millis().abs_diff(self.noted.as_millis());
        (apart >= WORTH_NOTING_MS).then_some(offset)
    }
}

impl AnswerDates for AppClock {
    fn answered(&self, date: &str, sent_at: Timestamp, received_at: Timestamp) {
        if let Some(sample) = ClockSample::answered(date, sent_at, received_at) {
            self.observe(sample);
        }
    }
}

/// The offset of a platform's clock, as a sentence.
pub(crate) fn describe_offset(app: &str, offset: ClockOffset) -> String {
    let seconds = offset.as_millis().unsigned_abs() as f64 / 1_000.0;
    match offset.as_millis() {
        0 => format!("The clock of the platform of {app} agrees with this machine's."),
        1.. => format!("The clock of the platform of {app} is {seconds:.1} s ahead of this machine's."),
        _ => format!("The clock of the platform of {app} is {seconds:.1} s behind this machine's."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    #[test]
    fn nothing_is_judged_by_what_is_not_noted() {
        let clocks = PlatformClocks::new(BTreeMap::new());
        let clock = clocks.of("tiktok");
        clock.signed(at(10_000), at(0));
        assert_eq!(clock.offset(), ClockOffset::default());
        let moved = clock.with(|known| known.moved());
        assert_eq!(moved, Some(ClockOffset::from_millis(10_000)));
        assert_eq!(clocks.of("other").with(|known| known.moved()), None);
    }

    #[test]
    fn the_platforms_own_clock_is_never_apart() {
        let clock = AppClock::default();
        clock.signed(at(10_000), at(0));
        assert_eq!(clock.offset(), ClockOffset::default());
        assert!(clock.is_settled());
    }

    #[test]
    fn noted_offsets_survive_a_restart() {
        let noted = [("tiktok".to_owned(), ClockOffset::from_millis(-600_000))].into();
        let clocks = PlatformClocks::new(noted);
        assert_eq!(clocks.of("tiktok").offset(), ClockOffset::from_millis(-600_000));
        // A webhook of a platform whose clock is behind ours gives only a bound: it is not further behind.
        clocks.of("tiktok").signed(at(-600_000), at(0));
        assert_eq!(clocks.of("tiktok").with(|known| known.moved()), None);
    }
}
