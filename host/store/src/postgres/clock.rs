//! The server's clock, relative to this process's own.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the best reading is used: after that the clocks drift apart, by some hundred microseconds per minute.
const USED: Duration = Duration::from_secs(30);
/// How far two readings may differ by drift alone, in microseconds. If they differ by more, the server's clock was set,
/// or it is another server.
const DRIFT: i64 = 5_000;

/// The server's time, by the reading with the shortest round trip.
#[derive(Debug)]
pub(super) struct ServerClock {
    origin: Instant,
    readings: Mutex<Readings>,
}

/// The best reading of the current span, and of the one before it.
#[derive(Clone, Copy, Debug)]
struct Readings {
    since: Duration,
    now: Reading,
    before: Option<Reading>,
}

/// The server's clock minus the host's, in microseconds, and the largest error of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    offset: i64,
    error: i64,
}

impl Reading {
    /// The server's clock showed `server` microseconds at some time between two moments of the host's clock.
    fn between(sent: Duration, answered: Duration, server: i64) -> Self {
        let half = micros(answered.saturating_sub(sent) / 2);
        Self {
            offset: server - micros(sent) - half,
            error: half,
        }
    }

    fn contradicts(self, other: Self) -> bool {
        (self.offset - other.offset).abs() > self.error + other.error + DRIFT
    }

    fn better(self, other: Self) -> Self {
        if other.error < self.error { other } else { self }
    }
}

impl Readings {
    fn begin(since: Duration, now: Reading) -> Self {
        Self {
            since,
            now,
            before: None,
        }
    }

    fn best(self) -> Reading {
        self.before.map_or(self.now, |before| self.now.better(before))
    }

    fn with(self, reading: Reading, at: Duration) -> Self {
        if self.best().contradicts(reading) {
            return Self::begin(at, reading);
        }
        if at.saturating_sub(self.since) < USED {
            return Self {
                now: self.now.better(reading),
                ..self
            };
        }
        Self {
            before: Some(self.now),
            ..Self::begin(at, reading)
        }
    }
}

impl ServerClock {
    /// Starts from a first reading: the server's clock showed `server` microseconds between `sent` and `answered`.
    pub(super) fn new(sent: Instant, answered: Instant, server: i64) -> Self {
        let reading = Reading::between(Duration::ZERO, answered.saturating_duration_since(sent), server);
        Self {
            origin: sent,
            readings: Mutex::new(Readings::begin(Duration::ZERO, reading)),
        }
    }

    /// Adds a reading.
    pub(super) fn read(&self, sent: Instant, answered: Instant, server: i64) {
        let since = |at: Instant| at.saturating_duration_since(self.origin);
        let reading = Reading::between(since(sent), since(answered), server);
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        *readings = readings.with(reading, since(answered));
    }

    /// The server's time, since the Unix epoch.
    pub(super) fn now(&self) -> Duration {
        let best = self.readings.lock().unwrap_or_else(PoisonError::into_inner).best();
        let now = micros(self.origin.elapsed()).saturating_add(best.offset);
        Duration::from_micros(u64::try_from(now).unwrap_or_default())
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: i64 = 1_000_000_000;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A reading at `ms` of a clock that is ahead by [`SERVER`] and `off`, with network delays of `there` and `back`
    /// milliseconds.
    fn reading(ms: u64, there: u64, back: u64, off: i64) -> Reading {
        let server = SERVER + off + micros(at(ms + there));
        Reading::between(at(ms), at(ms + there + back), server)
    }

    #[test]
    fn the_quickest_reading_counts() {
        let readings = Readings::begin(at(0), reading(0, 20, 40, 0));
        assert_eq!(
            readings.best(),
            Reading {
                offset: SERVER - 10_000,
                error: 30_000
            }
        );
        let readings = readings.with(reading(1_000, 1, 1, 0), at(1_002));
        assert_eq!(
            readings.best(),
            Reading {
                offset: SERVER,
                error: 1_000
            }
        );
        let readings = readings.with(reading(2_000, 9, 1, 0), at(2_010));
        assert_eq!(readings.best().offset, SERVER);
    }

    #[test]
    fn a_reading_is_forgotten_in_the_second_span_after_it() {
        let mut readings = Readings::begin(at(0), reading(0, 0, 0, 0));
        for second in 1..60 {
            readings = readings.with(reading(second * 1_000, 2, 2, 0), at(second * 1_000));
            assert_eq!(readings.best().error, 0, "second {second}");
        }
        readings = readings.with(reading(60_000, 2, 2, 0), at(60_000));
        assert_eq!(readings.best().error, 2_000);
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let readings = Readings::begin(at(0), reading(0, 0, 0, 0));
        let drifted = readings.with(reading(1_000, 1, 1, 4_000), at(1_002));
        assert_eq!(drifted.best().offset, SERVER, "it may be drift");
        let set = readings.with(reading(1_000, 1, 1, -9_000), at(1_002));
        assert_eq!(set.best().offset, SERVER - 9_000);
    }
}
