//! What ends a worker's sleep before its time.

use std::sync::Arc;

use tokio::sync::Notify;

/// One wake for each worker.
#[derive(Default)]
pub(crate) struct Wakes {
    /// Also after a write that may let messages go: a channel that is no longer paused.
    pub(crate) messages: Arc<Notify>,
    /// By a longer log, and after a write that makes a delivery due though it adds no event.
    pub(crate) deliveries: Arc<Notify>,
    pub(crate) media: Arc<Notify>,
    pub(crate) credentials: Arc<Notify>,
    pub(crate) uncertain: Arc<Notify>,
    pub(crate) retention: Arc<Notify>,
    pub(crate) sweep: Arc<Notify>,
    pub(crate) polls: Arc<Notify>,
    pub(crate) history: Arc<Notify>,
    /// Another node changed what is kept in memory.
    pub(crate) revisions: Arc<Notify>,
}

impl Wakes {
    /// A version runs, or an account is held no more: what waits for a connector that can be called.
    pub(crate) fn callers(&self) {
        for wake in [
            &self.messages,
            &self.media,
            &self.credentials,
            &self.uncertain,
            &self.polls,
        ] {
            wake.notify_one();
        }
    }

    /// Another host wrote: a message that waits, an attachment to fetch, a version to load. Deliveries are woken by the log.
    pub(crate) fn written_elsewhere(&self) {
        for wake in [&self.messages, &self.media, &self.revisions] {
            wake.notify_one();
        }
    }

    /// Time jumped: what was a long way off may be due.
    pub(crate) fn all(&self) {
        for wake in [
            &self.messages,
            &self.deliveries,
            &self.media,
            &self.credentials,
            &self.uncertain,
            &self.retention,
            &self.sweep,
            &self.polls,
        ] {
            wake.notify_one();
        }
    }
}
