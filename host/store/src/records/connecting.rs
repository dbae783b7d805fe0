//! Connect sessions, channels to be connected, and their state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_domain::channel::PolicyOverride;
use weir_domain::credential::{Secret, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::time::Timestamp;

/// One attempt to connect an account.
#[derive(Clone, Debug)]
pub struct ConnectSession {
    /// Its id.
    pub id: ConnectSessionId,
    /// The workspace that will own the channel.
    pub workspace_id: String,
    /// The app it goes through.
    pub app: String,
    /// The channel to reauthorize; `None` for a new one.
    pub channel_id: Option<ChannelId>,
    /// The operator's name for the channel.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// The country where the account is registered, as entered by the operator: ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The final redirect of the browser.
    pub redirect_url: Option<String>,
    /// The OAuth state, which binds the callback to this session.
    pub state: Secret,
    /// The cookie, which binds the callback to the browser that started the session.
    pub browser: Secret,
    /// The PKCE verifier.
    pub verifier: Secret,
    /// When it started.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its status.
    pub end: ConnectEnd,
    /// The tokens that the platform returned for the code, until a channel has them.
    pub tokens: Option<Tokens>,
}

/// The status of a connect session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ConnectEnd {
    /// Waiting for the person.
    Pending,
    /// The callback arrived; the host is processing it.
    Taken,
    /// The channel is connected.
    Succeeded {
        /// The channel.
        channel_id: ChannelId,
    },
    /// It failed.
    Failed {
        /// A stable code.
        code: String,
        /// A sentence for a person.
        detail: String,
    },
    /// Nobody completed it in time.
    Expired,
}

/// An account to be connected.
#[derive(Clone, Debug)]
pub struct NewChannel {
    /// The workspace that owns it.
    pub workspace_id: String,
    /// The app.
    pub app: String,
    /// The connector.
    pub connector: String,
    /// The messaging network.
    pub platform: String,
    /// The platform's id of the account.
    pub platform_id: String,
    /// The operator's name for it; `None` uses the account's own.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// The handle.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture.
    pub avatar_url: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Scopes that the person granted.
    pub scopes: Vec<String>,
    /// The latest time by which a person must reauthorize it.
    pub reauthorize_by: Option<Timestamp>,
    /// Its initial connector state.
    pub state: Vec<StateWrite>,
    /// The connect session that succeeds with it.
    pub session: Option<ConnectSessionId>,
    /// When its set-up at the platform is due, unless completed before; `None` without a set-up.
    pub set_up_at: Option<Timestamp>,
}

/// An operator's change of a channel; `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct ChannelPatch {
    /// Its name.
    pub name: Option<String>,
    /// Its labels; replaces all of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// The country where the account is registered: ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Whether sending is paused.
    pub paused: Option<bool>,
    /// The operator's tightening of the policy.
    pub policy: Option<PolicyOverride>,
}

/// A write to a channel's state; `None` deletes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// The version that wrote it. If another version owns the state by now, the write is dropped: the state has another
    /// format.
    pub by: String,
    /// The key.
    pub key: String,
    /// Its new value.
    pub value: Option<Vec<u8>>,
}
