//! The platform's rules, and what each kind of content may be.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RouteClass;
use crate::message::ContentKind;

/// A rule of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Policy {
    /// The messaging window.
    Window {
        /// Its length in milliseconds.
        length_ms: u64,
    },
    /// The message budget.
    Budget {
        /// Messages until the contact writes again.
        limit: u32,
        /// Origins counted besides ours.
        counts: Vec<String>,
    },
    /// Requests in a span, waited for.
    Rate {
        /// How many.
        permits: u32,
        /// In how many milliseconds.
        per_ms: u32,
        /// Counted for whom.
        scope: RateScope,
        /// Which requests count.
        classes: Vec<RouteClass>,
    },
    /// Countries in which something cannot be had.
    Region {
        /// Its name.
        id: String,
        /// What.
        what: RegionSubject,
        /// ISO 3166-1 alpha-2.
        countries: Vec<String>,
        /// Where and when the platform said so.
        source: String,
    },
    /// Whether a business may write first.
    Initiation {
        /// The answer.
        allowed: bool,
    },
    /// Whether one message may go to many.
    Broadcast {
        /// The answer.
        allowed: bool,
    },
}

/// For whom a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateScope {
    /// All channels of an app together.
    App,
    /// Each channel by itself.
    Channel,
}

/// What a region rule takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegionSubject {
    /// Connecting the account, and using it.
    Connect,
    /// Pictures.
    Images,
}

/// What a kind of content may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContentRule {
    /// The kind.
    pub kind: ContentKind,
    /// On the way in.
    pub inbound: Support,
    /// On the way out.
    pub outbound: Support,
    /// Longest text; 0 for no limit.
    pub max_chars: u32,
    /// Largest file; 0 for no limit.
    pub max_bytes: u64,
    /// Types of file; empty for any.
    pub mime_types: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Must the connector be asked about each conversation?
    pub probed: bool,
}

/// How far a kind of content is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// Wholly.
    Full,
    /// It arrives as fallback content.
    Fallback,
    /// Not at all.
    Rejected,
    /// Off until the operator switches it on.
    OptIn,
}

/// How a status becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// The platform says it.
    Native,
    /// It follows from something else.
    Inferred,
    /// It does not.
    None,
}

/// Which statuses can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statuses {
    /// The platform took the message.
    pub sent: Knowledge,
    /// It reached the phone.
    pub delivered: Knowledge,
    /// It was read.
    pub read: Knowledge,
    /// It could not be sent.
    pub failed: Knowledge,
}
