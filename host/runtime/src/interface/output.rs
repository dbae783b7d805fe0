//! What a connector's calls give, in the host's types.

use std::time::Duration;

use weir_domain::delivery::Outcome;
use weir_domain::inbound::{InboundEvent, Person};
use weir_domain::message::ContentKind;
use weir_domain::time::Timestamp;

use crate::context::{ConversationFacts, RequestRecord, StateWrites};
use crate::error::CallError;

/// Typing, or a read mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Somebody types.
    Typing,
    /// Their messages were read.
    Read,
}

/// Who an account is.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The platform's id of the account.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture; most platforms' links expire.
    pub avatar_url: Option<String>,
    /// `business`, `personal`, `unknown`; to be held against the manifest's `account_kinds`.
    pub account_kind: String,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<String>,
    /// Platform fields without a place here.
    pub platform_data: Option<serde_json::Value>,
}

/// One thing that was looked at in the diagnosis of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFinding {
    /// `webhook_subscription`, `token`, `permissions`.
    pub subject: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was seen.
    pub evidence: String,
    /// What to do, if anything.
    pub remedy: String,
}

/// Whether a conversation can carry a kind of content now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The kind.
    pub kind: ContentKind,
    /// Whether it can.
    pub allowed: bool,
    /// How long the answer may be kept.
    pub keep: Duration,
}

/// A conversation in the platform's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSummary {
    /// Which.
    pub conversation: ConversationFacts,
    /// When something last happened in it.
    pub updated_at: Option<Timestamp>,
}

/// One page of a channel's conversations, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationPage {
    /// The conversations.
    pub conversations: Vec<ConversationSummary>,
    /// What to ask for the next page; none at the end.
    pub cursor: Option<String>,
}

/// What the platform's own record holds of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagePage {
    /// Messages as webhooks would have told them, with the same keys, oldest first. All of the channel that was asked about.
    pub events: Vec<InboundEvent>,
    /// The person on the other side.
    pub contact: Option<Person>,
    /// Whether this is everything since the moment that was asked for: only then does absence prove anything.
    pub complete: bool,
}

/// An automatic message of the platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Automation {
    /// `welcome_message`, `suggested_question`, `chat_prompt`, `comment_to_message`.
    pub kind: String,
    /// The platform's id; none for a new one.
    pub id: Option<String>,
    /// Whether it is in use.
    pub enabled: bool,
    /// `reviewing`, `approved`, `rejected`.
    pub audit: Option<String>,
    /// What it says.
    pub content: serde_json::Value,
}

/// What a poll brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The news, all of the channel that was asked about.
    pub events: Vec<InboundEvent>,
    /// What to ask with the next time.
    pub cursor: Option<String>,
    /// How long to wait until then.
    pub wait: Duration,
}

/// What a send came to. The outcome is already held against what was seen to leave.
#[derive(Debug)]
#[must_use]
pub struct SendReport {
    /// What the delivery is settled by.
    pub outcome: Outcome,
    /// How the call ended, if it did not return.
    pub error: Option<CallError>,
    /// The requests that it tried to make, in order.
    pub requests: Vec<RequestRecord>,
    /// What to commit to the channel's state; empty if the call did not return.
    pub writes: StateWrites,
}
