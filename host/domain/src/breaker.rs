//! The circuit breaker that quarantines a version of a connector after repeated crashes.

use std::collections::VecDeque;

use crate::limits;
use crate::time::Timestamp;

/// The recent crash times of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    crashed: VecDeque<Timestamp>,
}

impl Breaker {
    /// The version crashed at `now`. Returns whether it is to be quarantined: after [`limits::CRASHES`] crashes within
    /// [`limits::CRASH_SPAN`]. The count then starts again.
    #[must_use]
    pub fn crashed(&mut self, now: Timestamp) -> bool {
        while self
            .crashed
            .front()
            .is_some_and(|first| now.since(*first) >= limits::CRASH_SPAN)
        {
            self.crashed.pop_front();
        }
        self.crashed.push_back(now);
        let too_often = self.crashed.len() >= limits::CRASHES;
        if too_often {
            self.crashed.clear();
        }
        too_often
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn trips(seconds: &[i64]) -> Vec<bool> {
        let mut breaker = Breaker::default();
        seconds.iter().map(|second| breaker.crashed(at(*second))).collect()
    }

    #[test]
    fn the_fifth_time_within_a_minute_is_once_too_often() {
        assert_eq!(trips(&[0, 10, 20, 30, 59]), [false, false, false, false, true]);
        assert_eq!(trips(&[7, 7, 7, 7, 7]), [false, false, false, false, true]);
    }

    #[test]
    fn what_was_a_minute_ago_does_not_count() {
        assert_eq!(trips(&[0, 10, 20, 30, 60]), [false; 5]);
        assert_eq!(
            trips(&[0, 10, 20, 30, 60, 61]),
            [false, false, false, false, false, true]
        );
        assert!(!trips(&(0..100).map(|i| i * 15).collect::<Vec<_>>()).contains(&true));
    }

    #[test]
    fn clock_step_back_does_not_quarantine() {
        assert_eq!(trips(&[100, 100, 0, 0]), [false; 4]);
    }

    #[test]
    fn count_restarts_after_approval() {
        assert_eq!(
            trips(&[0, 0, 0, 0, 0, 1, 1, 1, 1]).iter().filter(|yes| **yes).count(),
            1
        );
    }
}
