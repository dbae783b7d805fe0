//! Outbound messages that the platform has: known from the response of the send, an echo or the history, in any order.

use crate::event::EventType;
use crate::message::{Direction, MessageError, Origin, Status};
use crate::record::change::FoldedEcho;
use crate::record::{Changes, MessageUpdate, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

/// What else is stored about an outbound message when the platform assigns it an id.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// Another message with that id.
    pub other: Option<Box<OtherMessage>>,
    pub early: Option<EarlyReceipts>,
    /// Budget shares of other messages; loaded if the message may have been sent before the contact's last message.
    pub others: OtherShares,
}

/// The receipts of a message that arrived before it: its platform id, and the receipts.
pub type EarlyReceipts = (String, Vec<(Status, Option<MessageError>)>);

/// A message that already has the platform id assigned to an outbound message.
#[derive(Clone, Debug)]
pub struct OtherMessage {
    pub stored: StoredMessage,
    /// It was accepted by Weir, and is not an echo.
    pub is_accepted: bool,
    /// The newest echo except this one that the platform dates no later.
    pub echoed_at: Option<Timestamp>,
    /// The number of unread messages of the contact if this one is not counted as sent from elsewhere.
    pub unread: u32,
}

impl OtherMessage {
    /// Whether it is the platform's echo of this outbound message.
    pub fn is_echo_of(&self, stored: &StoredMessage) -> bool {
        let message = &self.stored.message;
        message.direction == Direction::Outbound
            && message.conversation_id == stored.message.conversation_id
            && message.client_ref.is_none()
            && !matches!(message.origin, Origin::Console)
            && !self.is_accepted
    }
}

/// Shares of a window's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherShares {
    /// Of messages that are not settled.
    pub unsettled: u32,
    /// Of outbound messages that the platform has from after the contact's last message, and of failed ones that kept
    /// their share.
    pub taken: u32,
}

/// The platform has this message, by its response, the history or a person's decision. Returns false if the id belongs
/// to another message and is ignored.
pub fn arrived(
    changes: &mut Changes,
    conversation: &mut Tracked<StoredConversation>,
    stored: &mut Tracked<StoredMessage>,
    (platform_id, at): (&str, Timestamp),
    arrival: Arrival,
) -> bool {
    let is_taken = arrival.other.is_some();
    let folded = arrival
        .other
        .filter(|other| other.is_echo_of(stored))
        .map(|other| fold_echo(changes, conversation, stored, &other));
    let is_free = !is_taken || folded.is_some();
    let update = MessageUpdate {
        platform_id: is_free.then(|| platform_id.to_owned()),
        sent_at: Some(at),
        error: None,
    };
    move_on(changes, conversation, stored, update, folded, arrival.early);
    recount(conversation, stored, arrival.others);
    is_free
}

/// A message that was sent before the contact's last message, and whose response arrived after it, does not count in
/// the new window.
fn recount(conversation: &mut Tracked<StoredConversation>, stored: &StoredMessage, others: OtherShares) {
    let wrote_at = conversation.conversation.contact_wrote_at;
    if wrote_at.is_none_or(|wrote_at| stored.message.sent_at > wrote_at) {
        return;
    }
    let has_answer = conversation.marks.last_answer_at > wrote_at;
    conversation.edit().conversation.budget_used = others.unsettled + if has_answer { others.taken } else { 0 };
}

/// Sets it to sent, or further if a receipt for it arrived before, or the contact has read past it.
pub fn move_on(
    changes: &mut Changes,
    conversation: &mut Tracked<StoredConversation>,
    stored: &mut Tracked<StoredMessage>,
    update: MessageUpdate,
    at_least: Option<Status>,
    early: Option<EarlyReceipts>,
) {
    let last_message_at = conversation.conversation.last_message_at;
    advance(
        changes,
        stored,
        (Status::Sent, EventType::MessageSent),
        update,
        last_message_at,
    );
    conversation.edit().note_sent(stored.message.sent_at);
    apply_early(changes, stored, early, last_message_at);
    let read_up_to = conversation.read_up_to;
    let is_read = read_up_to.is_some_and(|read| stored.message.sent_at <= read) || at_least == Some(Status::Read);
    let step = if is_read {
        (Status::Read, EventType::MessageRead)
    } else if at_least == Some(Status::Delivered) {
        (Status::Delivered, EventType::MessageDelivered)
    } else {
        return;
    };
    advance(changes, stored, step, MessageUpdate::default(), last_message_at);
}

/// Applies the receipts of a message that arrived before it.
pub(crate) fn apply_early(
    changes: &mut Changes,
    stored: &mut Tracked<StoredMessage>,
    early: Option<EarlyReceipts>,
    last_message_at: Option<Timestamp>,
) {
    let Some((platform_id, receipts)) = early.filter(|(platform_id, receipts)| {
        stored.message.platform_id.as_ref() == Some(platform_id) && !receipts.is_empty()
    }) else {
        return;
    };
    // The furthest status last, as if each had arrived in order.
    for step in [
        (Status::Failed, EventType::MessageFailed),
        (Status::Delivered, EventType::MessageDelivered),
        (Status::Read, EventType::MessageRead),
    ] {
        if let Some((_, error)) = receipts.iter().find(|(receipts, _)| *receipts == step.0) {
            let update = MessageUpdate {
                error: error.clone(),
                ..MessageUpdate::default()
            };
            advance(changes, stored, step, update, last_message_at);
        }
    }
    changes.used_receipts.push((stored.message.channel_id, platform_id));
}

/// Advances a message's status, if [`Status::may_become`] allows it, with an event.
pub(crate) fn advance(
    changes: &mut Changes,
    stored: &mut Tracked<StoredMessage>,
    (status, kind): (Status, EventType),
    update: MessageUpdate,
    last_message_at: Option<Timestamp>,
) {
    if stored.message.status.may_become(status) {
        stored.edit().advance(status, update, last_message_at);
        changes.message_event(stored, kind);
    }
}

/// An echo that arrived first and matched nothing was stored as a separate message: now its outbound message is known.
/// The outbound message stays and the echo's row is deleted, with its share of the budget; its sequence stays unused,
/// since later ones were reported already. Returns the status that the echo had reached.
fn fold_echo(
    changes: &mut Changes,
    conversation: &mut Tracked<StoredConversation>,
    stored: &StoredMessage,
    other: &OtherMessage,
) -> Status {
    let echo = &other.stored.message;
    let wrote_at = conversation.conversation.contact_wrote_at;
    if other.stored.counted && wrote_at.is_none_or(|wrote| echo.sent_at > wrote) {
        let conversation = &mut conversation.edit().conversation;
        conversation.budget_used = conversation.budget_used.saturating_sub(1);
    }
    changes.folded_echoes.push(FoldedEcho {
        echo: echo.id,
        of: stored.message.id,
        conversation: echo.conversation_id,
    });
    // It was not sent from elsewhere, so it does not show what was read.
    if conversation.marks.echoed_at == Some(echo.sent_at) {
        let conversation = conversation.edit();
        conversation.marks.echoed_at = other.echoed_at;
        conversation.conversation.unread = other.unread;
    }
    echo.status
}
