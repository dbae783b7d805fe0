//! Rates, paced: the generic cell rate algorithm, as one moment of state for each bucket.
//!
//! Requests are spaced evenly, so that no sliding span ever holds more than the permits of the rule: a burst would spend
//! the next span's share.

use std::time::Duration;

/// The pace of one bucket. Moments are durations since an origin that the caller chooses and keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    next: Duration,
    held: Duration,
}

impl Pace {
    /// Takes the next turn: when the request may leave, at `now` or later. None if that is further away than `patience`; the
    /// turn is then not taken.
    pub fn take(&mut self, permits: u32, per: Duration, now: Duration, patience: Duration) -> Option<Duration> {
        let turn = self.next.max(now);
        if turn.saturating_sub(now) > patience {
            return None;
        }
        self.next = turn + spacing(permits, per);
        Some(turn)
    }

    /// How many turns are left up to `until`.
    pub fn room(&self, permits: u32, per: Duration, now: Duration, until: Duration) -> u32 {
        let spacing = spacing(permits, per).as_nanos().max(1);
        let Some(left) = until.checked_sub(self.next.max(now)) else {
            return 0;
        };
        u32::try_from(left.as_nanos() / spacing)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// Nothing leaves before `until`: the platform asked for a pause.
    pub fn hold(&mut self, until: Duration) {
        self.next = self.next.max(until);
        self.held = self.held.max(until);
    }

    /// Whether `turn`, which was taken before, went by so long ago that a request which left in it now would be one too many
    /// beside those whose turn it is: by more than the turns of a span are further apart than the rule asks for.
    pub fn is_missed(turn: Duration, permits: u32, per: Duration, now: Duration) -> bool {
        let spare = (spacing(permits, per) * permits.max(1)).saturating_sub(per);
        now > turn + spare
    }

    /// Gives a turn back that was not used, if none was taken after it.
    pub fn give_back(&mut self, turn: Duration, permits: u32, per: Duration) {
        if self.next == turn + spacing(permits, per) {
            self.next = turn;
        }
    }

    /// Whether `turn`, which was taken before, fell into a pause that the platform asked for since: it must be taken anew.
    pub fn is_void(&self, turn: Duration) -> bool {
        turn < self.held
    }
}

/// The span between two requests. One and a half percent wider than the rule's, since the platform counts arrivals, and the
/// way there is not always equally long.
fn spacing(permits: u32, per: Duration) -> Duration {
    let even = per / permits.max(1);
    even + even * 3 / 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_turn_too_far_away_is_not_taken() {
        let mut pace = Pace::default();
        assert_eq!(pace.take(1, SECOND, SECOND, Duration::ZERO), Some(SECOND));
        assert_eq!(pace.take(1, SECOND, SECOND, Duration::from_millis(500)), None);
        assert_eq!(
            pace.take(1, SECOND, SECOND, 2 * SECOND),
            Some(SECOND + Duration::from_millis(1_015))
        );
    }

    #[test]
    fn there_is_room_for_the_turns_up_to_a_moment() {
        let mut pace = Pace::default();
        assert_eq!(pace.room(10, SECOND, SECOND, SECOND), 1, "now is a turn");
        assert_eq!(pace.room(10, SECOND, SECOND, 2 * SECOND), 10);
        for _ in 0..10 {
            pace.take(10, SECOND, SECOND, SECOND);
        }
        assert_eq!(pace.room(10, SECOND, SECOND, 2 * SECOND), 0, "all are taken");
        assert_eq!(pace.room(u32::MAX, SECOND, SECOND, 2 * SECOND), 0);
        assert_eq!(Pace::default().room(u32::MAX, SECOND, SECOND, 100 * SECOND), u32::MAX);
    }

    #[test]
    fn a_turn_is_missed_when_the_spare_time_of_its_span_is_over() {
        let is_missed = |late| Pace::is_missed(SECOND, 10, SECOND, SECOND + Duration::from_millis(late));
        assert!(!is_missed(0) && !is_missed(15));
        assert!(is_missed(16));
    }

    #[test]
    fn a_turn_is_given_back_as_long_as_it_is_the_last() {
        let mut pace = Pace::default();
        let one = pace.take(10, SECOND, SECOND, SECOND).expect("it is free");
        let before = pace;
        let other = pace.take(10, SECOND, SECOND, SECOND).expect("it is near");
        let both = pace;
        pace.give_back(one, 10, SECOND);
        assert_eq!(pace, both, "another was taken after it");
        pace.give_back(other, 10, SECOND);
        assert_eq!(pace, before);
    }

    #[test]
    fn a_turn_within_a_pause_is_void_and_one_at_its_end_is_not() {
        let mut pace = Pace::default();
        let turn = pace.take(10, SECOND, SECOND, SECOND).expect("it is free");
        assert!(!pace.is_void(turn));
        pace.hold(2 * SECOND);
        assert!(pace.is_void(turn));
        let anew = pace.take(10, SECOND, SECOND, SECOND).expect("it is near");
        assert!(anew == 2 * SECOND && !pace.is_void(anew));
    }

    proptest! {
        #[test]
        fn no_sliding_span_holds_more_than_the_permits(permits in 1u32..50, waits in proptest::collection::vec(0u64..400, 1..200)) {
            let mut pace = Pace::default();
            let mut now = Duration::ZERO;
            let mut turns = Vec::new();
            for wait in waits {
                now += Duration::from_millis(wait);
                turns.extend(pace.take(permits, SECOND, now, Duration::MAX));
            }
            for (i, first) in turns.iter().enumerate() {
                let in_span = turns[i..].iter().take_while(|turn| **turn < *first + SECOND).count();
                prop_assert!(in_span <= permits as usize);
            }
        }
    }
}
