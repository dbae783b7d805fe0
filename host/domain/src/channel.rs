//! A connected business account.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::ChannelId;
use crate::time::Timestamp;

/// A business account connected through a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// The workspace that owns it.
    pub workspace_id: String,
    /// The app that it was connected through.
    pub app: String,
    /// The connector that speaks for it.
    pub connector: String,
    /// The messaging network: `tiktok`.
    #[serde(rename = "type")]
    pub platform: String,
    /// The platform's id of the account.
    pub platform_id: String,
    /// The operator's name for it; never sent to the platform.
    pub name: String,
    /// The operator's own labels, for sorting.
    pub labels: BTreeMap<String, String>,
    /// The handle, without @.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture; most platforms' links expire.
    pub avatar_url: Option<String>,
    /// ISO 3166-1 alpha-2, when known.
    pub country: Option<String>,
    /// Whether it works.
    pub status: ChannelStatus,
    /// Whether the operator paused it.
    pub paused: bool,
    /// The operator's tightening of the policy.
    pub policy: PolicyOverride,
    /// Scopes that the person granted.
    pub scopes: Vec<String>,
    /// The latest time by which a person must renew its credential.
    pub reauthorize_by: Option<Timestamp>,
    /// When it was first connected.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; its history stays.
    pub deleted_at: Option<Timestamp>,
}

/// Whether a channel works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelStatus {
    /// It works.
    Connected,
    /// It works in part; its diagnostics name the reason.
    Degraded,
    /// Its credential is invalid: a person must reauthorize it. Messages are held meanwhile.
    ReauthorizationRequired,
    /// It was deleted; its history stays.
    Deleted,
}

/// The operator's changes of the platform's rules for one channel. Unset members have the connector's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverride {
    /// A shorter messaging window, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// A smaller message budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_limit: Option<u32>,
    /// Fewer requests in the rate's span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_permits: Option<u32>,
    /// A smaller limit of text length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_max_chars: Option<u32>,
}
