//! Referrals, refusals, the audit log, erasure and retention, and the depths of queues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_domain::erasure::Removed;
use weir_domain::id::{ChannelId, ContactId, ConversationId, EndpointId, MediaId, MessageId, RefusalId};
use weir_domain::message::Referral;
use weir_domain::time::Timestamp;

/// A referral, with the contact it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferralRecord {
    /// The channel.
    pub channel_id: ChannelId,
    /// The conversation that it opened or belongs to.
    pub conversation_id: ConversationId,
    /// The contact.
    pub contact_id: ContactId,
    /// The referral itself.
    pub referral: Referral,
    /// The last result of fetching the ad, if it was fetched.
    pub ad: Option<AdAnswer>,
}

/// The result of fetching an ad: cached, also if it is negative, so that the platform is not asked repeatedly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdAnswer {
    /// The platform's document; `None` if it has none.
    pub preview: Option<serde_json::Value>,
    /// Why there is no document: `smart_plus_campaign`, `not_an_ad`, `no_preview`, or the platform's refusal in Weir's
    /// wording.
    pub reason: Option<String>,
    /// The reason as a sentence.
    pub detail: Option<String>,
    /// When it was fetched.
    pub at: Timestamp,
    /// Until when it is cached.
    pub until: Timestamp,
}

/// What an erasure deleted immediately. Documents that name the person without an index are searched afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Attachments and uploads, whose files are to be removed.
    pub media: Vec<MediaId>,
    /// The numbers of deleted rows.
    pub removed: Removed,
}

/// The progress of the erasures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasing {
    /// All erasures are complete.
    Over,
    /// Another step remains.
    More,
    /// The log can be truncated only when another process has finished reading it.
    Waits,
}

/// The oldest time to keep, by kind; `None` keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptSince {
    /// Messages, with their attempts and events.
    pub messages: Option<Timestamp>,
    /// Attachments and uploads.
    pub media: Option<Timestamp>,
    /// Dead letters.
    pub dead_letters: Option<Timestamp>,
    /// Keys of facts, by which repetitions are recognized. They are deleted by spans of [`weir_domain::limits::SEEN`],
    /// once all of a span is older.
    pub seen: Option<Timestamp>,
    /// The present: later dates, from a clock that was wrong, are skipped, so that they do not block the deletion of
    /// older rows. `None` skips nothing.
    pub now: Option<Timestamp>,
    /// Where the previous step ended.
    pub place: ForgetPlace,
}

impl KeptSince {
    /// Whether the date `at` comes from a clock that was wrong.
    pub fn is_ahead(&self, at: Timestamp) -> bool {
        self.now.is_some_and(|now| at > now)
    }
}

/// The position of a deletion by age, so that rows that must stay are skipped only once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgetPlace {
    /// The last delivery read.
    pub delivery: i64,
    /// The last event read.
    pub event: i64,
}

/// What one step deleted by age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages.
    pub messages: u32,
    /// Events.
    pub events: u32,
    /// Attachments and uploads, whose files are to be removed.
    pub media: u32,
    /// Dead letters.
    pub dead_letters: u32,
    /// Keys of facts.
    pub seen: u32,
    /// Deliveries that a disabled endpoint never received, by endpoint.
    pub missed: BTreeMap<EndpointId, u32>,
    /// Whether the step reached its limit: more may follow, from `place` on.
    pub more: bool,
    /// Where this step ended.
    pub place: ForgetPlace,
}

/// A stored refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// Its id.
    pub id: RefusalId,
    /// The workspace of the caller.
    pub workspace_id: String,
    /// The channel it is about.
    pub channel_id: Option<ChannelId>,
    /// The conversation it is about.
    pub conversation_id: Option<ConversationId>,
    /// The message it is about.
    pub message_id: Option<MessageId>,
    /// What was requested.
    pub about: RefusedWhat,
    /// The requester: the channel of a message, the connector of all else.
    pub whom: String,
    /// The rule that refused.
    pub rule: String,
    /// The facts on both sides, in a sentence.
    pub detail: String,
    /// The facts, for a program.
    pub facts: serde_json::Value,
    /// When the decision may change.
    pub changes: String,
    /// What would allow it.
    pub remedy: String,
    /// When it was refused.
    pub at: Timestamp,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedWhat {
    /// Sending a message.
    Send,
    /// A connector's request to the network.
    Request,
    /// A connector's state.
    State,
    /// Installing a version of a connector, or letting it serve.
    Grant,
}

/// How often a rule refused a requester.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// What was requested.
    pub about: RefusedWhat,
    /// The requester.
    pub whom: String,
    /// The rule.
    pub rule: String,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// The last of them; it may be deleted already.
    pub last: RefusalId,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When the change was made.
    pub at: Timestamp,
    /// The workspace.
    pub workspace_id: String,
    /// The key, or `host`.
    pub actor: String,
    /// `app.put`, `connector.promote`, `key.create`, …
    pub action: String,
    /// What was changed.
    pub subject: String,
    /// The change, without secrets.
    pub detail: serde_json::Value,
}

/// A response stored under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Depths and ages of the queues.
#[derive(Clone, Debug, Default)]
pub struct Depths {
    /// Waiting messages.
    pub outbox: u64,
    /// Since when the oldest one waits.
    pub outbox_oldest_at: Option<Timestamp>,
    /// Uncertain messages.
    pub uncertain: u64,
    /// When the oldest uncertain message was sent.
    pub uncertain_oldest_at: Option<Timestamp>,
    /// Waiting deliveries.
    pub deliveries: u64,
    /// Since when the oldest one waits.
    pub deliveries_oldest_at: Option<Timestamp>,
    /// Attachments to be fetched.
    pub media: u64,
    /// Since when the oldest one waits.
    pub media_oldest_at: Option<Timestamp>,
    /// Dead letters.
    pub dead_letters: u64,
    /// Those of the app with the most; the bound of each is [`weir_domain::limits::DEAD_LETTERS`].
    pub dead_letters_of_one_app: u64,
    /// When the oldest one arrived.
    pub dead_letters_oldest_at: Option<Timestamp>,
    /// Writes that wait for the writer.
    pub writes: u64,
    /// Bytes of the write-ahead log's file.
    pub log_bytes: u64,
}
