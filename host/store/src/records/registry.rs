//! Apps and versions of connectors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use weir_domain::credential::Secret;
use weir_domain::id::{ChannelId, TranscriptId};
use weir_domain::manifest::Manifest;
use weir_domain::policy::OriginMap;
use weir_domain::rollout::Canary;
pub use weir_domain::rollout::VersionStage;
use weir_domain::time::Timestamp;

/// A registration at a platform's developer portal.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name, in the webhook's URL.
    pub name: String,
    /// The workspace that owns it.
    pub workspace_id: String,
    /// The connector.
    pub connector: String,
    /// The operator's settings.
    pub settings: serde_json::Value,
    /// By the names of the manifest; the newest first, older ones during a rotation.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    /// When the older ones expire; `None` for never.
    pub old_secrets_until: Option<Timestamp>,
    /// Platform origins mapped to others.
    pub origins: OriginMap,
    /// When it was first stored.
    pub created_at: Timestamp,
    /// When it was last stored.
    pub updated_at: Timestamp,
}

impl App {
    /// The secrets that are valid at `now`: the newest of each name, and the older ones until they expire.
    pub fn secrets_at(&self, now: Timestamp) -> Cow<'_, BTreeMap<String, Vec<Secret>>> {
        if self.old_secrets_until.is_none_or(|until| now < until) {
            return Cow::Borrowed(&self.secrets);
        }
        let newest = self.secrets.iter();
        Cow::Owned(
            newest
                .map(|(name, secrets)| (name.clone(), secrets.iter().take(1).cloned().collect()))
                .collect(),
        )
    }
}

/// A crash of a version, as one node saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionCrash {
    /// The connector.
    pub connector: String,
    /// The version.
    pub version: String,
    /// Its number among the node's crashes.
    pub number: i64,
    /// When it happened.
    pub at: Timestamp,
}

/// Kinds of data that nodes cache in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revised {
    /// An app.
    App,
    /// The versions of a connector: their stages, grants, and the owners of accounts' states.
    Connector,
    /// A workspace's keys and sessions: one of them ended.
    Keys,
    /// A kind that a newer version caches, which uses the database at the same time as this one.
    #[serde(other)]
    Other,
}

/// The last change of data that nodes cache in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The kind of data.
    pub kind: Revised,
    /// Its name.
    pub name: String,
    /// Rises with each change of anything.
    pub revision: i64,
}

/// A version to be staged.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its bytes.
    pub component: Bytes,
    /// Their digest, `sha256:…`.
    pub digest: String,
    /// Its signature.
    pub signature: Signature,
    /// Where it is published: an address, or a reference in an OCI registry; `None` for a file.
    pub source: Option<String>,
    /// Whether the release counter may decrease.
    pub allow_downgrade: bool,
}

/// A version of a connector.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its manifest.
    pub manifest: Manifest,
    /// The digest of its bytes, `sha256:…`.
    pub digest: String,
    /// The size in bytes.
    pub size: u64,
    /// Its signature.
    pub signature: Signature,
    /// Where it is published: an address, or a reference in an OCI registry; `None` for a file.
    pub source: Option<String>,
    /// Its stage.
    pub stage: VersionStage,
    /// Its canary run, while it is a canary.
    pub canary: Option<Canary>,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// When its stage last changed.
    pub changed_at: Timestamp,
    /// Why it was last rolled back automatically or quarantined; `None` if it never was.
    pub failure: Option<VersionFailure>,
}

/// Why a version was rolled back automatically, or quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionFailure {
    /// The reason, for a person.
    pub reason: String,
    /// When it happened.
    pub at: Timestamp,
}

/// The last canary run of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryRunRecord {
    /// Its share and its rule.
    pub canary: Canary,
    /// The figures of its calls, by the nodes that counted them, each as a document. Those from before nodes existed
    /// have an empty name.
    pub figures: BTreeMap<String, serde_json::Value>,
    /// How it ended; `None` while it runs.
    pub end: Option<CanaryRunEnd>,
}

/// The figures of a canary run.
#[derive(Clone, Debug)]
pub struct CanaryFigures {
    /// The canary run.
    pub canary: Canary,
    /// The document of the node that counted.
    pub figures: serde_json::Value,
}

/// The end of a canary run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CanaryRunEnd {
    /// The reason, for a person.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The result of retiring a version.
#[derive(Clone, Debug)]
pub enum Retirement {
    /// It is retired.
    Retired(Box<Version>),
    /// There is no such version.
    NotFound,
    /// It is active, or a canary.
    Serves,
    /// It owns the states of this many accounts.
    Owns(u64),
}

/// The result of holding the accounts whose versions cannot run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldAccounts {
    /// Accounts that were held.
    pub held: u32,
    /// Accounts that were released.
    pub freed: u32,
}

/// An entry in a version's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// The version.
    pub version: String,
    /// Its stage from then on.
    pub stage: VersionStage,
    /// The reason, for a person; empty if a person did it.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A channel's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Key to value.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// The version that owns it: the first that wrote to it, or the last that took it over. Only that version can read
    /// it. `None` before the first write.
    pub owner: Option<String>,
}

/// A channel with a state, and the version that owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOwner {
    /// The workspace that owns the channel.
    pub workspace_id: String,
    /// The app.
    pub app: String,
    /// The platform's id of the account.
    pub platform_id: String,
    /// The channel.
    pub channel_id: ChannelId,
    /// The version.
    pub version: String,
    /// Why the next version did not take the state over; `None` if it did.
    pub reason: Option<String>,
    /// Why the account is held, since its version cannot run; `None` if it is not.
    pub held: Option<String>,
    /// Since when it is held.
    pub held_at: Option<Timestamp>,
}

/// The handover of a channel's state from one version to another.
#[derive(Clone, Debug)]
pub struct StateMove {
    /// The channel.
    pub channel_id: ChannelId,
    /// The version that owned the state.
    pub from: String,
    /// The version that takes it over.
    pub to: String,
    /// The state that was translated; if it has changed since, nothing is written.
    pub before: BTreeMap<String, Vec<u8>>,
    /// The translated state.
    pub after: BTreeMap<String, Vec<u8>>,
}

/// A transcript of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptRecord {
    /// Its id.
    pub id: TranscriptId,
    /// The connector.
    pub connector: String,
    /// The version that was called.
    pub version: String,
    /// The export that was called: `receive`, `send`.
    pub call: String,
    /// The channel; `None` for a call without one.
    pub channel_id: Option<ChannelId>,
    /// Whether the connector crashed or was interrupted.
    pub crashed: bool,
    /// When the call began.
    pub at: Timestamp,
    /// The transcript, as the runtime reads it; empty in lists.
    pub json: String,
}

/// A filter of transcripts.
#[derive(Clone, Debug, Default)]
pub struct TranscriptFilter {
    /// Only of this version.
    pub version: Option<String>,
    /// Only of this call.
    pub call: Option<String>,
    /// Only of calls that crashed.
    pub crashed: bool,
    /// The most to return.
    pub limit: u32,
    /// Whether the transcripts are included, and not only their metadata.
    pub whole: bool,
}

/// The signature of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `trusted`, `unknown_key`, `unsigned`.
    pub status: String,
    /// The operator's name for the key.
    pub key: Option<String>,
    /// The signature's text, stored so that it can be verified again at every load.
    pub text: Option<String>,
}
