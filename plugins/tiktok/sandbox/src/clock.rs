//! The sandbox's virtual clock: at the system's pace, from any start, with jumps forward; or stopped between jumps.
//!
//! Every expiry, messaging window, signature and retry uses this clock, so one call can advance two days. It never runs
//! backwards.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// One hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A moment on the virtual clock: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `ms` milliseconds after the Unix epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus `ms`, saturating at the ends of the range.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Runs at the system's pace from its start, or is stopped, plus the time by which it was advanced.
#[derive(Debug)]
pub struct Clock {
    /// `None` for a stopped clock.
    began: Option<Instant>,
    start_ms: i64,
    advanced_ms: AtomicI64,
}

/// The maximum by which a clock can be advanced in all: a hundred years, so that no sum overflows.
pub const FURTHEST_ADVANCE_MS: i64 = 100 * 365 * DAY_MS;

impl Clock {
    /// A clock that shows `start` now, or the system's time by default. A stopped clock changes only when it is
    /// advanced, so that a run can be repeated to the millisecond.
    pub fn new(start: Option<Timestamp>, runs: bool) -> Self {
        let start_ms = start.map_or_else(system_ms, Timestamp::ms);
        Self {
            began: runs.then(Instant::now),
            start_ms,
            advanced_ms: AtomicI64::new(0),
        }
    }

    /// The virtual time now.
    pub fn now(&self) -> Timestamp {
        // A process runs for less than i64::MAX milliseconds, so the conversion is exact.
        let passed = self.began.map_or(0, |began| {
            i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
        });
        Timestamp(self.start_ms)
            .plus_ms(passed)
            .plus_ms(self.advanced_ms.load(Ordering::Acquire))
    }

    /// Whether it is running.
    pub fn runs(&self) -> bool {
        self.began.is_some()
    }

    /// Advances the clock; a negative step or one beyond a hundred years is ignored.
    pub fn advance(&self, ms: i64) -> Option<Timestamp> {
        if ms < 0 {
            return None;
        }
        self.advanced_ms
            .try_update(Ordering::AcqRel, Ordering::Acquire, |so_far| {
                so_far.checked_add(ms).filter(|sum| *sum <= FURTHEST_ADVANCE_MS)
            })
            .ok()
            .map(|_| self.now())
    }
}

fn system_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_now_and_never_backwards() {
        let clock = Clock::new(Some(Timestamp::from_ms(1_000)), true);
        let later = clock.advance(HOUR_MS).expect("an hour is in range");
        assert!(later >= Timestamp::from_ms(1_000 + HOUR_MS));
        assert_eq!(clock.advance(-1), None);
        assert_eq!(clock.advance(i64::MAX), None);
    }

    #[test]
    fn frozen_clock_moves_only_by_advance() {
        let clock = Clock::new(Some(Timestamp::from_ms(1_000)), false);
        assert_eq!(clock.now(), Timestamp::from_ms(1_000));
        assert_eq!(clock.advance(5), Some(Timestamp::from_ms(1_005)));
        assert_eq!(clock.now(), Timestamp::from_ms(1_005));
    }
}
