//! The event log.

use async_trait::async_trait;
use tokio::sync::watch;
use weir_domain::event::{Event, EventFilter};
use weir_domain::id::EventId;
use weir_domain::record::NewEvent;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::events;
use crate::{Listed, Result, acts};

/// The event log.
#[async_trait]
pub trait Events: Send + Sync {
    /// Appends a single event.
    async fn append_event(&self, event: NewEvent, now: Timestamp) -> Result<EventId>;
    /// Events after a position in the log, in order. One page scans at most [`weir_domain::limits::ROWS_SCANNED`]
    /// events, so it may be short or empty although more follow: `next` is the position to continue from.
    async fn events(&self, workspace: &str, after: i64, filter: &EventFilter, limit: u32) -> Result<Listed<Event>>;
    /// One event.
    async fn event(&self, workspace: &str, id: EventId) -> Result<Option<Event>>;
    /// The position in the log of an event, also of an erased one; 0 for one past its retention. `None` if the event
    /// never existed.
    async fn event_place(&self, workspace: &str, id: EventId) -> Result<Option<i64>>;
    /// The end of the log.
    async fn last_sequence(&self) -> Result<i64>;
    /// The end of the log, which changes after each commit that appends events: readers that show or deliver new events
    /// wait for it, so that writers need not notify.
    fn log_end(&self) -> watch::Receiver<i64>;
    /// The same, raised by other hosts on the database: what they wrote may be work for this one. Never changes where
    /// one host uses the database.
    fn log_end_of_others(&self) -> watch::Receiver<i64>;
}

#[async_trait]
impl<E: Engine> Events for E {
    async fn append_event(&self, event: NewEvent, now: Timestamp) -> Result<EventId> {
        self.write(move |db| Ok(acts::events::append_one(db, event.clone(), now)?.0))
            .await
    }
    async fn events(&self, workspace: &str, after: i64, filter: &EventFilter, limit: u32) -> Result<Listed<Event>> {
        let workspace = workspace.to_owned();
        let filter = filter.clone();
        self.read(move |db| events::after(db, &workspace, after, &filter, limit))
            .await
    }
    async fn event(&self, workspace: &str, id: EventId) -> Result<Option<Event>> {
        let workspace = workspace.to_owned();
        self.read(move |db| events::one(db, &workspace, id)).await
    }
    async fn event_place(&self, workspace: &str, id: EventId) -> Result<Option<i64>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| events::place(db, &workspace, id)).await
    }
    async fn last_sequence(&self) -> Result<i64> {
        self.lookup(events::last).await
    }
    fn log_end(&self) -> watch::Receiver<i64> {
        Engine::log_end(self)
    }
    fn log_end_of_others(&self) -> watch::Receiver<i64> {
        Engine::log_end_of_others(self)
    }
}
