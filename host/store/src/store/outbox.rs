//! Messages on their way out.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::delivery::Next;
use weir_domain::id::{ChannelId, MessageId};
use weir_domain::message::Message;
use weir_domain::policy::RuleBook;
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

/// Messages on their way out.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Each try of a message, oldest first, with the requests that left.
    async fn attempts(&self, workspace: &str, id: MessageId) -> Result<Vec<Attempt>>;
    /// Judges a draft and puts it into the outbox, with an event and the answer under the caller's claim, in one transaction: two
    /// callers cannot both spend the last message of a window. The same key with the same request gives the first answer.
    async fn enqueue(&self, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError>;
    /// Leases messages of all workspaces that are due, as many as there is room for: at most one of a conversation, the oldest; channels in
    /// turn; none of a channel that is held or waits for authorization. The attempt is written open now, before anything leaves. A
    /// conversation with an uncertain message waits for it up to [`weir_domain::limits::UNCERTAIN_WAIT`].
    async fn lease_messages(&self, owner: &str, room: Room, now: Timestamp) -> Result<Vec<MessageLease>>;
    /// Closes the attempt that the lease is for, whosever it is, and moves the message on, with an event and the state that the call wrote. False, and nothing
    /// written, if the lease was lost meanwhile.
    async fn settle_message(
        &self,
        lease: &LeaseToken,
        next: Next,
        requests: Vec<RequestRecord>,
        state: Vec<StateWrite>,
        now: Timestamp,
    ) -> Result<bool>;
    /// Queues again what `owner` leased and is not in flight there: leases whose answer was lost, so that nothing of them left. How many.
    async fn free_messages(&self, owner: &str, in_flight: BTreeSet<MessageId>, now: Timestamp) -> Result<u32>;
    /// Messages whose lease ran out over an open attempt become uncertain; queued ones past their end fail. How many.
    async fn sweep_messages(&self, now: Timestamp) -> Result<u32>;
    /// Uncertain messages of all workspaces, oldest first, with when they were sent.
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>>;
    /// Those of the oldest uncertain messages about which the platform's history is to be asked now: after
    /// [`weir_domain::limits::UNCERTAIN_GRACE`], and then less and less often. Each is given to one caller.
    async fn ask_uncertain(&self, limit: u32, now: Timestamp) -> Result<Vec<UncertainMessage>>;
    /// Settles an uncertain message by what the history or a person said. False if it is not uncertain any more.
    async fn resolve_uncertain(
        &self,
        workspace: &str,
        id: MessageId,
        found: Resolution,
        now: Timestamp,
    ) -> Result<bool>;
    /// Takes a queued message back. What it was, if it could not be.
    async fn cancel_message(
        &self,
        workspace: &str,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Result<Message, Message>>>;
    /// Queues a failed or uncertain message again, judged anew by the same rules.
    async fn retry_message(
        &self,
        workspace: &str,
        id: MessageId,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Option<Message>, EnqueueError>;
    /// When the next message is due, of whichever app but these; none if none waits.
    async fn next_message_due(&self, without: Vec<String>) -> Result<Option<Timestamp>>;
    /// How many messages of a channel wait, and since when.
    async fn queue(&self, workspace: &str, channel: ChannelId) -> Result<QueueDepth>;
}

#[async_trait]
impl<E: Engine> Outbox for E {
    async fn attempts(&self, workspace: &str, id: MessageId) -> Result<Vec<Attempt>> {
        let workspace = workspace.to_owned();
        self.read(move |db| outbox::attempts(db, &workspace, id)).await
    }
    async fn enqueue(&self, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError> {
        let book = book.clone();
        let acceptance = Acceptance { new, book, now };
        if crate::claims::current().is_none() {
            return self.share(acceptance).await?;
        }
        // The mark of the claim goes with what is accepted, and not with a refusal.
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
        self.write(move |db| acts::outbox::sweep(db, now)).await
    }
    async fn free_messages(&self, owner: &str, in_flight: BTreeSet<MessageId>, now: Timestamp) -> Result<u32> {
        let owner = owner.to_owned();
        self.write(move |db| acts::outbox::free(db, &owner, &in_flight, now))
            .await
    }
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>> {
        self.read(move |db| acts::outbound::uncertain(db, limit)).await
    }
    async fn ask_uncertain(&self, limit: u32, now: Timestamp) -> Result<Vec<UncertainMessage>> {
        // Mostly there is none, and reading costs less than writing.
        if self.read(move |db| outbox::to_ask(db, limit, now)).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |db| acts::outbound::ask_uncertain(db, limit, now))
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
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Option<Message>, EnqueueError> {
        let workspace = workspace.to_owned();
        let book = book.clone();
        self.write(move |db| acts::outbound::retry(db, &workspace, id, &book, now))
            .await
    }
    async fn next_message_due(&self, without: Vec<String>) -> Result<Option<Timestamp>> {
        self.look(move |db| outbox::next_due(db, &without)).await
    }
    async fn queue(&self, workspace: &str, channel: ChannelId) -> Result<QueueDepth> {
        let workspace = workspace.to_owned();
        self.read(move |db| outbox::queue(db, &workspace, channel)).await
    }
}
