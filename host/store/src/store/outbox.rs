//! Outbound messages.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::delivery::Next;
use weir_domain::id::{ChannelId, MessageId};
use weir_domain::message::Message;
use weir_domain::policy::PolicySet;
use weir_domain::time::Timestamp;

use crate::acts::outbound::Acceptance;
use crate::acts::outbox::Settlement;
use crate::engine::Engine;
use crate::group::Shared;
use crate::tables::outbox;
use crate::{
    Attempt, EnqueueError, Enqueued, LeaseToken, MessageLease, NewMessage, QueueDepth, RequestRecord, Resolution,
    Result, Room, StateWrite, UncertainMessage, acts,
};

/// Outbound messages.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// The attempts of a message, oldest first, with the requests that were sent.
    async fn attempts(&self, workspace: &str, id: MessageId) -> Result<Vec<Attempt>>;
    /// Checks a draft against the policy and adds it to the outbox, with an event and the response under the caller's
    /// claim, in one transaction: two concurrent callers cannot both spend the last message of a window. The same key
    /// with the same request returns the first response.
    async fn enqueue(&self, new: NewMessage, policies: &PolicySet, now: Timestamp) -> Result<Enqueued, EnqueueError>;
    /// Leases due messages of all workspaces, up to the free capacity: at most one of a conversation, the oldest;
    /// channels in turn; none of a channel that is held or waits for authorization. The attempt is stored as open
    /// before any request is sent. A conversation with an uncertain message waits for it up to
    /// [`weir_domain::limits::UNCERTAIN_WAIT`].
    async fn lease_messages(&self, owner: &str, room: Room, now: Timestamp) -> Result<Vec<MessageLease>>;
    /// Ends the attempt of the lease, in any workspace, and updates the message, with an event and the state that the
    /// call wrote. Returns false, and writes nothing, if the lease was lost meanwhile.
    async fn settle_message(
        &self,
        lease: &LeaseToken,
        next: Next,
        requests: Vec<RequestRecord>,
        state: Vec<StateWrite>,
        now: Timestamp,
    ) -> Result<bool>;
    /// Requeues what `owner` leased and does not have in flight: leases whose response was lost, so that nothing of
    /// them was sent. Returns their number.
    async fn free_messages(&self, owner: &str, in_flight: BTreeSet<MessageId>, now: Timestamp) -> Result<u32>;
    /// Messages whose lease expired during an open attempt become uncertain; queued ones past their end fail. Returns
    /// their number.
    async fn sweep_messages(&self, now: Timestamp) -> Result<u32>;
    /// Uncertain messages of all workspaces, oldest first, with when they were sent.
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>>;
    /// The oldest uncertain messages about which the platform's history is due to be queried: after
    /// [`weir_domain::limits::UNCERTAIN_GRACE`], and then at growing intervals. Each is returned to one caller.
    async fn confirm_uncertain(&self, limit: u32, now: Timestamp) -> Result<Vec<UncertainMessage>>;
    /// Settles an uncertain message by the history or by a person's decision. Returns false if it is not uncertain any
    /// more.
    async fn resolve_uncertain(
        &self,
        workspace: &str,
        id: MessageId,
        found: Resolution,
        now: Timestamp,
    ) -> Result<bool>;
    /// Cancels a queued message. `None` if the id is unknown; the inner error is the message whose status does not
    /// allow it.
    async fn cancel_message(
        &self,
        workspace: &str,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Result<Message, Message>>>;
    /// Queues a failed or uncertain message again, checked again by the same rules.
    async fn retry_message(
        &self,
        workspace: &str,
        id: MessageId,
        policies: &PolicySet,
        now: Timestamp,
    ) -> Result<Option<Message>, EnqueueError>;
    /// When the next message is due, of any app except these; `None` if none waits.
    async fn next_message_due(&self, without: Vec<String>) -> Result<Option<Timestamp>>;
    /// The number of a channel's waiting messages, and since when the oldest waits.
    async fn queue(&self, workspace: &str, channel: ChannelId) -> Result<QueueDepth>;
}

#[async_trait]
impl<E: Engine> Outbox for E {
    async fn attempts(&self, workspace: &str, id: MessageId) -> Result<Vec<Attempt>> {
        let workspace = workspace.to_owned();
        self.read(move |db| outbox::attempts(db, &workspace, id)).await
    }
    async fn enqueue(&self, new: NewMessage, policies: &PolicySet, now: Timestamp) -> Result<Enqueued, EnqueueError> {
        let policies = policies.clone();
        let acceptance = Acceptance { new, policies, now };
        if crate::claims::current().is_none() {
            return self.share(acceptance).await?;
        }
        // The claim's mark is written with an accepted message, and not with a refusal.
        self.write(move |db| Acceptance::one(db, acceptance.clone())?).await
    }
    async fn lease_messages(&self, owner: &str, room: Room, now: Timestamp) -> Result<Vec<MessageLease>> {
        let owner = owner.to_owned();
        self.transact_serially(move |db| acts::outbox::lease(db, &owner, room.clone(), now))
            .await
    }
    async fn settle_message(
        &self,
        lease: &LeaseToken,
        next: Next,
        requests: Vec<RequestRecord>,
        state: Vec<StateWrite>,
        now: Timestamp,
    ) -> Result<bool> {
        let settlement = Settlement {
            lease: lease.clone(),
            next,
            requests,
            writes: state,
            now,
        };
        self.write_shared(settlement).await
    }
    async fn sweep_messages(&self, now: Timestamp) -> Result<u32> {
        self.transact_serially(move |db| acts::outbox::sweep(db, now)).await
    }
    async fn free_messages(&self, owner: &str, in_flight: BTreeSet<MessageId>, now: Timestamp) -> Result<u32> {
        let owner = owner.to_owned();
        // In order, so that it runs after a lease whose response was lost and whose commit is not visible yet.
        self.transact_serially(move |db| acts::outbox::free(db, &owner, &in_flight, now))
            .await
    }
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>> {
        self.read(move |db| acts::outbound::uncertain(db, limit)).await
    }
    async fn confirm_uncertain(&self, limit: u32, now: Timestamp) -> Result<Vec<UncertainMessage>> {
        // Usually there is none, and reading costs less than writing.
        if self
            .read(move |db| outbox::to_confirm(db, limit, now))
            .await?
            .is_empty()
        {
            return Ok(Vec::new());
        }
        self.write(move |db| acts::outbound::confirm_uncertain(db, limit, now))
            .await
    }
    async fn resolve_uncertain(
        &self,
        workspace: &str,
        id: MessageId,
        found: Resolution,
        now: Timestamp,
    ) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::outbound::resolve(db, &workspace, id, found.clone(), now))
            .await
    }
    async fn cancel_message(
        &self,
        workspace: &str,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Result<Message, Message>>> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::outbound::cancel(db, &workspace, id, now))
            .await
    }
    async fn retry_message(
        &self,
        workspace: &str,
        id: MessageId,
        policies: &PolicySet,
        now: Timestamp,
    ) -> Result<Option<Message>, EnqueueError> {
        let workspace = workspace.to_owned();
        let policies = policies.clone();
        self.write(move |db| acts::outbound::retry(db, &workspace, id, &policies, now))
            .await
    }
    async fn next_message_due(&self, without: Vec<String>) -> Result<Option<Timestamp>> {
        self.lookup(move |db| outbox::next_due(db, &without)).await
    }
    async fn queue(&self, workspace: &str, channel: ChannelId) -> Result<QueueDepth> {
        let workspace = workspace.to_owned();
        self.read(move |db| outbox::queue(db, &workspace, channel)).await
    }
}
