//! What goes out: accepted, leased, tried, settled.

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
    /// The tenant that asks.
    pub workspace_id: String,
    /// Where it goes.
    pub conversation_id: ConversationId,
    /// What it carries; of an attachment only the id counts, the rest is read from the record.
    pub content: Content,
    /// What follows it in messages of their own: all are accepted, or none.
    pub then: Vec<Content>,
    /// The message to quote.
    pub reply_to: Option<MessageId>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// Which surface made it.
    pub origin: Origin,
    /// The caller's claim to act once.
    pub claim: Option<Claim>,
}

/// What became of a message to be accepted.
#[derive(Clone, Debug)]
pub enum Enqueued {
    /// It is in the outbox, with what follows it.
    New(Vec<Message>),
    /// The same request came before; this was its answer.
    Replayed(Vec<Message>),
}

/// A worker's claim on one message. Lost when it runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseToken {
    /// The message.
    pub message: MessageId,
    /// Who holds it.
    pub owner: String,
    /// Rises with each lease: a late writer is known by it.
    pub epoch: i64,
}

/// A message to be sent now.
#[derive(Clone, Debug)]
pub struct MessageLease {
    /// The claim.
    pub token: LeaseToken,
    /// The message.
    pub message: Message,
    /// What is to be judged again and sent.
    pub draft: Draft,
    /// Where it goes.
    pub conversation: Conversation,
    /// Through what.
    pub channel: Channel,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When the message is of no more use.
    pub expires_at: Option<Timestamp>,
}

/// One try of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it was written down, before anything left.
    pub started_at: Timestamp,
    /// When it was settled; none while it is open.
    pub ended_at: Option<Timestamp>,
    /// `open`, `sent`, `retry`, `held`, `uncertain`, `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// What left.
    pub requests: Vec<RequestRecord>,
}

/// A message that may or may not have been sent.
#[derive(Clone, Debug)]
pub struct UncertainMessage {
    /// The message.
    pub message: Message,
    /// Where it was to go.
    pub conversation: Conversation,
    /// Through what.
    pub channel: Channel,
    /// When its last try began.
    pub dispatched_at: Timestamp,
}

/// What settles an uncertain message.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// It is there.
    Found {
        /// The platform's id of it.
        platform_id: String,
        /// The platform's time of it.
        at: Timestamp,
    },
    /// The platform's history, complete and late enough, was recorded. If nothing in it can be this message it is queued again;
    /// if just one message is it, it is there; else it stays in doubt.
    HistoryRead {
        /// The earliest time that the platform can have given it.
        possible_since: Timestamp,
        /// From when on what looks like it is it.
        likely_since: Timestamp,
    },
    /// A person gives it up.
    GivenUp,
}

/// How many messages of a channel wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Queued or being sent.
    pub depth: u64,
    /// Since when the oldest one waits.
    pub oldest_at: Option<Timestamp>,
}
