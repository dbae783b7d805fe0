//! Outbound messages: accepted, leased, attempted, settled.

use serde::{Deserialize, Serialize};
use weir_domain::channel::Channel;
use weir_domain::claim::Claim;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ConversationId, MessageId};
use weir_domain::message::{Content, Draft, Message, MessageError, Origin};
pub use weir_domain::record::RequestRecord;
pub use weir_domain::record::queue::Room;
use weir_domain::time::Timestamp;

/// A message to be accepted.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The workspace of the caller.
    pub workspace_id: String,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its content; of an attachment only the id is used, the rest is read from the database.
    pub content: Content,
    /// Contents that follow in separate messages: all are accepted, or none.
    pub then: Vec<Content>,
    /// The message to quote.
    pub reply_to: Option<MessageId>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// The surface that created it.
    pub origin: Origin,
    /// The caller's idempotency claim.
    pub claim: Option<Claim>,
}

/// The result of accepting a message.
#[derive(Clone, Debug)]
pub enum Enqueued {
    /// It is in the outbox, with those that follow it.
    New(Vec<Message>),
    /// The same request was made before; this was its response.
    Replayed(Vec<Message>),
}

/// A worker's lease of one message, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseToken {
    /// The message.
    pub message: MessageId,
    /// The owner.
    pub owner: String,
    /// Rises with each lease, which detects late writers.
    pub epoch: i64,
}

/// A message to send now.
#[derive(Clone, Debug)]
pub struct MessageLease {
    /// Identifies the lease.
    pub token: LeaseToken,
    /// The message.
    pub message: Message,
    /// The draft to check again and send.
    pub draft: Draft,
    /// Its conversation.
    pub conversation: Conversation,
    /// Its channel.
    pub channel: Channel,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// When the message expires.
    pub expires_at: Option<Timestamp>,
}

/// One attempt of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it was stored, before any request was sent.
    pub started_at: Timestamp,
    /// When it was settled; `None` while it is open.
    pub ended_at: Option<Timestamp>,
    /// `open`, `sent`, `retry`, `held`, `uncertain`, `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// The requests that were sent.
    pub requests: Vec<RequestRecord>,
}

/// A message that may or may not have been sent.
#[derive(Clone, Debug)]
pub struct UncertainMessage {
    /// The message.
    pub message: Message,
    /// Its conversation.
    pub conversation: Conversation,
    /// Its channel.
    pub channel: Channel,
    /// When its last attempt began.
    pub dispatched_at: Timestamp,
}

/// The result that settles an uncertain message.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// The platform has it.
    Found {
        /// The platform id.
        platform_id: String,
        /// The platform's time.
        at: Timestamp,
    },
    /// The platform's history, complete and late enough, was stored. If no message in it can be this one, it is queued
    /// again; if exactly one is, that is it; otherwise it stays uncertain.
    HistoryRead {
        /// The earliest time that the platform can have assigned.
        possible_since: Timestamp,
        /// The time from which a matching message is taken for it.
        likely_since: Timestamp,
    },
    /// A person gives it up.
    GivenUp,
}

/// The number of waiting messages of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Queued or sending.
    pub depth: u64,
    /// Since when the oldest one waits.
    pub oldest_at: Option<Timestamp>,
}
