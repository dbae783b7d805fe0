//! What a connector made of a webhook: facts about a channel, in the words of the platform's ids.

use std::time::Duration;

use crate::message::{Content, Direction, MessageError, Origin, Referral};
use crate::time::Timestamp;

/// Bytes that are still with the platform.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RemoteMedia {
    /// What the connector's `media-transfer.locate` is given to find them.
    pub reference: String,
    /// As the platform says; sniffed when fetched.
    pub mime_type: Option<String>,
    /// As the platform says.
    pub size: Option<u64>,
    /// As the platform says.
    pub filename: Option<String>,
}

/// An event, and the account that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundEvent {
    /// The platform's id of the account.
    pub channel_platform_id: String,
    /// Stable over redeliveries; acted on once in a channel.
    pub key: String,
    /// What happened.
    pub fact: Fact,
}

impl InboundEvent {
    /// Whether it is a message of the contact whose key is the platform's id of it, so that the message's own row says that it is
    /// known. The row of a message of ours can lose its platform id, by a retry.
    pub fn is_keyed_by_message(&self) -> bool {
        matches!(&self.fact, Fact::Message(message)
            if message.direction == Direction::Inbound && message.part == 0 && message.platform_id == self.key)
    }

    /// The same event, received at `received_at`, with times that can be: see [`Timestamp::plausible`]. A message keeps the
    /// time that the platform said in its `platform_data`, as `platform_sent_at`.
    #[must_use]
    pub fn with_plausible_times(mut self, received_at: Timestamp, tolerance: Duration) -> Self {
        let mend = |at: &mut Timestamp| {
            let said = std::mem::replace(at, at.plausible(received_at, tolerance));
            (said != *at).then_some(said)
        };
        let mend_referral = |referral: &mut Referral| {
            if let Some(at) = &mut referral.at {
                mend(at);
            }
        };
        match &mut self.fact {
            Fact::Message(message) => {
                if let Some(said) = mend(&mut message.sent_at) {
                    message.keep(said);
                }
                message.referral.iter_mut().for_each(mend_referral);
            }
            Fact::Receipt { at, target, .. } => {
                mend(at);
                // One too early names no message of ours; now would name them all.
                if let ReceiptTarget::UpTo(up_to) = target
                    && *up_to > received_at
                {
                    mend(up_to);
                }
            }
            Fact::Reaction { at, .. } | Fact::Notice { at, .. } => {
                mend(at);
            }
            Fact::Arrival { at, referral, .. } => {
                mend(at);
                mend_referral(referral);
            }
            Fact::Unknown { .. } => {}
        }
        self
    }
}

/// The person on the other side, by the platform's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Stable within the channel; empty where an event leaves the person out, who is then the conversation's.
    pub platform_id: String,
    /// The handle.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A message, in or out.
    Message(Box<InboundMessage>),
    /// The platform's later word on messages of ours.
    Receipt {
        /// The platform's id of the thread.
        conversation: String,
        /// What became of them.
        status: ReceiptStatus,
        /// Which.
        target: ReceiptTarget,
        /// When.
        at: Timestamp,
        /// Why they failed.
        error: Option<MessageError>,
    },
    /// A reaction to a message.
    Reaction {
        /// The platform's id of the thread.
        conversation: String,
        /// Who.
        contact: Person,
        /// The platform's id of the message.
        message: String,
        /// The emoji.
        emoji: Option<String>,
        /// A picture in its place.
        url: Option<String>,
        /// Who reacted: the contact, or the business from another surface.
        direction: Direction,
        /// Added, or taken back.
        added: bool,
        /// When.
        at: Timestamp,
    },
    /// A contact came and has written nothing.
    Arrival {
        /// The platform's id of the thread.
        conversation: String,
        /// Who.
        contact: Person,
        /// How.
        referral: Referral,
        /// When.
        at: Timestamp,
    },
    /// Something about the channel itself.
    Notice {
        /// What: `inbound_withheld`, `authorization_revoked`, …
        kind: String,
        /// When.
        at: Timestamp,
        /// The platform's document.
        detail: serde_json::Value,
    },
    /// What the connector does not know.
    Unknown {
        /// The platform's word for it.
        what: String,
    },
}

