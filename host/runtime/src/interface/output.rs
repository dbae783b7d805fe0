//! Results of a connector's calls, as the host uses them.

use std::time::Duration;

use weir_domain::delivery::Outcome;
use weir_domain::inbound::{InboundEvent, Person};
use weir_domain::message::ContentKind;
use weir_domain::time::Timestamp;

use crate::context::{ConversationFacts, RequestRecord, StateWrites};
use crate::error::CallError;

/// What [`Connector::signal`](crate::Connector::signal) shows the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A typing indicator.
    Typing,
    /// A read receipt.
    Read,
}

/// An account's profile.
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
    /// `business`, `personal`, `unknown`; compared with the manifest's `account_kinds`.
    pub account_kind: String,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<String>,
    /// Platform fields that are not represented here.
    pub platform_data: Option<serde_json::Value>,
}

/// One check of an account's setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupFinding {
    /// `webhook_subscription`, `token`, `permissions`.
    pub subject: String,
    /// Whether it is correct.
    pub ok: bool,
    /// What was found.
    pub evidence: String,
    /// What to do; empty if nothing.
    pub remedy: String,
}

/// Whether a conversation supports a kind of content now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The content kind.
    pub kind: ContentKind,
    /// Whether it is supported.
    pub allowed: bool,
    /// How long this may be cached.
    pub keep: Duration,
}

/// A conversation in the platform's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSummary {
    /// The conversation.
    pub conversation: ConversationFacts,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
}

/// One page of a channel's conversations, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationPage {
    /// The conversations.
    pub conversations: Vec<ConversationSummary>,
    /// The cursor of the next page; none at the end.
    pub cursor: Option<String>,
}

/// Messages of a conversation from the platform's history.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagePage {
    /// Events as webhooks would have delivered them, with the same keys, oldest first. All belong to the requested
    /// channel.
    pub events: Vec<InboundEvent>,
    /// The contact.
    pub contact: Option<Person>,
    /// Whether this is everything since the requested time: only then does absence of a message prove anything.
    pub complete: bool,
}

/// An automatic message of the platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Automation {
    /// `welcome_message`, `suggested_question`, `chat_prompt`, `comment_to_message`.
    pub kind: String,
    /// The platform's id; none for a new message.
    pub id: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// `reviewing`, `approved`, `rejected`.
    pub audit: Option<String>,
    /// Its content.
    pub content: serde_json::Value,
}

/// The result of a poll.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// New events; all belong to the requested channel.
    pub events: Vec<InboundEvent>,
    /// The cursor of the next poll.
    pub cursor: Option<String>,
    /// How long to wait before it.
    pub wait: Duration,
}

/// The result of a send. The outcome takes into account which requests were seen to leave.
#[derive(Debug)]
#[must_use]
pub struct SendReport {
    /// The outcome that settles the message.
    pub outcome: Outcome,
    /// How the call failed, if it did not return.
    pub error: Option<CallError>,
    /// The requests that it tried to make, in order.
    pub requests: Vec<RequestRecord>,
    /// What to commit to the channel's state; empty if the call did not return.
    pub writes: StateWrites,
}
