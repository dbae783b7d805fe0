//! What became of a message that left, or did not; and of one whose worker or whose time is gone.

use crate::delivery::Next;
use crate::event::EventType;
use crate::message::{MessageError, Status};
use crate::problem::Fault;
use crate::record::attempt::EndedAttempt;
use crate::record::echo::{self, Arrival};
use crate::record::queue::ConversationQueue;
use crate::record::{Changes, MessageUpdate, RequestRecord, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

/// A message of the outbox, with its conversation and what else of that is unsettled.
#[derive(Debug)]
pub struct Outbound {
    pub message: Tracked<StoredMessage>,
    pub conversation: Tracked<StoredConversation>,
    pub queue: ConversationQueue,
}

/// A try that is over.
#[derive(Debug)]
pub struct Tried {
    pub next: Next,
    /// What left.
    pub requests: Vec<RequestRecord>,
    /// If the platform has the message: what the record knows beside it.
    pub arrival: Arrival,
}

/// Ends the attempt that is in flight. Whose lease it is was asked by the caller. False if the platform's id of the message is
/// another's and not believed.
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
    // Where nothing was tried, in hours of that nobody wants to read each look.
    if !matches!(tried.next, Next::Unserved { .. }) {
        outbound.end_attempt(&mut changes, outcome, error.cloned(), tried.requests, now);
    }
    let mut is_believed = true;
    match tried.next {
        Next::Sent { platform_id, at } => {
            is_believed = outbound.arrived(&mut changes, (&platform_id, at), tried.arrival);
        }
        // The echo or a receipt was here first: the contact has it, whatever the answer was.
        _ if outbound.message.message.status != Status::Sending => outbound.leave(),
        Next::RetryAt { at, counts, error } => outbound.requeue(at, counts, false, Some(error)),
        Next::Held { error } => outbound.requeue(now, false, true, Some(error)),
        Next::Unserved { at, error } => outbound.requeue(at, false, false, Some(error)),
        Next::Uncertain { error } => outbound.mark_uncertain(&mut changes, error, now),
        Next::Failed { error } => outbound.fail(&mut changes, error),
    }
    (outbound.into_changes(changes), is_believed)
}

/// The lease ran out over an open attempt: the host stopped, or could not write.
pub fn lose_lease(mut outbound: Outbound, now: Timestamp) -> Changes {
    let mut changes = Changes::default();
    if outbound.message.message.status == Status::Sending {
        let error = MessageError {
            code: "outcome_unknown".to_owned(),
            detail: "the host stopped over this message; it may or may not have been sent".to_owned(),
            fault: Fault::Host,
            retryable: false,
            platform: None,
        };
        outbound.end_attempt(&mut changes, "uncertain", Some(error.clone()), Vec::new(), now);
        outbound.mark_uncertain(&mut changes, error, now);
    } else {
        // An echo or a receipt says that it is there.
        outbound.end_attempt(&mut changes, "sent", None, Vec::new(), now);
        outbound.leave();
    }
    outbound.into_changes(changes)
}

/// No worker has the lease, since its answer was lost: nothing left, and nothing was tried.
pub fn free(mut outbound: Outbound, now: Timestamp) -> Changes {
    if outbound.message.message.status == Status::Sending {
        outbound.requeue(now, false, false, None);
    } else {
        // An echo or a receipt of an earlier try says that it is there.
        outbound.leave();
    }
    outbound.into_changes(Changes::default())
}

/// The window closed over a message that waited.
pub fn expire(mut outbound: Outbound) -> Changes {
    let mut changes = Changes::default();
    let error = MessageError {
        code: "reply_window_closed".to_owned(),
        detail: "the messaging window closed before the message could leave".to_owned(),
        fault: Fault::Host,
        retryable: false,
        // Why it had not left until then is worth keeping.
        platform: outbound.message.message.error.clone().and_then(|error| error.platform),
    };
    outbound.fail(&mut changes, error);
    outbound.into_changes(changes)
}

/// The channel is gone over a message that waited.
pub fn lose_channel(mut outbound: Outbound) -> Changes {
    let mut changes = Changes::default();
    let error = MessageError {
        code: "channel_deleted".to_owned(),
        detail: "the channel was deleted before the message could leave".to_owned(),
        fault: Fault::Caller,
        retryable: false,
        platform: None,
    };
    outbound.fail(&mut changes, error);
    outbound.into_changes(changes)
}

impl Outbound {
    /// Writes the attempt that is in flight down as it ended. While it is open it is the outbox's row that says so.
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

    /// Takes it out of the outbox.
    pub(super) fn leave(&mut self) {
        self.queue.remove(self.message.message.id);
    }

    pub(super) fn arrived(&mut self, changes: &mut Changes, told: (&str, Timestamp), arrival: Arrival) -> bool {
        self.leave();
        echo::arrived(changes, &mut self.conversation, &mut self.message, told, arrival)
    }

    /// Moves it on, if [`Status::may_become`] lets it; whether it did.
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

    /// Back into the queue, at its old place.
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

    /// It will not be sent, and gives its share of the budget back.
    fn fail(&mut self, changes: &mut Changes, error: MessageError) {
        self.give_back();
        self.fail_counted(changes, error);
    }

    /// It will not be sent, and keeps its share: the platform may have counted it.
    pub(super) fn fail_counted(&mut self, changes: &mut Changes, error: MessageError) {
        if self.advance(Status::Failed, Some(error)) {
            self.event(changes, EventType::MessageFailed);
        }
        self.leave();
    }

    /// Gives its share of the budget back.
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
