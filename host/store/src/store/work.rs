//! Work that one node at a time does for a channel.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::work;
use crate::{Requeue, Result, WorkKind, WorkLease};

/// Work that one node at a time does for a channel. A node has claimed work until it ends it or dies, and no longer
/// than a call, or the reading of a history, may take.
#[async_trait]
pub trait ChannelWork: Send + Sync {
    /// Claims the work of a channel, whether it is due or not. `None` while another node has it.
    async fn take_work(
        &self,
        channel: ChannelId,
        kind: WorkKind,
        node: &str,
        now: Timestamp,
    ) -> Result<Option<WorkLease>>;
    /// Claims due work, the longest due first: each is returned to one caller.
    async fn lease_work(&self, kind: WorkKind, node: &str, limit: u32, now: Timestamp) -> Result<Vec<WorkLease>>;
    /// The next due time of unclaimed work.
    async fn next_work(&self, kind: WorkKind, now: Timestamp) -> Result<Option<Timestamp>>;
    /// Ends claimed work: it is due again at the given time, or sooner if that was requested meanwhile; without either
    /// it is finished. Returns false, and writes nothing, if the claim was lost.
    async fn end_work(&self, lease: WorkLease, requeue: Option<Requeue>) -> Result<bool>;
    /// Releases the node's claimed work of channels that are not in flight there, as after a lost response. Returns
    /// how many.
    async fn free_work(
        &self,
        kind: WorkKind,
        node: &str,
        in_flight: BTreeSet<ChannelId>,
        now: Timestamp,
    ) -> Result<u32>;
    /// Requests a channel's history since this moment. A history that is being read, or waits to be, is read again
    /// since the earlier of both moments.
    async fn request_history(&self, channel: ChannelId, since: Timestamp, now: Timestamp) -> Result<()>;
    /// Sets the polled channels to exactly these; a new one is due at once.
    async fn enlist_polls(&self, channels: BTreeSet<ChannelId>, now: Timestamp) -> Result<()>;
}

#[async_trait]
impl<E: Engine> ChannelWork for E {
    async fn take_work(
        &self,
        channel: ChannelId,
        kind: WorkKind,
        node: &str,
        now: Timestamp,
    ) -> Result<Option<WorkLease>> {
        let node = node.to_owned();
        self.write(move |db| work::take(db, channel, kind, &node, now)).await
    }
    async fn lease_work(&self, kind: WorkKind, node: &str, limit: u32, now: Timestamp) -> Result<Vec<WorkLease>> {
        let node = node.to_owned();
        self.write(move |db| work::lease(db, kind, &node, limit, now)).await
    }
    async fn next_work(&self, kind: WorkKind, now: Timestamp) -> Result<Option<Timestamp>> {
        self.lookup(move |db| work::next_due(db, kind, now)).await
    }
    async fn end_work(&self, lease: WorkLease, requeue: Option<Requeue>) -> Result<bool> {
        self.write(move |db| work::end(db, &lease, requeue)).await
    }
    async fn free_work(
        &self,
        kind: WorkKind,
        node: &str,
        in_flight: BTreeSet<ChannelId>,
        now: Timestamp,
    ) -> Result<u32> {
        let node = node.to_owned();
        self.write(move |db| work::free(db, kind, &node, &in_flight, now)).await
    }
    async fn request_history(&self, channel: ChannelId, since: Timestamp, now: Timestamp) -> Result<()> {
        self.write(move |db| work::request_history(db, channel, since, now))
            .await
    }
    async fn enlist_polls(&self, channels: BTreeSet<ChannelId>, now: Timestamp) -> Result<()> {
        // Usually nothing changes, and reading costs less than writing.
        if self.lookup(|db| work::channels(db, WorkKind::Poll)).await? == channels {
            return Ok(());
        }
        self.write(move |db| work::enlist_polls(db, &channels, now)).await
    }
}
