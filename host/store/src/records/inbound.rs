//! Inbound data: gaps in the history, and webhooks that could not be translated.

use weir_domain::id::{ChannelId, DeadLetterId};
pub use weir_domain::record::inbound::{Recorded, Source};
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

/// A conversation whose history the platform refused to return, and what remains to be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryGap {
    /// The channel.
    pub channel: ChannelId,
    /// The platform's id of the conversation.
    pub conversation: String,
    /// The platform's id of the person, when known.
    pub contact: Option<String>,
    /// Whether the business has written in it.
    pub answered: bool,
    /// The moment from which it is to be read.
    pub since: Timestamp,
    /// The number of attempts.
    pub attempts: u32,
    /// When it is attempted again; `None` for never.
    pub due_at: Option<Timestamp>,
    /// The reason of the refusal, for a person.
    pub detail: String,
}

/// A verified webhook that could not be translated.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The app that received it.
    pub app: String,
    /// The version of the connector that failed.
    pub version: String,
    /// The reason, for a person.
    pub reason: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The webhook; the body is empty in lists.
    pub webhook: RawWebhook,
}
