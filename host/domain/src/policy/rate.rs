//! Rate limiting: pacing by the generic cell rate algorithm, as one moment of state for each bucket, and the departures
//! in it.
//!
//! Turns are spaced evenly: a burst would spend the next span's share. But a request may be sent later than its turn,
//! when the machine is busy or a connection is slow, and then more of them are sent within a span than had their turns
//! in it. So a second check follows at the last moment, on the requests that were actually sent: [`Departures`].

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The pace of one bucket. Moments are durations since an origin that the caller chooses and keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    next: Duration,
    held: Duration,
}

impl Pace {
    /// Takes the next turn and returns its time, at `now` or later. `None` if that is more than `patience` ahead; the
    /// turn is then not taken.
    pub fn take(&mut self, permits: u32, per: Duration, now: Duration, patience: Duration) -> Option<Duration> {
        let turn = self.next.max(now);
        if turn.saturating_sub(now) > patience {
            return None;
        }
        self.next = turn + spacing(permits, per);
        Some(turn)
    }

    /// The number of turns left until `until`.
    pub fn room(&self, permits: u32, per: Duration, now: Duration, until: Duration) -> u32 {
        let spacing = spacing(permits, per).as_nanos().max(1);
        let Some(left) = until.checked_sub(self.next.max(now)) else {
            return 0;
        };
        u32::try_from(left.as_nanos() / spacing)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// No request is sent before `until`: the platform requested a pause.
    pub fn hold(&mut self, until: Duration) {
        self.next = self.next.max(until);
        self.held = self.held.max(until);
    }

    /// Whether `turn`, which was taken before, is so long ago that a request sent in it now would exceed the rule
    /// together with those whose turn it is: by more than the spacing's margin over a span.
    pub fn is_missed(turn: Duration, permits: u32, per: Duration, now: Duration) -> bool {
        let spare = (spacing(permits, per) * permits.max(1)).saturating_sub(per);
        now > turn + spare
    }

    /// Releases a turn that was not used, if none was taken after it.
    pub fn give_back(&mut self, turn: Duration, permits: u32, per: Duration) {
        if self.next == turn + spacing(permits, per) {
            self.next = turn;
        }
    }

    /// Whether `turn`, which was taken before, is in a pause that the platform requested since: it must be taken again.
    pub fn is_void(&self, turn: Duration) -> bool {
        turn < self.held
    }

    /// The end of the last pause that the platform requested; nothing is sent before.
    pub fn held(&self) -> Duration {
        self.held
    }
}

/// The recent departures of one bucket, and the requests being sent, each counted at its latest possible arrival. Any
/// span that is one percent longer than the rule's has at most the rule's permits.
///
/// The exact arrival of a request is unknown: it is after the write, and before the response by at least the duration
/// of the fastest response. So whatever delays a request in transit, a network or an overloaded platform, the platform
/// never receives one too many; if all take equally long, this costs no throughput.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departures {
    /// In the order of admission.
    lately: VecDeque<Departed>,
    /// When the last one was admitted.
    last: Option<Duration>,
    next: u64,
    #[serde(skip)]
    quickest: Quickest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Departed {
    number: u64,
    at: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Moment {
    /// It is being written.
    Leaving,
    /// It was written then, and has no response.
    Written(Duration),
    /// It arrived no later than this.
    Arrived(Duration),
}

impl Moment {
    /// The latest arrival of a request, if a response takes at least `quickest`. A request without a response is given
    /// one span of its rule: hanging requests must not block all others until their timeout.
    fn arrived_by(self, per: Duration, now: Duration, quickest: Duration) -> Duration {
        match self {
            Self::Leaving => now,
            Self::Written(at) => now.saturating_sub(quickest).clamp(at, at + per),
            Self::Arrived(by) => by,
        }
    }
}

/// Departures stored of one bucket. A rule with more permits is split into as many parts of its span.
const REMEMBERED: u32 = 4_096;

impl Departures {
    /// When the next request may be sent: `now`, or later. Must be checked again then, since other requests compete.
    pub fn free_at(&self, permits: u32, per: Duration, now: Duration) -> Duration {
        let apart = self.last.map_or(now, |last| now.max(last + apart(permits, per)));
        let (permits, span) = remembered(permits, per);
        if self.lately.len() < permits {
            return apart;
        }
        let quickest = self.quickest.get();
        let past_at = |departed: &Departed| departed.at.arrived_by(per, now, quickest) + span;
        let mut past_at: Vec<Duration> = self.lately.iter().map(past_at).collect();
        let nth = past_at.len() - permits;
        // Once this one is past, fewer than the permits remain.
        let (_, at, _) = past_at.select_nth_unstable(nth);
        (*at).max(apart)
    }

    /// Admits a request that may be sent at `now`. Returns its number, for the methods below.
    pub fn leave(&mut self, permits: u32, per: Duration, now: Duration) -> u64 {
        let (permits, span) = remembered(permits, per);
        let is_past = |at: Moment| matches!(at, Moment::Arrived(at) if at + span <= now);
        if self.lately.len() >= permits {
            self.lately.retain(|departed| !is_past(departed.at));
        }
        self.last = Some(now);
        self.next += 1;
        self.lately.push_back(Departed {
            number: self.next,
            at: Moment::Leaving,
        });
        self.next
    }

    /// A request was written.
    pub fn left(&mut self, number: u64, now: Duration) {
        if let Some(departed) = self.find(number) {
            departed.at = Moment::Written(now);
        }
    }

    /// The response to a request has begun. Returns the request's latest arrival; `None` if its departure is no longer
    /// stored.
    pub fn answered(&mut self, number: u64, per: Duration, now: Duration) -> Option<Duration> {
        if let Some(Moment::Written(at)) = self.find(number).map(|departed| departed.at) {
            self.quickest.add(now.saturating_sub(at));
        }
        self.end_by(number, per, now, self.quickest.get())
    }

    /// A request will have no response, or will not be sent. Returns its latest arrival, as above.
    pub fn end(&mut self, number: u64, per: Duration, now: Duration) -> Option<Duration> {
        self.end_by(number, per, now, Duration::ZERO)
    }

    /// A request arrived no later than `by`, as another host that counts it reports.
    pub fn arrived(&mut self, number: u64, by: Duration) {
        if let Some(departed) = self.find(number) {
            departed.at = Moment::Arrived(by);
        }
    }

    fn end_by(&mut self, number: u64, per: Duration, now: Duration, quickest: Duration) -> Option<Duration> {
        let departed = self.find(number)?;
        let by = departed.at.arrived_by(per, now, quickest);
        departed.at = Moment::Arrived(by);
        Some(by)
    }

    fn find(&mut self, number: u64) -> Option<&mut Departed> {
        // Usually one of the last.
        self.lately.iter_mut().rev().find(|one| one.number == number)
    }
}

/// The shortest recent time from a request to its response: since the start of the previous block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Quickest {
    before: Option<Duration>,
    now: Option<Duration>,
    seen: u32,
}

/// Responses in a block: some minutes at ten per second, so that one fast response is used long, but not forever if the
/// platform becomes slower.
const BLOCK: u32 = 1_024;

impl Quickest {
    fn add(&mut self, took: Duration) {
        if self.seen == BLOCK {
            *self = Self {
                before: self.now,
                ..Self::default()
            };
        }
        self.seen += 1;
        self.now = Some(self.now.map_or(took, |now| now.min(took)));
    }

