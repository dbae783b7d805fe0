//! Settling: the results of attempts, and messages whose worker or whose time is gone.

use crate::delivery::Next;
use crate::event::EventType;
use crate::message::{MessageError, Status};
use crate::problem::Fault;
use crate::record::attempt::EndedAttempt;
use crate::record::echo::{self, Arrival};
use crate::record::queue::ConversationQueue;
use crate::record::{Changes, MessageUpdate, RequestRecord, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

/// A message of the outbox, with its conversation and the unsettled messages of that.
#[derive(Debug)]
pub struct Outbound {
    pub message: Tracked<StoredMessage>,
    pub conversation: Tracked<StoredConversation>,
    pub queue: ConversationQueue,
}

/// An attempt that ended.
#[derive(Debug)]
pub struct Tried {
    pub next: Next,
    /// The requests that were sent.
    pub requests: Vec<RequestRecord>,
    /// If the platform has the message: what else is stored about it.
    pub arrival: Arrival,
}

/// Ends the attempt in flight. The caller has verified the lease. Returns false if the platform id of the message
/// belongs to another message and is ignored.
pub fn settle(mut outbound: Outbound, tried: Tried, now: Timestamp) -> (Changes, bool) {
    let mut changes = Changes::default();
    let (outcome, error) = match &tried.next {
        Next::Sent { .. } => ("sent", None),
        Next::RetryAt { error, .. } => ("retry", Some(error)),
        Next::Held { error } => ("held", Some(error)),
        Next::Unserved { error, .. } => ("unserved", Some(error)),
        Next::Uncertain { error } => ("uncertain", Some(error)),
        Next::Failed { error } => ("failed", Some(error)),
    };
    // Nothing was attempted: an entry per round, possibly for hours, would be of no use.
    if !matches!(tried.next, Next::Unserved { .. }) {
        outbound.end_attempt(&mut changes, outcome, error.cloned(), tried.requests, now);
    }
    let mut is_believed = true;
    match tried.next {
        Next::Sent { platform_id, at } => {
            is_believed = outbound.arrived(&mut changes, (&platform_id, at), tried.arrival);
        }
        // An echo or a receipt arrived first: the contact has it, whatever the response was.
        _ if outbound.message.message.status != Status::Sending => outbound.leave(),
        Next::RetryAt { at, counts, error } => outbound.requeue(at, counts, false, Some(error)),
        Next::Held { error } => outbound.requeue(now, false, true, Some(error)),
        Next::Unserved { at, error } => outbound.requeue(at, false, false, Some(error)),
        Next::Uncertain { error } => outbound.mark_uncertain(&mut changes, error, now),
        Next::Failed { error } => outbound.fail(&mut changes, error),
    }
    (outbound.into_changes(changes), is_believed)
}

/// The lease expired during an open attempt: the host stopped, or could not write.
pub fn lose_lease(mut outbound: Outbound, now: Timestamp) -> Changes {
    let mut changes = Changes::default();
    if outbound.message.message.status == Status::Sending {
        let error = MessageError {
            code: "outcome_unknown".to_owned(),
            detail: "the host stopped during this attempt; it is unknown whether the message was sent".to_owned(),
            fault: Fault::Host,
            retryable: false,
            platform: None,
        };
        outbound.end_attempt(&mut changes, "uncertain", Some(error.clone()), Vec::new(), now);
        outbound.mark_uncertain(&mut changes, error, now);
    } else {
        // An echo or a receipt shows that the platform has it.
        outbound.end_attempt(&mut changes, "sent", None, Vec::new(), now);
        outbound.leave();
    }
    outbound.into_changes(changes)
}

/// No worker has the lease, since its response was lost: nothing was sent or attempted.
pub fn free(mut outbound: Outbound, now: Timestamp) -> Changes {
    if outbound.message.message.status == Status::Sending {
        outbound.requeue(now, false, false, None);
    } else {
        // An echo or a receipt of an earlier attempt shows that the platform has it.
        outbound.leave();
    }
    outbound.into_changes(Changes::default())
}

/// The window closed while the message was queued.
pub fn expire(mut outbound: Outbound) -> Changes {
    let mut changes = Changes::default();
    let error = MessageError {
        code: "reply_window_closed".to_owned(),
        detail: "the messaging window closed before the message could be sent".to_owned(),
        fault: Fault::Host,
        retryable: false,
        // The reason why it was not sent until then is kept.
        platform: outbound.message.message.error.clone().and_then(|error| error.platform),
    };
    outbound.fail(&mut changes, error);
    outbound.into_changes(changes)
}

/// The channel was deleted while the message was queued.
pub fn lose_channel(mut outbound: Outbound) -> Changes {
    let mut changes = Changes::default();
    let error = MessageError {
        code: "channel_deleted".to_owned(),
        detail: "the channel was deleted before the message could be sent".to_owned(),
        fault: Fault::Caller,
        retryable: false,
        platform: None,
    };
    outbound.fail(&mut changes, error);
    outbound.into_changes(changes)
}

impl Outbound {
    /// Stores the attempt in flight as it ended. While open, it is part of the outbox's row.
    fn end_attempt(
        &self,
        changes: &mut Changes,
        outcome: &'static str,
        error: Option<MessageError>,
        requests: Vec<RequestRecord>,
        now: Timestamp,
    ) {
        let Some(entry) = self.queue.get(self.message.message.id) else {
            return;
        };
        changes.attempts.push(EndedAttempt {
            message: entry.message,
            number: entry.epoch,
            started_at: entry.dispatched_at.unwrap_or(now),
            ended_at: now,
            outcome,
            error,
            requests,
        });
    }

    /// Removes it from the outbox.
    pub(super) fn leave(&mut self) {
        self.queue.remove(self.message.message.id);
    }

    pub(super) fn arrived(&mut self, changes: &mut Changes, sent_as: (&str, Timestamp), arrival: Arrival) -> bool {
        self.leave();
        echo::arrived(changes, &mut self.conversation, &mut self.message, sent_as, arrival)
    }

    /// Advances the status, if [`Status::may_become`] allows it; returns whether it did.
    pub(super) fn advance(&mut self, status: Status, error: Option<MessageError>) -> bool {
        if !self.message.message.status.may_become(status) {
            return false;
        }
        let update = MessageUpdate {
            error,
            ..MessageUpdate::default()
        };
        let last_message_at = self.conversation.conversation.last_message_at;
        self.message.edit().advance(status, update, last_message_at)
    }

    /// Requeues it at its old position.
    fn requeue(&mut self, not_before: Timestamp, counts: bool, held: bool, error: Option<MessageError>) {
        self.advance(Status::Queued, error);
        if let Some(entry) = self.queue.edit(self.message.message.id) {
            entry.requeue(not_before, held);
            entry.tries += u32::from(counts);
        }
    }

    fn mark_uncertain(&mut self, changes: &mut Changes, error: MessageError, now: Timestamp) {
        self.advance(Status::Uncertain, Some(error));
        if let Some(entry) = self.queue.edit(self.message.message.id) {
            entry.mark_uncertain(now);
        }
        self.event(changes, EventType::MessageUncertain);
    }

    /// Fails it, and releases its share of the budget.
    fn fail(&mut self, changes: &mut Changes, error: MessageError) {
        self.give_back();
        self.fail_counted(changes, error);
    }

    /// Fails it, and keeps its share: the platform may have counted it.
    pub(super) fn fail_counted(&mut self, changes: &mut Changes, error: MessageError) {
        if self.advance(Status::Failed, Some(error)) {
            self.event(changes, EventType::MessageFailed);
        }
        self.leave();
    }

    /// Releases its share of the budget.
    pub(super) fn give_back(&mut self) {
        self.message.edit().counted = false;
        let conversation = &mut self.conversation.edit().conversation;
        conversation.budget_used = conversation.budget_used.saturating_sub(1);
    }

    pub(super) fn event(&self, changes: &mut Changes, kind: EventType) {
        changes.message_event(&self.message, kind);
    }

    pub(super) fn into_changes(self, mut changes: Changes) -> Changes {
        let Self {
            message,
            conversation,
            queue,
        } = self;
        changes.queue(message.message.channel_id, queue);
        changes.messages.push(message);
        changes.conversations.push(conversation);
        changes
    }
}
