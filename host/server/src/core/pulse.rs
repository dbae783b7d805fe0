//! Liveness of the host's background tasks: each reports on every iteration, and one that is silent for too long is
//! named.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When each background task last reported, and how long it may be silent.
#[derive(Debug, Default)]
pub(crate) struct Pulses(Mutex<BTreeMap<&'static str, (Instant, Duration)>>);

impl Pulses {
    /// The task `name` is alive at `now` and will report again within `allowed`.
    pub(crate) fn beat(&self, name: &'static str, allowed: Duration, now: Instant) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, (now, allowed));
    }

    /// How long each task has been silent.
    pub(crate) fn silence(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        let pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = pulses
            .iter()
            .map(|(name, (last, _))| (*name, now.saturating_duration_since(*last)));
        silence.collect()
    }

    /// A task that has been silent for longer than allowed, and for how long.
    pub(crate) fn stalled(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulses
            .iter()
            .map(|(name, (last, allowed))| (*name, now.saturating_duration_since(*last), *allowed))
            .find(|(_, silent, allowed)| silent > allowed)
            .map(|(name, silent, _)| (name, silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_loop_counts_as_stalled() {
        let pulses = Pulses::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        pulses.beat("patient", Duration::from_secs(100), begin);
        pulses.beat("deliverer", Duration::from_secs(10), begin);
        assert_eq!(pulses.stalled(at(10)), None);
        assert_eq!(pulses.stalled(at(11)), Some(("deliverer", Duration::from_secs(11))));
        pulses.beat("deliverer", Duration::from_secs(10), at(12));
        assert_eq!(pulses.stalled(at(20)), None);
        assert_eq!(
            pulses.silence(at(20)),
            [
                ("deliverer", Duration::from_secs(8)),
                ("patient", Duration::from_secs(20))
            ]
        );
    }
}