    /// Zero before the first.
    fn get(self) -> Duration {
        self.before.into_iter().chain(self.now).min().unwrap_or_default()
    }
}

/// How many departures a rule compares, and the span that those and one more must exceed: one percent longer than the
/// rule's, for what the fastest response does not show about the network.
fn remembered(permits: u32, per: Duration) -> (usize, Duration) {
    let permits = permits.max(1);
    let kept = permits / permits.div_ceil(REMEMBERED);
    let even = per / permits;
    (usize::try_from(kept).unwrap_or(usize::MAX), (even + even / 100) * kept)
}

/// The interval between two turns. One and a half percent longer than the rule's: half a percent more than the check of
/// departures, so that slightly slower responses delay nothing.
fn spacing(permits: u32, per: Duration) -> Duration {
    let even = per / permits.max(1);
    even + even * 3 / 200
}

/// The minimum interval between two departures: half of that between two turns. Delayed requests may catch up, and
/// still arrive in the order in which they were sent. Zero if it is below the timers' resolution.
fn apart(permits: u32, per: Duration) -> Duration {
    const FINEST: Duration = Duration::from_millis(2);
    Some(spacing(permits, per) / 2)
        .filter(|apart| *apart >= FINEST)
        .unwrap_or_default()
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

    /// The next step of a request in transit, and its time.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Act {
        Asks(usize),
        Writes(usize, u64),
        IsWritten(usize, u64),
        Ends(usize, u64),
    }

    /// The delays of a request: before it asks, between admission and the write, from there until the write is known,
    /// in transit to the platform, and on the way back.
    type Late = (u64, u64, u64, u64, Option<u64>);

