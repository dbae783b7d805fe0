//! A message as stored, and the one place that changes its status.

use crate::message::{Message, MessageError, Status};
use crate::time::Timestamp;

/// A message, and the members that only the database needs.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    pub message: Message,
    pub workspace: String,
    /// Its index among the parts of one platform message.
    pub part: u32,
    /// Whether it took a share of the budget.
    pub counted: bool,
    /// The time that orders it in its conversation; `None` while it is queued, after all others.
    pub stands_at: Option<Timestamp>,
}

/// Changes of a message besides its status.
#[derive(Clone, Debug, Default)]
pub struct MessageUpdate {
    pub platform_id: Option<String>,
    pub sent_at: Option<Timestamp>,
    /// `None` clears it.
    pub error: Option<MessageError>,
}

impl StoredMessage {
    /// A new stored message.
    pub fn new(workspace: &str, message: Message, part: u32, counted: bool) -> Self {
        let stands_at = (!message.status.is_unsettled()).then_some(message.sent_at);
        Self {
            message,
            workspace: workspace.to_owned(),
            part,
            counted,
            stands_at,
        }
    }

    /// Advances the status, if [`Status::may_become`] allows it; returns whether it did. `last_message_at` is the
    /// conversation's: a message that is given up is ordered after the messages that the conversation had then.
    pub fn advance(&mut self, status: Status, update: MessageUpdate, last_message_at: Option<Timestamp>) -> bool {
        let may = self.message.status.may_become(status);
        if may {
            self.restart(status, update, last_message_at);
        }
        may
    }

    /// Sets a status unconditionally: for a manual retry.
    pub fn restart(&mut self, status: Status, update: MessageUpdate, last_message_at: Option<Timestamp>) {
        let message = &mut self.message;
        let waited = message.status.is_unsettled();
        let moves = update.platform_id.is_some() || update.sent_at.is_some() || waited != status.is_unsettled();
        message.status = status;
        message.error = update.error;
        if !moves {
            return;
        }
        message.platform_id = update.platform_id.or(message.platform_id.take());
        message.sent_at = update.sent_at.unwrap_or(message.sent_at);
        self.stands_at = match status {
            Status::Queued | Status::Sending | Status::Uncertain => None,
            Status::Failed | Status::Cancelled => Some(message.sent_at.max(last_message_at.unwrap_or_default())),
            Status::Received | Status::Sent | Status::Delivered | Status::Read => Some(message.sent_at),
        };
    }

    /// Whether the budget of its window counts it, besides those whose outcome is open.
    pub fn counts(&self) -> bool {
        let is_settled = matches!(
            self.message.status,
            Status::Sent | Status::Delivered | Status::Read | Status::Failed
        );
        self.counted && is_settled
    }

    /// Sets the platform's time of a message that the platform has.
    pub fn date(&mut self, sent_at: Timestamp) {
        self.message.sent_at = sent_at;
        self.stands_at = Some(sent_at);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::{Id, MessageId};
    use crate::message::{Content, Direction, Origin};

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn queued() -> StoredMessage {
        let id = |n: u128| uuid::Uuid::from_u128(n);
        StoredMessage::new(
            "default",
            Message {
                id: MessageId::from_uuid(id(1)),
                channel_id: Id::from_uuid(id(2)),
                conversation_id: Id::from_uuid(id(3)),
                contact_id: Id::from_uuid(id(4)),
                direction: Direction::Outbound,
                origin: Origin::Api,
                status: Status::Queued,
                content: Content::Text { text: "hi".into() },
                platform_id: None,
                reply_to: None,
                referral: None,
                client_ref: None,
                error: None,
                warnings: Vec::new(),
                answers: None,
                platform_data: None,
                sent_at: at(10),
                created_at: at(10),
                sequence: 1,
            },
            0,
            true,
        )
    }

    #[test]
    fn a_message_that_waits_stands_last() {
        let mut stored = queued();
        assert_eq!(stored.stands_at, None);
        let update = MessageUpdate {
            sent_at: Some(at(12)),
            ..MessageUpdate::default()
        };
        assert!(stored.advance(Status::Sent, update, None));
        assert_eq!((stored.stands_at, stored.message.sent_at), (Some(at(12)), at(12)));
    }

    #[test]
    fn a_message_given_up_stays_behind_what_was_there() {
        let mut stored = queued();
        assert!(stored.advance(Status::Failed, MessageUpdate::default(), Some(at(20))));
        assert_eq!(stored.stands_at, Some(at(20)));
        assert!(!stored.advance(Status::Cancelled, MessageUpdate::default(), None));
    }
}
