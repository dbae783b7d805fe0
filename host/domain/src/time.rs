//! Moments in whole milliseconds: the finest unit that platforms report, and the one that the API prints.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: milliseconds since the Unix epoch, UTC. Printed and parsed as RFC 3339 with three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a time like 2026-03-02T10:00:00.000Z")]
pub struct NotATime(String);

impl Timestamp {
    /// The last moment that the calendar library can print; later ones are clamped to it, so that a number from outside
    /// can never be a moment that cannot be printed.
    pub const MAX: Self = Self(253_402_128_000_000);

    /// 2015-01-01: an earlier time of a message is a mistake of a platform or a connector, most often seconds read as
    /// milliseconds.
    pub const EARLIEST: Self = Self(1_420_070_400_000);

    /// From milliseconds since the epoch, clamped between the epoch and [`Self::MAX`].
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(0, Self::MAX.0))
    }

    /// From a platform's or a guest's number; clamped like [`Self::from_millis`].
    pub fn from_unsigned_millis(ms: u64) -> Self {
        Self::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This much later, at most [`Self::MAX`].
    pub fn after(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(span)))
    }

    /// This much earlier, at least the epoch.
    pub fn before(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(span)))
    }

    /// The plausible time of something that a platform dates so and that was received at `received_at`: a time before
    /// [`Self::EARLIEST`], or later than the receipt by more than `tolerance`, is replaced by the time of receipt. So a
    /// wrong unit cannot put a conversation before all others forever.
    #[must_use]
    pub fn plausible(self, received_at: Self, tolerance: Duration) -> Self {
        if self < Self::EARLIEST || self > received_at.after(tolerance) {
            received_at
        } else {
            self
        }
    }

    /// How long ago `earlier` was; zero if it is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{moment:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        text.parse::<jiff::Timestamp>()
            .map(|moment| Self::from_millis(moment.as_millisecond()))
            .map_err(|_| NotATime(text.chars().take(64).collect()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::DateTime,
            )))
            .description(Some("RFC 3339, UTC, with milliseconds"))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_with_milliseconds_and_reads_back() {
        let moment = Timestamp::from_millis(1_735_689_600_123);
        assert_eq!(moment.to_string(), "2025-01-01T00:00:00.123Z");
        assert_eq!("2025-01-01T00:00:00.123Z".parse(), Ok(moment));
        assert_eq!("2025-01-01T01:00:00.123+01:00".parse(), Ok(moment));
    }

    #[test]
    fn a_wrong_unit_gives_way_to_the_receipt() {
        let received = Timestamp::from_millis(1_735_689_600_123);
        let tolerance = Duration::from_secs(300);
        // Seconds read as milliseconds, and milliseconds read as seconds.
        for wrong in [0, 1_735_689_600, 1_735_689_600_123_000, u64::MAX] {
            assert_eq!(
                Timestamp::from_unsigned_millis(wrong).plausible(received, tolerance),
                received
            );
        }
        for right in [received, received.after(tolerance), Timestamp::EARLIEST] {
            assert_eq!(right.plausible(received, tolerance), right);
        }
        assert_eq!(
            received
                .after(tolerance + Duration::from_millis(1))
                .plausible(received, tolerance),
            received
        );
    }

    proptest::proptest! {
        #[test]
        fn a_plausible_time_is_in_its_span(ms in proptest::prelude::any::<u64>(), now in 1_420_070_400_000..4_000_000_000_000_i64, tolerance in 0..3_600_000_u64) {
            let (now, tolerance) = (Timestamp::from_millis(now), Duration::from_millis(tolerance));
            let platform_time = Timestamp::from_unsigned_millis(ms);
            let kept = platform_time.plausible(now, tolerance);
            proptest::prop_assert!(kept >= Timestamp::EARLIEST && kept <= now.after(tolerance));
            proptest::prop_assert!(kept == platform_time || kept == now);
            proptest::prop_assert_eq!(kept.plausible(now, tolerance), kept);
        }
    }

    #[test]
    fn a_number_from_outside_is_always_a_moment_that_prints() {
        assert_eq!(
            Timestamp::from_unsigned_millis(u64::MAX).to_string(),
            "9999-12-30T00:00:00.000Z"
        );
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
