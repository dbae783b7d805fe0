//! Channels, as events carry them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::channel::{self, ChannelStatus};
use crate::event::EventData;
use crate::id::ChannelId;
use crate::time::Timestamp;

/// A business account connected through a connector.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::Channel)]
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

impl EventData for Channel {}

/// The operator's changes of the platform's rules for one channel. Unset members have the connector's value.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = event::PolicyOverride)]
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

/// A channel, and the reason for its event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ChannelEventData {
    /// The channel.
    #[serde(flatten)]
    pub channel: Channel,
    /// Why its status changed, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Days until a person must have reauthorized it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u32>,
}

impl EventData for ChannelEventData {}

/// A platform's notice about a channel.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ChannelNotice {
    /// The notice: `inbound_withheld`.
    pub notice: String,
    /// The platform's own document.
    pub detail: serde_json::Value,
    /// The platform's time.
    pub at: Timestamp,
}

impl EventData for ChannelNotice {}

impl From<channel::Channel> for Channel {
    fn from(given: channel::Channel) -> Self {
        Self {
            id: given.id,
            workspace_id: given.workspace_id,
            app: given.app,
            connector: given.connector,
            platform: given.platform,
            platform_id: given.platform_id,
            name: given.name,
            labels: given.labels,
            username: given.username,
            display_name: given.display_name,
            avatar_url: given.avatar_url,
            country: given.country,
            status: given.status,
            paused: given.paused,
            policy: given.policy.into(),
            scopes: given.scopes,
            reauthorize_by: given.reauthorize_by,
            created_at: given.created_at,
            updated_at: given.updated_at,
            deleted_at: given.deleted_at,
        }
    }
}

impl From<channel::PolicyOverride> for PolicyOverride {
    fn from(given: channel::PolicyOverride) -> Self {
        Self {
            window_ms: given.window_ms,
            budget_limit: given.budget_limit,
            rate_permits: given.rate_permits,
            text_max_chars: given.text_max_chars,
        }
    }
}
