//! Who came how, what was refused, who changed what, and how deep the queues are.

use serde::{Deserialize, Serialize};
use weir_domain::id::{ChannelId, ContactId, ConversationId, MessageId, RefusalId};
use weir_domain::message::Referral;
use weir_domain::time::Timestamp;

/// How a contact came, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferralRecord {
    /// The account it came to.
    pub channel_id: ChannelId,
    /// The thread it opened or stands in.
    pub conversation_id: ConversationId,
    /// Who came.
    pub contact_id: ContactId,
    /// How.
    pub referral: Referral,
}

/// A no that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// Its id.
    pub id: RefusalId,
    /// The tenant it was said to.
    pub workspace_id: String,
    /// The channel it is about.
    pub channel_id: Option<ChannelId>,
    /// The conversation it is about.
    pub conversation_id: Option<ConversationId>,
    /// The message it is about.
    pub message_id: Option<MessageId>,
    /// What was asked: `send`, `request`, `state`, `grant`, `webhook`.
    pub about: String,
    /// The rule that decided.
    pub rule: String,
    /// Both sides of it, in a sentence.
    pub detail: String,
    /// The facts, for a program.
    pub facts: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

/// A change that somebody made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// The tenant.
    pub workspace_id: String,
    /// The key, or `host`.
    pub actor: String,
    /// `app.put`, `connector.promote`, `key.create`, …
    pub action: String,
    /// What was changed.
    pub subject: String,
    /// How, without secrets.
    pub detail: serde_json::Value,
}

/// An answer kept under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Of the request.
    pub fingerprint: String,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Depths and ages of the queues.
#[derive(Clone, Debug, Default)]
pub struct Depths {
    /// Messages that wait.
    pub outbox: u64,
    /// Since when the oldest one waits.
    pub outbox_oldest_at: Option<Timestamp>,
    /// Messages in doubt.
    pub uncertain: u64,
    /// When the one longest in doubt left.
    pub uncertain_oldest_at: Option<Timestamp>,
    /// Deliveries that wait.
    pub deliveries: u64,
    /// Since when the oldest one waits.
    pub deliveries_oldest_at: Option<Timestamp>,
    /// Attachments to be fetched.
    pub media: u64,
    /// Since when the oldest one waits.
    pub media_oldest_at: Option<Timestamp>,
    /// Dead letters.
    pub dead_letters: u64,
    /// When the oldest one came.
    pub dead_letters_oldest_at: Option<Timestamp>,
    /// Writes that wait for the writer.
    pub writes: u64,
}
