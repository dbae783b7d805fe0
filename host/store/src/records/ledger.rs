//! Who came how, what was refused, who changed what, and how deep the queues are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_domain::erasure::Removed;
use weir_domain::id::{ChannelId, ContactId, ConversationId, EndpointId, MediaId, MessageId, RefusalId};
use weir_domain::message::Referral;
use weir_domain::time::Timestamp;

/// How a contact came, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferralRecord {
    /// The account it came to.
    pub channel_id: ChannelId,
    /// The thread it opened or stands in.
    pub conversation_id: ConversationId,
    /// Who came.
    pub contact_id: ContactId,
    /// How.
    pub referral: Referral,
    /// What was last found out of the ad, if anybody asked.
    pub ad: Option<AdAnswer>,
}

/// What was found out of an ad: kept, also when it is nothing, so that the platform is not asked again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdAnswer {
    /// The platform's document; none where it has none.
    pub preview: Option<serde_json::Value>,
    /// Why there is none: `smart_plus_campaign`, `not_an_ad`, `no_preview`, or the platform's refusal in our words.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub detail: Option<String>,
    /// When it was found out.
    pub at: Timestamp,
    /// How long it is taken as it is.
    pub until: Timestamp,
}

/// What an erasure removed at once. Documents that name the person without an index to find them by are read afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Attachments and uploads, whose files are to be removed.
    pub media: Vec<MediaId>,
    /// How much.
    pub removed: Removed,
}

/// Where the erasures stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasing {
    /// Nothing of those who were erased is left.
    Over,
    /// The next step is to be taken.
    More,
    /// The log can be emptied only when somebody outside has ended reading it.
    Waits,
}

/// From when on things are kept; none for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptSince {
    /// Messages, with their attempts and events.
    pub messages: Option<Timestamp>,
    /// Attachments and uploads.
    pub media: Option<Timestamp>,
    /// Dead letters.
    pub dead_letters: Option<Timestamp>,
    /// Keys of facts, by which one that is told again is known. They go by spans of [`weir_domain::limits::SEEN`], once all of
    /// a span is older.
    pub seen: Option<Timestamp>,
    /// Now: what is dated later, by a clock that was wrong once, is passed over, so that it holds nothing older up. None passes
    /// nothing over.
    pub now: Option<Timestamp>,
    /// Where the step before this one ended.
    pub place: ForgetPlace,
}

impl KeptSince {
    /// Whether something dated `at` comes from a clock that was wrong.
    pub fn is_ahead(&self, at: Timestamp) -> bool {
        self.now.is_some_and(|now| at > now)
    }
}

/// How far a walk over what is old has come, so that what must stay is passed over once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgetPlace {
    /// The last delivery looked at.
    pub delivery: i64,
    /// The last event looked at.
    pub event: i64,
}

/// What was deleted by its age in one step.
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
    /// Deliveries that a disabled endpoint never took, by endpoint.
    pub missed: BTreeMap<EndpointId, u32>,
    /// Whether the step ended at its bound: there may be more, from `place` on.
    pub more: bool,
    /// Where this step ended.
    pub place: ForgetPlace,
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
    /// What was asked.
    pub about: RefusedWhat,
    /// Who asked: the channel of a message, the connector of all else.
    pub whom: String,
    /// The rule that decided.
    pub rule: String,
    /// Both sides of it, in a sentence.
    pub detail: String,
    /// The facts, for a program.
    pub facts: serde_json::Value,
    /// What has to happen before the answer is another.
    pub changes: String,
    /// What would allow it.
    pub remedy: String,
    /// When.
    pub at: Timestamp,
}

/// What somebody was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedWhat {
    /// To send a message.
    Send,
    /// A connector: a request to the network.
    Request,
    /// A connector: its state.
    State,
    /// A version of a connector: to be installed, or to serve.
    Grant,
}

/// How often a rule said no to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCount {
    /// What was asked.
    pub about: RefusedWhat,
    /// Who asked.
    pub whom: String,
    /// The rule.
    pub rule: String,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// The last of them; it may be forgotten already.
    pub last: RefusalId,
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
    /// Those of the app that has most; the bound of each is [`weir_domain::limits::DEAD_LETTERS`].
    pub dead_letters_of_one_app: u64,
    /// When the oldest one came.
    pub dead_letters_oldest_at: Option<Timestamp>,
    /// Writes that wait for the writer.
    pub writes: u64,
    /// Bytes of the record's log that are not folded into it yet, or that its file keeps.
    pub log_bytes: u64,
}
