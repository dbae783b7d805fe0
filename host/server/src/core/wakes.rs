//! Signals that end a worker's sleep early.

use std::sync::Arc;

use tokio::sync::Notify;

/// One wake-up for each worker.
#[derive(Default)]
pub(crate) struct Wakes {
    /// Also after a write that may release messages: a channel that is no longer paused.
    pub(crate) messages: Arc<Notify>,
    /// When the log grows, and after a write that makes a delivery due without a new event.
    pub(crate) deliveries: Arc<Notify>,
    pub(crate) media: Arc<Notify>,
    pub(crate) credentials: Arc<Notify>,
    pub(crate) uncertain: Arc<Notify>,
    pub(crate) retention: Arc<Notify>,
    pub(crate) sweep: Arc<Notify>,
    pub(crate) polls: Arc<Notify>,
    pub(crate) history: Arc<Notify>,
    /// Another node changed cached values.
    pub(crate) revisions: Arc<Notify>,
}

impl Wakes {
    /// A version runs, or an account is released: wakes work that waits for a connector.
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

    /// Another host wrote: a waiting message, an attachment to fetch, a version to load. Deliveries are woken by the
    /// log.
    pub(crate) fn written_elsewhere(&self) {
        for wake in [&self.messages, &self.media, &self.revisions] {
            wake.notify_one();
        }
    }

    /// The clock jumped: scheduled work may be due.
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
