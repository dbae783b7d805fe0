//! Which channels' histories are to be read, and since when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use weir_domain::delivery::backoff;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

/// Channels that wait to be read; a host with more reads the rest when it is asked again.
const WAITING: usize = 10_000;

/// How long after a failure a channel's history is tried again, at first and at most.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// How often it is tried: for a platform that is down for some hours.
const TRIES: u32 = 24;

/// Which channels are to be read, and since when.
#[derive(Default)]
pub(crate) struct HistoryQueue {
    channels: Mutex<Channels>,
    pub(crate) wake: Arc<Notify>,
}

#[derive(Default)]
struct Channels {
    waiting: BTreeMap<ChannelId, Timestamp>,
    /// What is asked for meanwhile waits anew.
    reading: Option<(ChannelId, Timestamp)>,
    /// Those whose platform did not answer.
    failed: BTreeMap<ChannelId, Failed>,
}

#[derive(Clone, Copy)]
struct Failed {
    since: Timestamp,
    tries: u32,
    due_at: Timestamp,
}

impl HistoryQueue {
    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, channel: ChannelId, since: Timestamp) {
        let mut channels = self.channels();
        if channels.waiting.len() < WAITING {
            let from = channels.waiting.entry(channel).or_insert(since);
            *from = since.min(*from);
        }
        drop(channels);
        self.wake.notify_one();
    }

    /// The next one to be read; the one before it is done with, unless it is put off or failed.
    pub(super) fn next(&self, now: Timestamp) -> Option<(ChannelId, Timestamp)> {
        let mut channels = self.channels();
        if let Some((channel, _)) = channels.reading.take() {
            channels.failed.remove(&channel);
        }
        let due = channels.failed.iter().find(|(_, failed)| failed.due_at <= now);
        channels.reading = due
            .map(|(channel, failed)| (*channel, failed.since))
            .or_else(|| channels.waiting.pop_first());
        channels.reading
    }

    /// What is being read could not be: it is tried again, later each time. How often it was tried; none if that was the last.
    pub(super) fn fail(&self, jitter: f64, now: Timestamp) -> Option<u32> {
        let mut channels = self.channels();
        let (channel, since) = channels.reading.take()?;
        let tries = channels.failed.remove(&channel).map_or(0, |failed| failed.tries) + 1;
        let due_at = now.after(backoff(TRY_AGAIN, tries, jitter));
        if tries >= TRIES {
            return None;
        }
        channels.failed.insert(channel, Failed { since, tries, due_at });
        Some(tries)
    }

    /// What is being read is to be read later.
    pub(super) fn put_off(&self) {
        let mut channels = self.channels();
        let reading = channels.reading.take();
        let waits = reading.filter(|(channel, _)| !channels.failed.contains_key(channel));
        drop(channels);
        if let Some((channel, since)) = waits {
            self.add(channel, since);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let channels = self.channels();
        channels.waiting.is_empty() && channels.reading.is_none() && channels.failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use weir_domain::id::Mint;

    use super::*;

    #[test]
    fn a_channel_that_is_asked_for_twice_is_read_once_from_the_earlier_moment() {
        let asked = HistoryQueue::default();
        let channel = Mint::from_seed([1; 32]).id(Timestamp::default());
        asked.add(channel, Timestamp::from_millis(2_000));
        asked.add(channel, Timestamp::from_millis(1_000));
        asked.add(channel, Timestamp::from_millis(3_000));
        assert_eq!(
            asked.next(Timestamp::default()),
            Some((channel, Timestamp::from_millis(1_000)))
        );
        assert_eq!(asked.next(Timestamp::default()), None);
    }

    #[test]
    fn nothing_is_done_with_before_it_is_read() {
        let asked = HistoryQueue::default();
        let channel = Mint::from_seed([1; 32]).id(Timestamp::default());
        let since = Timestamp::from_millis(1_000);
        asked.add(channel, since);
        assert_eq!(asked.next(Timestamp::default()), Some((channel, since)));
        assert!(!asked.is_empty(), "it is being read");
        asked.put_off();
        assert_eq!(asked.next(Timestamp::default()), Some((channel, since)));
        asked.add(channel, Timestamp::from_millis(2_000));
        assert_eq!(
            asked.next(Timestamp::default()),
            Some((channel, Timestamp::from_millis(2_000))),
            "asked for meanwhile"
        );
        assert_eq!(asked.next(Timestamp::default()), None);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_failed_history_is_tried_again_later() {
        let asked = HistoryQueue::default();
        let channel = Mint::from_seed([1; 32]).id(Timestamp::default());
        let since = Timestamp::from_millis(1_000);
        asked.add(channel, since);
        let mut now = since;
        for tries in 1..TRIES {
            assert_eq!(asked.next(now), Some((channel, since)));
            assert_eq!(asked.fail(1.0, now), Some(tries));
            assert_eq!(asked.next(now), None, "not at once");
            assert!(!asked.is_empty(), "it is not done with");
            now = now.after(TRY_AGAIN.1);
        }
        assert_eq!(asked.next(now), Some((channel, since)));
        assert_eq!(asked.fail(1.0, now), None);
        assert!(asked.is_empty());
    }
}
