//! The platform's rules, and the limits of each kind of content.

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
        /// Origins that count besides Weir's.
        counts: Vec<String>,
    },
    /// A rate limit; requests wait for it.
    Rate {
        /// The number of requests.
        permits: u32,
        /// The span in milliseconds.
        per_ms: u32,
        /// What is counted together.
        scope: RateScope,
        /// The classes of requests that count.
        classes: Vec<RouteClass>,
    },
    /// Countries in which something is not available.
    Region {
        /// Its name.
        id: String,
        /// What is not available.
        what: RegionSubject,
        /// ISO 3166-1 alpha-2.
        countries: Vec<String>,
        /// Where and when the platform documented it.
        source: String,
    },
    /// Whether a business may write first.
    Initiation {
        /// Whether it is allowed.
        allowed: bool,
    },
    /// Whether one message may have several recipients.
    Broadcast {
        /// Whether it is allowed.
        allowed: bool,
    },
}

/// What a rate limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateScope {
    /// All channels of an app together.
    App,
    /// Each channel separately.
    Channel,
}

/// What a region rule excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegionSubject {
    /// Connecting the account, and using it.
    Connect,
    /// Pictures.
    Images,
}

/// The limits of a kind of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContentRule {
    /// The kind.
    pub kind: ContentKind,
    /// Support for receiving it.
    pub inbound: Support,
    /// Support for sending it.
    pub outbound: Support,
    /// The longest text in characters; 0 for no limit.
    pub max_chars: u32,
    /// The largest file in bytes; 0 for no limit.
    pub max_bytes: u64,
    /// The file types; empty for any.
    pub mime_types: Vec<String>,
    /// Notes for a person.
    pub notes: Vec<String>,
    /// Whether the connector must be queried for each conversation.
    pub probed: bool,
}

/// How far a kind of content is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// Full support.
    Full,
    /// It arrives as fallback content.
    Fallback,
    /// Not supported.
    Rejected,
    /// Off until the operator enables it.
    OptIn,
}

/// How a status becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// The platform reports it.
    Native,
    /// It is inferred from other reports.
    Inferred,
    /// It is not known.
    None,
}

/// The statuses that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statuses {
    /// The platform accepted the message.
    pub sent: Knowledge,
    /// It was delivered to the device.
    pub delivered: Knowledge,
    /// It was read.
    pub read: Knowledge,
    /// It could not be sent.
    pub failed: Knowledge,
}
