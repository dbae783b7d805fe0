//! The offset of a platform's clock from the host's, as estimated from the platform's signatures and the `Date` of its
//! responses.
//!
//! A platform's times (when a contact wrote, up to where they read, when it signed) are stored unchanged. Wherever one
//! of them is compared with the host's clock, the comparison uses a [`ClockOffset`].

use std::time::Duration;

use crate::time::Timestamp;

/// Beyond this the host is degraded: platforms tolerate some minutes in a signature, and no working time service leaves
/// half a minute.
pub const DEGRADED: Duration = Duration::from_secs(30);

/// The assumed largest unnoticed difference of two clocks, where a platform signs no time: what signing platforms
/// commonly tolerate.
pub const MARGIN: Duration = Duration::from_secs(300);

/// The precision of a platform's times against the estimate: some platforms send whole seconds, and an estimate has a
/// width of a second or two.
pub const PRECISION: Duration = Duration::from_secs(5);

/// The largest offset that is used. A clock that is off by a day is broken, and must not keep a window open.
const LARGEST_MS: i64 = 24 * 3_600 * 1_000;

/// The rate of the clock by which ages are counted: it follows the host's forward at most this many times as fast as
/// time passes. A clock that jumps ahead by mistake must not expire everything at once; real age is caught up at a day
/// per hour.
const AGING_RATE: u32 = 24;

/// The clock by which ages are counted: it showed `stood` this much time ago, and the host's shows `now`.
pub fn aging(stood: Timestamp, passed: Duration, now: Timestamp) -> Timestamp {
    now.min(stood.after(passed.saturating_mul(AGING_RATE)))
}

/// A platform's clock minus the host's. Zero if it is unknown, and if the samples permit zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockOffset(i64);

impl ClockOffset {
    /// This many milliseconds, at most a day either way; positive if the platform's clock is ahead.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(-LARGEST_MS, LARGEST_MS))
    }

    /// In milliseconds; positive if the platform's clock is ahead.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The platform's time when the host's is `ours`.
    pub fn platform(self, ours: Timestamp) -> Timestamp {
        Timestamp::from_millis(ours.as_millis().saturating_add(self.0))
    }

    /// The host's time when the platform's is `platform`.
    pub fn ours(self, platform: Timestamp) -> Timestamp {
        Timestamp::from_millis(platform.as_millis().saturating_sub(self.0))
    }

    /// Whether the two clocks differ by more than a correctly operated host allows.
    pub fn is_degraded(self) -> bool {
        self.0.unsigned_abs() > u64::try_from(DEGRADED.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The evidence of one exchange with a platform: the offset is between these, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    at_least: i64,
    at_most: Option<i64>,
}

/// Platforms send whole seconds: the moment may be anywhere in that second.
const SECOND_MS: i64 = 1_000;

impl ClockSample {
    /// The platform signed at `signed_at`, and the host received it at `received_at`, after any delay.
    pub fn signed(signed_at: Timestamp, received_at: Timestamp) -> Self {
        Self {
            at_least: signed_at.as_millis() - received_at.as_millis(),
            at_most: None,
        }
    }

    /// The platform dated its response `date` (RFC 9110, 6.6.1), to a request sent at `sent_at` whose response arrived
    /// at `received_at`. `None` if the date is invalid, or the host's clock was set meanwhile.
    pub fn answered(date: &str, sent_at: Timestamp, received_at: Timestamp) -> Option<Self> {
        let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_millisecond();
        (sent_at <= received_at).then(|| Self {
            at_least: date - received_at.as_millis(),
            at_most: Some(date + SECOND_MS - sent_at.as_millis()),
        })
    }
}

/// The estimate of one platform's clock. Each sample narrows it; a contradicting sample, as after either clock was set,
/// restarts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformClock {
    at_least: Option<i64>,
    at_most: Option<i64>,
}

impl PlatformClock {
    /// From a stored offset: used until a sample contradicts it.
    pub fn noted(offset: ClockOffset) -> Self {
        Self {
            at_least: Some(offset.0 - SECOND_MS / 2),
            at_most: Some(offset.0 + SECOND_MS / 2),
        }
    }

    /// Adds a sample.
    pub fn observe(&mut self, sample: ClockSample) {
        let contradicted = self.at_most.is_some_and(|most| sample.at_least > most)
            || matches!((sample.at_most, self.at_least), (Some(most), Some(least)) if most < least);
        let known = if contradicted { Self::default() } else { *self };
        self.at_least = Some(
            known
                .at_least
                .map_or(sample.at_least, |least| least.max(sample.at_least)),
        );
        self.at_most = match (known.at_most, sample.at_most) {
            (Some(known), Some(sample)) => Some(known.min(sample)),
            (known, sample) => known.or(sample),
        };
    }

    /// Whether it is known within [`PRECISION`].
    pub fn is_known(self) -> bool {
        let precision = i64::try_from(PRECISION.as_millis()).unwrap_or(i64::MAX);
        matches!((self.at_least, self.at_most), (Some(least), Some(most)) if most - least <= precision)
    }

    /// The host's clock was set by this many milliseconds, forward if positive.
    pub fn ours_was_set(&mut self, by_ms: i64) {
        self.at_least = self.at_least.map(|least| least.saturating_sub(by_ms));
        self.at_most = self.at_most.map(|most| most.saturating_sub(by_ms));
    }

