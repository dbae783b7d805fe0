//! What a connector made of a webhook: facts about a channel, in the words of the platform's ids.

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

/// The person on the other side, by the platform's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Stable within the channel.
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
