//! What comes in, and what could not be translated.

use weir_domain::id::{ChannelId, DeadLetterId};
pub use weir_domain::record::inbound::{Recorded, Source};
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

/// A conversation whose history the platform refused to show, and what was to be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryGap {
    /// Whose it is.
    pub channel: ChannelId,
    /// The platform's id of the conversation.
    pub conversation: String,
    /// The platform's id of the person, when known.
    pub contact: Option<String>,
    /// Whether the business has written in it.
    pub answered: bool,
    /// From when on it is to be read.
    pub since: Timestamp,
    /// How often it was asked for.
    pub attempts: u32,
    /// When it is asked for again; none if it is not.
    pub due_at: Option<Timestamp>,
    /// Why it was refused, for a person.
    pub detail: String,
}

/// A verified webhook that could not be translated.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The app it came to.
    pub app: String,
    /// The connector's version that failed.
    pub version: String,
    /// Why, for a person.
    pub reason: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The webhook; the body is empty in lists.
    pub webhook: RawWebhook,
}
