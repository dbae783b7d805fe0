//! What one node at a time does for a channel.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::work;
use crate::{Result, WorkAgain, WorkKind, WorkLease};

/// What one node at a time does for a channel. Whoever takes it has it until it ends it or dies, and no longer than a
/// call may take, or the reading of a history.
#[async_trait]
pub trait ChannelWork: Send + Sync {
    /// Takes the work of a channel, whether it is due or not. None while another node has it.
    async fn take_work(
        &self,
        channel: ChannelId,
        kind: WorkKind,
        node: &str,
        now: Timestamp,
    ) -> Result<Option<WorkLease>>;
    /// Takes what is due, the longest due first: each is given to one caller.
    async fn lease_work(&self, kind: WorkKind, node: &str, limit: u32, now: Timestamp) -> Result<Vec<WorkLease>>;
    /// When the next is due that nobody has.
    async fn next_work(&self, kind: WorkKind, now: Timestamp) -> Result<Option<Timestamp>>;
    /// Ends what was taken: it is done again then, or sooner if that was asked for meanwhile; without either it is over. False, and
    /// nothing is written, if the lease was lost.
    async fn end_work(&self, lease: WorkLease, again: Option<WorkAgain>) -> Result<bool>;
    /// A channel's history is to be read since this moment. One that is read, or waits to be, is read again since the earlier of
    /// both moments.
    async fn ask_history(&self, channel: ChannelId, since: Timestamp, now: Timestamp) -> Result<()>;
    /// These channels are polled, a new one at once, and no others.
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
        self.look(move |db| work::next_due(db, kind, now)).await
    }
    async fn end_work(&self, lease: WorkLease, again: Option<WorkAgain>) -> Result<bool> {
        self.write(move |db| work::end(db, &lease, again)).await
    }
    async fn ask_history(&self, channel: ChannelId, since: Timestamp, now: Timestamp) -> Result<()> {
        self.write(move |db| work::ask_history(db, channel, since, now)).await
    }
    async fn enlist_polls(&self, channels: BTreeSet<ChannelId>, now: Timestamp) -> Result<()> {
        // Mostly nothing changes, and reading costs less than writing.
        if self.look(|db| work::channels(db, WorkKind::Poll)).await? == channels {
            return Ok(());
        }
        self.write(move |db| work::enlist_polls(db, &channels, now)).await
    }
}
