//! Inbound facts: a connector's translation of a webhook, with the platform's ids.

use std::time::Duration;

use crate::message::{Content, Direction, MessageError, Origin, Referral};
use crate::time::Timestamp;

/// Media that the platform still has.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RemoteMedia {
    /// The reference that the connector's `media-transfer.locate` receives.
    pub reference: String,
    /// As reported by the platform; sniffed when fetched.
    pub mime_type: Option<String>,
    /// As reported by the platform.
    pub size: Option<u64>,
    /// As reported by the platform.
    pub filename: Option<String>,
}

/// An event, and its account.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundEvent {
    /// The platform's id of the account.
    pub channel_platform_id: String,
    /// The same in repeated webhooks; applied once in a channel.
    pub key: String,
    /// What happened.
    pub fact: Fact,
}

impl InboundEvent {
    /// Whether it is a message of the contact whose key is its platform id, so that the message's own row shows that it
    /// is known. The row of an outbound message can lose its platform id, by a retry.
    pub fn is_keyed_by_message(&self) -> bool {
        matches!(&self.fact, Fact::Message(message)
            if message.direction == Direction::Inbound && message.part == 0 && message.platform_id == self.key)
    }

    /// The same event, received at `received_at`, with plausible times: see [`Timestamp::plausible`]. A message keeps
    /// the original time in its `platform_data`, as `platform_sent_at`.
    #[must_use]
    pub fn with_plausible_times(mut self, received_at: Timestamp, tolerance: Duration) -> Self {
        let mend = |at: &mut Timestamp| {
            let before = std::mem::replace(at, at.plausible(received_at, tolerance));
            (before != *at).then_some(before)
        };
        let mend_referral = |referral: &mut Referral| {
            if let Some(at) = &mut referral.at {
                mend(at);
            }
        };
        match &mut self.fact {
            Fact::Message(message) => {
                if let Some(before) = mend(&mut message.sent_at) {
                    message.keep(before);
                }
                message.referral.iter_mut().for_each(mend_referral);
            }
            Fact::Receipt { at, target, .. } => {
                mend(at);
                // A time that is too early covers no outbound message; the present would cover all.
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

/// The contact, by the platform's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The same within the channel; empty if an event leaves the person out, who is then the conversation's contact.
    pub platform_id: String,
    /// The handle.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture.
    pub avatar_url: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A message, in or out.
    Message(Box<InboundMessage>),
    /// A receipt for outbound messages.
    Receipt {
        /// The platform's id of the thread.
        conversation: String,
        /// Their new status.
        status: ReceiptStatus,
        /// The messages.
        target: ReceiptTarget,
        /// The platform's time.
        at: Timestamp,
        /// Why they failed.
        error: Option<MessageError>,
    },
    /// A reaction to a message.
    Reaction {
        /// The platform's id of the thread.
        conversation: String,
        /// The contact.
        contact: Person,
        /// The platform's id of the message.
        message: String,
        /// The emoji.
        emoji: Option<String>,
        /// The URL of a picture, instead of an emoji.
        url: Option<String>,
        /// Who reacted: the contact, or the business from another surface.
        direction: Direction,
        /// Whether it was added or removed.
        added: bool,
        /// The platform's time.
        at: Timestamp,
    },
    /// A contact arrived and has written nothing.
    Arrival {
        /// The platform's id of the thread.
        conversation: String,
        /// The contact.
        contact: Person,
        /// The referral.
        referral: Referral,
        /// The platform's time.
        at: Timestamp,
    },
    /// A notice about the channel itself.
    Notice {
        /// The notice: `inbound_withheld`, `authorization_revoked`, …
        kind: String,
        /// The platform's time.
        at: Timestamp,
        /// The platform's document.
        detail: serde_json::Value,
    },
    /// An event that the connector does not know.
    Unknown {
        /// The platform's name of it.
        what: String,
    },
}

/// A message that the platform reports.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundMessage {
    /// The platform's id of it.
    pub platform_id: String,
    /// Its index among the parts of one platform message.
    pub part: u32,
    /// The platform's id of the thread.
    pub conversation: String,
    /// The contact.
    pub contact: Person,
    /// The direction.
    pub direction: Direction,
    /// The surface that created it.
    pub origin: Origin,
    /// The platform's time of it.
    pub sent_at: Timestamp,
    /// The content.
    pub content: Content<RemoteMedia>,
    /// The platform's id of the message it quotes.
    pub reply_to: Option<String>,
    /// How the contact arrived.
    pub referral: Option<Referral>,
    /// The button that it answers.
    pub answers: Option<String>,
    /// Platform fields that have no member here.
    pub platform_data: Option<serde_json::Value>,
}

impl InboundMessage {
    /// Stores the platform's time that is not plausible.
    fn keep(&mut self, before: Timestamp) {
        let mut data = match self.platform_data.take() {
            Some(data @ serde_json::Value::Object(_)) => data,
            Some(other) => serde_json::json!({ "platform_data": other }),
            None => serde_json::json!({}),
        };
        data["platform_sent_at"] = before.to_string().into();
        self.platform_data = Some(data);
    }
}

/// The new status of outbound messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptStatus {
    /// They were delivered to the device.
    Delivered,
    /// They were read.
    Read,
    /// They were not delivered after all.
    Failed,
}

/// The messages that a receipt concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptTarget {
    /// These, by the platform's ids.
    Messages(Vec<String>),
    /// All outbound messages sent at or before this moment.
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
    fn message_keeps_platform_data() {
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
    fn read_receipt_covers_only_its_watermark() {
        let now = Timestamp::from_millis(1_735_689_600_000);
        for (before, kept) in [(Timestamp::MAX, now), (Timestamp::default(), Timestamp::default())] {
            let receipt = Fact::Receipt {
                conversation: "C".into(),
                status: ReceiptStatus::Read,
                target: ReceiptTarget::UpTo(before),
                at: before,
                error: None,
            };
            let Fact::Receipt { target, at, .. } = event(receipt).with_plausible_times(now, TOLERANCE).fact else {
                panic!("not a receipt")
            };
            assert_eq!((target, at), (ReceiptTarget::UpTo(kept), now));
        }
    }
}