    /// The offset for comparing times: the middle of the possible range, and zero while zero is possible, so that equal
    /// clocks are not treated as different because of coarse samples.
    pub fn offset(self) -> ClockOffset {
        match (self.at_least, self.at_most) {
            (Some(least), _) if least > 0 => {
                let most = self.at_most.unwrap_or(least);
                ClockOffset::from_millis(least.midpoint(most))
            }
            (least, Some(most)) if most < 0 => {
                let least = least.unwrap_or(most);
                ClockOffset::from_millis(least.midpoint(most))
            }
            _ => ClockOffset::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(NOW + ms)
    }

    /// A response dated by a clock with this `offset`, with network delays of `out` and `back` milliseconds.
    fn answered(sent: i64, offset: i64, out: i64, back: i64) -> ClockSample {
        let made = NOW + sent + out + offset;
        let date = jiff::Timestamp::from_second(made.div_euclid(1_000)).expect("a time");
        let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).expect("a date");
        ClockSample::answered(&date, at(sent), at(sent + out + back)).expect("a sample")
    }

    #[test]
    fn dates_of_answers_are_read() {
        let sample = ClockSample::answered("Fri, 15 Jan 2027 08:00:00 GMT", at(0), at(40));
        assert_eq!(
            sample,
            Some(ClockSample {
                at_least: -40,
                at_most: Some(1_000)
            })
        );
        assert_eq!(ClockSample::answered("soon", at(0), at(40)), None);
        let set_back = ClockSample::answered("Fri, 15 Jan 2027 08:00:00 GMT", at(40), at(0));
        assert_eq!(set_back, None, "the host's clock was set during the request");
    }

    #[test]
    fn clocks_that_may_agree_have_no_offset() {
        let mut clock = PlatformClock::default();
        assert_eq!(clock.offset(), ClockOffset::default());
        clock.observe(ClockSample::signed(at(-60_000), at(0)));
        assert_eq!(clock.offset(), ClockOffset::default(), "it was a minute on its way");
        assert!(!clock.is_known());
        clock.observe(answered(0, 0, 30, 30));
        assert!(clock.is_known());
        assert_eq!(clock.offset(), ClockOffset::default());
    }

    #[test]
    fn a_signature_from_the_future_shows_ours_behind() {
        let mut clock = PlatformClock::default();
        clock.observe(ClockSample::signed(at(8_000), at(0)));
        assert_eq!(clock.offset(), ClockOffset::from_millis(8_000));
        assert!(!clock.offset().is_degraded());
        clock.observe(ClockSample::signed(at(600_000), at(1_000)));
        assert!(clock.offset().is_degraded());
    }

    #[test]
    fn setting_our_clock_moves_the_offset() {
        let mut clock = PlatformClock::default();
        clock.observe(answered(0, 0, 30, 30));
        clock.ours_was_set(60_000);
        let offset = clock.offset().as_millis();
        assert!((-60_060..=-59_000).contains(&offset), "{offset}");
        // A person corrected the clock, which only the platform's times show.
        clock.observe(answered(5_000, 0, 30, 30));
        assert_eq!(clock.offset(), ClockOffset::default());
    }

    #[test]
    fn ages_follow_a_jump_of_the_clock_slowly() {
        let hour = Duration::from_secs(3_600);
        let day = 24 * hour;
        assert_eq!(aging(at(0), hour, at(3_600_000)), at(3_600_000), "time as it passes");
        assert_eq!(aging(at(0), hour, at(0).after(9_000 * day)), at(0).after(day));
        assert_eq!(
            aging(at(0), Duration::ZERO, at(0).after(day)),
            at(0),
            "at a start nothing is old yet"
        );
        assert_eq!(
            aging(at(0).after(day), hour, at(0)),
            at(0),
            "set back, it is followed at once"
        );
    }

    #[test]
    fn no_offset_exceeds_a_day() {
        let mut clock = PlatformClock::default();
        clock.observe(answered(0, -NOW, 10, 10));
        assert_eq!(clock.offset().as_millis(), -LARGEST_MS);
    }

    proptest! {
        /// For any network delays, the possible range contains the truth, and the estimate is within its width.
        #[test]
        fn estimates_stay_within_a_second(
            offset in -600_000_i64..600_000,
            answers in prop::collection::vec((0_i64..3_600_000, 0_i64..2_000, 0_i64..2_000), 1..20),
            signed in prop::collection::vec((0_i64..3_600_000, 0_i64..60_000), 0..10),
        ) {
            let mut clock = PlatformClock::default();
            for (sent, delay) in signed {
                let stamp = (NOW + sent + offset).div_euclid(1_000) * 1_000;
                clock.observe(ClockSample::signed(Timestamp::from_millis(stamp), at(sent + delay)));
            }
            let mut fastest = i64::MAX;
            for (sent, out, back) in answers {
                fastest = fastest.min(out + back);
                clock.observe(answered(sent, offset, out, back));
            }
            let least = clock.at_least.expect("an answer came");
            let most = clock.at_most.expect("an answer came");
            prop_assert!(least <= offset && offset <= most, "{least} {offset} {most}");
            prop_assert!(most - least <= fastest + SECOND_MS);
            let estimate = clock.offset().as_millis();
            prop_assert!((estimate - offset).abs() <= fastest + SECOND_MS, "{estimate} for {offset}");
        }

        #[test]
        fn conversions_are_inverse(ms in -90_000_000_i64..90_000_000, moment in 0_i64..4_000_000_000_000) {
            let offset = ClockOffset::from_millis(ms);
            let there = Timestamp::from_millis(moment + 100_000_000);
            prop_assert_eq!(offset.ours(offset.platform(there)), there);
        }
    }
}