    /// The times at which the platform receives requests, each with its own delays; in microseconds. Each way takes at
    /// least `least`, and the first request, which precedes these, takes no longer.
    fn arrivals(permits: u32, least: u64, late: &[Late]) -> Vec<u64> {
        let micros = |at: u64| Duration::from_micros(at);
        let mut departures = Departures::default();
        let first = departures.leave(permits, SECOND, micros(0));
        departures.left(first, micros(0));
        departures.answered(first, SECOND, micros(2 * least));
        let mut acts = BTreeSet::new();
        let mut arrived = vec![least];
        for (n, (asks, ..)) in late.iter().enumerate() {
            acts.insert((2 * least + asks, Act::Asks(n)));
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
                    let (.., known, there, back) = late[n];
                    let there = now + least + there;
                    arrived.push(there);
                    acts.insert((now + known, Act::IsWritten(n, number)));
                    let ends = there + back.map_or(0, |back| least + back);
                    acts.insert((ends.max(now + known), Act::Ends(n, number)));
                }
                Act::IsWritten(_, number) => departures.left(number, micros(now)),
                Act::Ends(n, number) => {
                    match late[n].4 {
                        None => departures.end(number, SECOND, micros(now)),
                        Some(_) => departures.answered(number, SECOND, micros(now)),
                    };
                }
            }
        }
        arrived.sort_unstable();
        arrived
    }

    #[test]
    fn departures_are_counted_when_they_arrived_at_the_latest() {
        let at = Duration::from_millis;
        let mut departures = Departures::default();
        let first = departures.leave(2, SECOND, at(0));
        let second = departures.leave(2, SECOND, at(100));
        // A request being sent may be sent now.
        assert_eq!(departures.free_at(2, SECOND, at(5_000)), at(6_010));
        departures.left(second, at(5_000));
        departures.left(first, at(5_001));
        // A request in transit may arrive now.
        assert_eq!(departures.free_at(2, SECOND, at(5_200)), at(6_210));
        departures.answered(first, SECOND, at(5_201));
        departures.answered(second, SECOND, at(5_300));
        // The first, the fastest yet, took 200 ms; the second may have arrived 100 ms after it was written.
        assert_eq!(departures.free_at(2, SECOND, at(5_301)), at(6_011));
        assert_eq!(departures.free_at(1, SECOND, at(5_301)), at(6_110));
        assert_eq!(departures.free_at(2, SECOND, at(6_011)), at(6_011));
        departures.leave(2, SECOND, at(6_011));
        assert_eq!(departures.lately.len(), 2, "what is past is forgotten");
    }

    #[test]
    fn what_catches_up_leaves_half_a_turn_apart() {
        let at = Duration::from_millis;
        let mut departures = Departures::default();
        departures.leave(10, SECOND, at(1_000));
        assert_eq!(
            departures.free_at(10, SECOND, at(1_000)),
            Duration::from_micros(1_050_750)
        );
        assert_eq!(departures.free_at(10, SECOND, at(1_060)), at(1_060));
        assert_eq!(apart(1_000, SECOND), Duration::ZERO, "finer than timers are");
    }

    #[test]
    fn a_request_without_a_response_is_counted_for_a_span_more() {
        let at = Duration::from_millis;
        let mut departures = Departures::default();
        let hangs = departures.leave(1, SECOND, at(0));
        departures.left(hangs, at(0));
        assert_eq!(departures.free_at(1, SECOND, at(500)), at(1_510));
        assert_eq!(departures.free_at(1, SECOND, at(1_510)), at(2_010));
        assert_eq!(departures.free_at(1, SECOND, at(2_010)), at(2_010));
        departures.end(hangs, SECOND, at(60_000));
        assert_eq!(departures.free_at(1, SECOND, at(60_000)), at(60_000));
    }

    #[test]
    fn quickest_response_expires_after_two_blocks() {
        let mut quickest = Quickest::default();
        quickest.add(Duration::from_millis(5));
        for _ in 0..2 * BLOCK - 1 {
            quickest.add(Duration::from_millis(50));
            assert_eq!(quickest.get(), Duration::from_millis(5));
        }
        quickest.add(Duration::from_millis(50));
        assert_eq!(quickest.get(), Duration::from_millis(50));
    }

    #[test]
    fn a_rule_with_many_permits_remembers_a_bounded_number() {
        for permits in [1, 10, 4_096, 4_097, 100_000, u32::MAX] {
            let (kept, span) = remembered(permits, SECOND);
            assert!((1..=REMEMBERED as usize).contains(&kept), "{permits}");
            // That many consecutive spans contain at most the permits within the rule's own.
            let spans = u32::try_from(permits as usize / kept).expect("fewer than the permits");
            assert!(permits > 1_000_000 || span * spans >= SECOND, "{permits}");
        }
    }

    proptest! {
        #[test]
        fn the_platform_never_sees_one_too_many_however_late_each_is(
            permits in 1u32..20,
            least in 0u64..400_000,
            late in proptest::collection::vec((
                0u64..3_000_000,
                0u64..400_000,
                0u64..50_000,
                0u64..1_000_000,
                proptest::option::of(0u64..1_000_000),
            ), 1..120),
        ) {
            let arrived = arrivals(permits, least, &late);
            prop_assert_eq!(arrived.len(), late.len() + 1);
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
