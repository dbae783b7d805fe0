//! Connect sessions, channels to be, and their state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_domain::channel::PolicyOverride;
use weir_domain::credential::{Secret, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::time::Timestamp;

/// One connecting of an account.
#[derive(Clone, Debug)]
pub struct ConnectSession {
    /// Its id.
    pub id: ConnectSessionId,
    /// The tenant that will own the channel.
    pub workspace_id: String,
    /// The app it goes through.
    pub app: String,
    /// The channel to be authorized again; none for a new one.
    pub channel_id: Option<ChannelId>,
    /// The operator's name for the channel.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// Where the account is registered, by the operator's word: ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Where the browser goes in the end.
    pub redirect_url: Option<String>,
    /// What binds the callback to this session.
    pub state: Secret,
    /// What binds it to the browser that began it.
    pub browser: Secret,
    /// For PKCE.
    pub verifier: Secret,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub end: ConnectEnd,
    /// What the platform gave for the code, until a channel has it.
    pub tokens: Option<Tokens>,
}

/// Where a connect session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ConnectEnd {
    /// Waiting for the person.
    Pending,
    /// The callback came; the host is at work.
    Taken,
    /// The channel is there.
    Succeeded {
        /// Which.
        channel_id: ChannelId,
    },
    /// It is not.
    Failed {
        /// A stable code.
        code: String,
        /// A sentence for a person.
        detail: String,
    },
    /// Nobody came in time.
    Expired,
}

/// An account to be connected.
#[derive(Clone, Debug)]
pub struct NewChannel {
    /// The tenant that owns it.
    pub workspace_id: String,
    /// The app.
    pub app: String,
    /// The connector.
    pub connector: String,
    /// The messaging network.
    pub platform: String,
    /// The platform's id of the account.
    pub platform_id: String,
    /// The operator's name for it; the account's own if none is given.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// The handle.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Scopes that the person granted.
    pub scopes: Vec<String>,
    /// When a person must authorize it again at the latest.
    pub reauthorize_by: Option<Timestamp>,
    /// What its connector remembers of it.
    pub state: Vec<StateWrite>,
    /// The connect session that succeeds with it.
    pub session: Option<ConnectSessionId>,
    /// When its set-up at the platform is due, unless it was reported before; none if there is nothing to set up.
    pub set_up_at: Option<Timestamp>,
}

/// What an operator may change of a channel; none leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct ChannelPatch {
    /// Its name.
    pub name: Option<String>,
    /// Its labels, all of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// Where the account is registered: ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Whether it is held.
    pub paused: Option<bool>,
    /// What is tightened.
    pub policy: Option<PolicyOverride>,
}

/// A write to a channel's state; none deletes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// The version that wrote it. If the state belongs to another by now, the write is dropped: it has another shape.
    pub by: String,
    /// The key.
    pub key: String,
    /// Its new value.
    pub value: Option<Vec<u8>>,
}
