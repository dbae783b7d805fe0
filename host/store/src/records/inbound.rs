//! What comes in, and what could not be translated.

use weir_domain::id::{ChannelId, DeadLetterId};
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

/// Where inbound facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The platform's history, read by the reconciler.
    History,
}

/// What became of the events of one webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// New.
    pub stored: u32,
    /// Seen before.
    pub duplicates: u32,
    /// For an account that the app does not know.
    pub unknown_channel: u32,
    /// For a deleted channel.
    pub deleted_channel: u32,
    /// That the connector did not know; the caller keeps the webhook as a dead letter.
    pub unknown_events: u32,
    /// Attachments that are to be fetched.
    pub media: u32,
}

impl std::ops::AddAssign for Recorded {
    fn add_assign(&mut self, other: Self) {
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.unknown_channel += other.unknown_channel;
        self.deleted_channel += other.deleted_channel;
        self.unknown_events += other.unknown_events;
        self.media += other.media;
    }
}

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