/// A message that the platform told of.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundMessage {
    /// The platform's id of it.
    pub platform_id: String,
    /// Its place among the parts of one platform message.
    pub part: u32,
    /// The platform's id of the thread.
    pub conversation: String,
    /// The person on the other side.
    pub contact: Person,
    /// Which way it went.
    pub direction: Direction,
    /// Which surface made it.
    pub origin: Origin,
    /// The platform's time of it.
    pub sent_at: Timestamp,
    /// What it carries.
    pub content: Content<RemoteMedia>,
    /// The platform's id of the message it quotes.
    pub reply_to: Option<String>,
    /// How the contact came.
    pub referral: Option<Referral>,
    /// Which button it answers.
    pub answers: Option<String>,
    /// Platform fields without a place here.
    pub platform_data: Option<serde_json::Value>,
}

impl InboundMessage {
    /// Keeps the time that the platform said and that cannot be.
    fn keep(&mut self, said: Timestamp) {
        let mut data = match self.platform_data.take() {
            Some(data @ serde_json::Value::Object(_)) => data,
            Some(other) => serde_json::json!({ "platform_data": other }),
            None => serde_json::json!({}),
        };
        data["platform_sent_at"] = said.to_string().into();
        self.platform_data = Some(data);
    }
}

/// What became of messages of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// They reached the phone.
    Delivered,
    /// They were read.
    Read,
    /// They were not delivered after all.
    Failed,
}

/// Which messages a receipt is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptTarget {
    /// These, by the platform's ids.
    Messages(Vec<String>),
    /// All of ours sent at or before this moment.
    UpTo(Timestamp),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fact: Fact) -> InboundEvent {
        InboundEvent {
            channel_platform_id: "B".into(),
            key: "k".into(),
            fact,
        }
    }

    const TOLERANCE: Duration = Duration::from_secs(300);

    #[test]
    fn a_message_keeps_what_the_platform_said() {
        let now = Timestamp::from_millis(1_735_689_600_000);
        let message = InboundMessage {
            platform_id: "M".into(),
            part: 0,
            conversation: "C".into(),
            contact: Person::default(),
            direction: Direction::Inbound,
            origin: Origin::Contact,
            sent_at: Timestamp::MAX,
            content: Content::Text { text: "hi".into() },
            reply_to: None,
            referral: None,
            answers: None,
            platform_data: Some(serde_json::json!({ "kept": 1 })),
        };
        let Fact::Message(message) = event(Fact::Message(Box::new(message)))
            .with_plausible_times(now, TOLERANCE)
            .fact
        else {
            panic!("not a message")
        };
        assert_eq!(message.sent_at, now);
        let data = message.platform_data.unwrap_or_default();
        assert_eq!(
            (&data["kept"], &data["platform_sent_at"]),
            (&1.into(), &"9999-12-30T00:00:00.000Z".into())
        );
    }

    #[test]
    fn a_read_mark_never_covers_more_than_it_said() {
        let now = Timestamp::from_millis(1_735_689_600_000);
        for (said, kept) in [(Timestamp::MAX, now), (Timestamp::default(), Timestamp::default())] {
            let receipt = Fact::Receipt {
                conversation: "C".into(),
                status: ReceiptStatus::Read,
                target: ReceiptTarget::UpTo(said),
                at: said,
                error: None,
            };
            let Fact::Receipt { target, at, .. } = event(receipt).with_plausible_times(now, TOLERANCE).fact else {
                panic!("not a receipt")
            };
            assert_eq!((target, at), (ReceiptTarget::UpTo(kept), now));
        }
    }
}
