//! Channels, in the API's format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_domain::channel::{self, ChannelStatus};
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

/// A business account connected through a connector.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Channel {
    /// Its id.
    pub(crate) id: ChannelId,
    /// The tenant that owns it.
    pub(crate) workspace_id: String,
    /// The app that it was connected through.
    pub(crate) app: String,
    /// The connector that serves it.
    pub(crate) connector: String,
    /// The platform: `tiktok`.
    #[serde(rename = "type")]
    pub(crate) platform: String,
    /// The platform's id of the account.
    pub(crate) platform_id: String,
    /// The operator's name for it; never sent to the platform.
    pub(crate) name: String,
    /// The operator's own labels, for sorting.
    pub(crate) labels: BTreeMap<String, String>,
    /// The handle, without @.
    pub(crate) username: Option<String>,
    /// The display name.
    pub(crate) display_name: Option<String>,
    /// A picture; most platforms' links expire.
    pub(crate) avatar_url: Option<String>,
    /// ISO 3166-1 alpha-2, when known.
    pub(crate) country: Option<String>,
    /// Its status.
    pub(crate) status: ChannelStatus,
    /// Whether the operator paused it.
    pub(crate) paused: bool,
    /// The operator's tightened policies.
    pub(crate) policy: PolicyOverride,
    /// Scopes that the person granted.
    pub(crate) scopes: Vec<String>,
    /// The latest time at which a person must renew its credential.
    pub(crate) reauthorize_by: Option<Timestamp>,
    /// When it was first connected.
    pub(crate) created_at: Timestamp,
    /// When any of its members last changed.
    pub(crate) updated_at: Timestamp,
    /// When it was deleted; its history is kept.
    pub(crate) deleted_at: Option<Timestamp>,
}

/// The operator's changes to the platform's policies for one channel. Unset members: as the connector declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyOverride {
    /// A shorter messaging window, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window_ms: Option<u64>,
    /// A smaller message budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) budget_limit: Option<u32>,
    /// Fewer requests in the rate's period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate_permits: Option<u32>,
    /// A lower maximum text length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text_max_chars: Option<u32>,
}

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

impl From<PolicyOverride> for channel::PolicyOverride {
    fn from(given: PolicyOverride) -> Self {
        Self {
            window_ms: given.window_ms,
            budget_limit: given.budget_limit,
            rate_permits: given.rate_permits,
            text_max_chars: given.text_max_chars,
        }
    }
}
