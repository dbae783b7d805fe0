//! Rates, paced: turns by the generic cell rate algorithm, as one moment of state for each bucket, and what left in them.
//!
//! Turns are spaced evenly: a burst would spend the next span's share. But a request may leave later than its turn, when the
//! machine is busy or a connection takes its time, and then more of them leave within a span than had their turns in it. So what
//! counts is asked once more at the last moment, of the requests that did leave: [`Departures`].

use std::collections::VecDeque;
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

    /// Until when nothing leaves: the end of the last pause that the platform asked for.
    pub fn held(&self) -> Duration {
        self.held
    }
}

/// What left of one bucket lately, and what is leaving. Never are there more than a rule's permits in any span that is longer than
/// the rule's by the spare: whatever delays a request between here and the platform by no more than the spare, the platform never
/// sees one too many.
#[derive(Clone, Debug, Default)]
pub struct Departures {
    /// In the order in which they were let go.
    lately: VecDeque<Departed>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Departed {
    number: u64,
    /// When it left at the latest; none while it is leaving.
    at: Option<Duration>,
}

/// Departures that are remembered of one bucket. A rule with more permits is kept by as many parts of its span.
const REMEMBERED: u32 = 4_096;

impl Departures {
    /// When the next request may leave: `now`, or later. To be asked again then, since others ask too.
    pub fn free_at(&self, permits: u32, per: Duration, now: Duration) -> Duration {
        let (permits, span) = remembered(permits, per);
        if self.lately.len() < permits {
            return now;
        }
        // One that is leaving may do so as late as now.
        let past_at = |departed: &Departed| departed.at.unwrap_or(now) + span;
        let mut past_at: Vec<Duration> = self.lately.iter().map(past_at).collect();
        let nth = past_at.len() - permits;
        // With this one past, fewer than the permits are not.
        let (_, at, _) = past_at.select_nth_unstable(nth);
        (*at).max(now)
    }

    /// Lets a request go that is free to at `now`. Its number, for [`Departures::left`].
    pub fn leave(&mut self, permits: u32, per: Duration, now: Duration) -> u64 {
        let (permits, span) = remembered(permits, per);
        let is_past = |departed: &Departed| departed.at.is_some_and(|at| at + span <= now);
        if self.lately.len() >= permits {
            self.lately.retain(|departed| !is_past(departed));
        }
        self.next += 1;
        self.lately.push_back(Departed {
            number: self.next,
            at: None,
        });
        self.next
    }

    /// A request left, or will not any more.
    pub fn left(&mut self, number: u64, now: Duration) {
        // Most often one of the last.
        if let Some(departed) = self.lately.iter_mut().rev().find(|one| one.number == number) {
            departed.at = Some(now);
        }
    }
}

/// How many departures a rule is judged by, and the span that those and one more must be longer than.
fn remembered(permits: u32, per: Duration) -> (usize, Duration) {
    let permits = permits.max(1);
    let kept = permits / permits.div_ceil(REMEMBERED);
    (
        usize::try_from(kept).unwrap_or(usize::MAX),
        spacing(permits, per) * kept,
    )
}

/// The span between two requests. One and a half percent wider than the rule's, since the platform counts arrivals, and the
/// way there is not always equally long.
fn spacing(permits: u32, per: Duration) -> Duration {
    let even = per / permits.max(1);
    even + even * 3 / 200
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    /// A request on its way: what it does next, and when.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Act {
        Asks(usize),
        Writes(usize, u64),
        IsWritten(usize, u64),
    }

    /// What delays a request: until it asks, between the yes and the write, and from there to the platform.
    type Late = (u64, u64, u64, u64);

    /// The moments at which the platform sees requests, each late in its own way; in microseconds.
    fn arrivals(permits: u32, late: &[Late]) -> Vec<u64> {
        let micros = |at: u64| Duration::from_micros(at);
        let spare = (spacing(permits, SECOND) * permits - SECOND).as_micros() as u64;
        let mut departures = Departures::default();
        let mut acts = BTreeSet::new();
        let mut arrived = Vec::new();
        for (n, (asks, ..)) in late.iter().enumerate() {
            acts.insert((*asks, Act::Asks(n)));
        }
        while let Some((now, act)) = acts.pop_first() {
            match act {
                Act::Asks(n) => {
                    let free = departures.free_at(permits, SECOND, micros(now)).as_micros() as u64;
                    if free > now {
                        acts.insert((free, Act::Asks(n)));
                    } else {
                        let number = departures.leave(permits, SECOND, micros(now));
                        acts.insert((now + late[n].1, Act::Writes(n, number)));
                    }
                }
                Act::Writes(n, number) => {
                    arrived.push(now + late[n].3 % (spare + 1));
                    acts.insert((now + late[n].2, Act::IsWritten(n, number)));
                }
                Act::IsWritten(_, number) => departures.left(number, micros(now)),
            }
        }
        arrived.sort_unstable();
        arrived
    }

    #[test]
    fn departures_are_counted_when_they_left() {
        let at = Duration::from_millis;
        let mut departures = Departures::default();
        let first = departures.leave(2, SECOND, at(0));
        let second = departures.leave(2, SECOND, at(100));
        // What is leaving may do so now.
        assert_eq!(departures.free_at(2, SECOND, at(5_000)), at(6_015));
        departures.left(second, at(5_000));
        assert_eq!(departures.free_at(2, SECOND, at(5_001)), at(6_015));
        departures.left(first, at(5_001));
        assert_eq!(departures.free_at(2, SECOND, at(6_014)), at(6_015));
        assert_eq!(departures.free_at(2, SECOND, at(6_015)), at(6_015));
        departures.leave(2, SECOND, at(6_015));
        assert_eq!(departures.lately.len(), 2, "what is past is forgotten");
    }

    #[test]
    fn a_rule_with_many_permits_remembers_a_bounded_number() {
        for permits in [1, 10, 4_096, 4_097, 100_000, u32::MAX] {
            let (kept, span) = remembered(permits, SECOND);
            assert!((1..=REMEMBERED as usize).contains(&kept), "{permits}");
            // So many spans in a row hold no more than the permits within the rule's own.
            let spans = u32::try_from(permits as usize / kept).expect("fewer than the permits");
            assert!(permits > 1_000_000 || span * spans >= SECOND, "{permits}");
        }
    }

    proptest! {
        #[test]
        fn the_platform_never_sees_one_too_many_however_late_each_is(
            permits in 1u32..20,
            late in proptest::collection::vec((0u64..3_000_000, 0u64..400_000, 0u64..50_000, 0u64..1_000_000), 1..120),
        ) {
            let arrived = arrivals(permits, &late);
            prop_assert_eq!(arrived.len(), late.len());
            for (first, last) in arrived.iter().zip(arrived.iter().skip(permits as usize)) {
                prop_assert!(last - first >= 1_000_000, "{} within {} us", permits + 1, last - first);
            }
        }

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
