//! Messages of ours that the platform has: told by the answer of the send, by an echo, or by the history, in any order.

use crate::event::EventType;
use crate::message::{Direction, MessageError, Origin, Status};
use crate::record::change::FoldedEcho;
use crate::record::{Changes, MessageUpdate, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

/// What the record knows beside a message of ours when the platform gives it an id.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// Another message under that id.
    pub other: Option<Box<OtherMessage>>,
    pub early: Option<EarlyReceipts>,
    /// Shares of the budget that other messages have; known if the message may have left before the contact's last word.
    pub others: OtherShares,
}

/// What was said of a message before it came: its platform id, and the receipts.
pub type EarlyReceipts = (String, Vec<(Status, Option<MessageError>)>);

/// A message that has a platform id which a message of ours was given.
#[derive(Clone, Debug)]
pub struct OtherMessage {
    pub stored: StoredMessage,
    /// It was accepted here, and is no echo.
    pub is_accepted: bool,
    /// The newest echo besides it that the platform dates no later.
    pub echoed_at: Option<Timestamp>,
    /// What the contact wrote and nobody has read, if it was no message from elsewhere.
    pub unread: u32,
}

impl OtherMessage {
    /// Whether it is what the platform showed of this message of ours.
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
    /// Of what the platform has from us after the contact's last word, and of what failed and kept its share.
    pub taken: u32,
}

/// The platform has this message: its answer, the history or a person says so. False if the id is another message's and is not
/// believed.
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
    count_again(conversation, stored, arrival.others);
    is_free
}

/// A message that left before the contact's last word, and whose answer came after it, does not count in the new window.
fn count_again(conversation: &mut Tracked<StoredConversation>, stored: &StoredMessage, others: OtherShares) {
    let wrote_at = conversation.conversation.contact_wrote_at;
    if wrote_at.is_none_or(|wrote_at| stored.message.sent_at > wrote_at) {
        return;
    }
    let has_answer = conversation.marks.last_answer_at > wrote_at;
    conversation.edit().conversation.budget_used = others.unsettled + if has_answer { others.taken } else { 0 };
}

/// Sent; and further, if a receipt or a watermark was here before the answer.
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

/// Applies what was said of a message before it came.
pub(crate) fn apply_early(
    changes: &mut Changes,
    stored: &mut Tracked<StoredMessage>,
    early: Option<EarlyReceipts>,
    last_message_at: Option<Timestamp>,
) {
    let Some((platform_id, said)) = early
        .filter(|(platform_id, said)| stored.message.platform_id.as_ref() == Some(platform_id) && !said.is_empty())
    else {
        return;
    };
    // The best word last, as if each had come in its time.
    for step in [
        (Status::Failed, EventType::MessageFailed),
        (Status::Delivered, EventType::MessageDelivered),
        (Status::Read, EventType::MessageRead),
    ] {
        if let Some((_, error)) = said.iter().find(|(said, _)| *said == step.0) {
            let update = MessageUpdate {
                error: error.clone(),
                ..MessageUpdate::default()
            };
            advance(changes, stored, step, update, last_message_at);
        }
    }
    changes.used_receipts.push((stored.message.channel_id, platform_id));
}

/// Moves a message on, if [`Status::may_become`] lets it, and tells of it.
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

/// An echo that came first and matched nothing was stored as a message of its own: now it is known whose echo it is. Our
/// message stays and the echo's row goes, with its share of the budget; its place in the conversation stays empty, since the
/// places after it were told already. Gives how far the echo had come.
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
    // It was no message from elsewhere, so it says nothing of who has read what.
    if conversation.marks.echoed_at == Some(echo.sent_at) {
        let conversation = conversation.edit();
        conversation.marks.echoed_at = other.echoed_at;
        conversation.conversation.unread = other.unread;
    }
    echo.status
}
