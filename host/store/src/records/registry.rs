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

/// Our registration with a platform's developer portal.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name, in the webhook's URL.
    pub name: String,
    /// The tenant that owns it.
    pub workspace_id: String,
    /// The connector that speaks for it.
    pub connector: String,
    /// What the operator set.
    pub settings: serde_json::Value,
    /// By the names of the manifest; the newest first, older ones while they are rotated out.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    /// When the older ones end; none if they do not by themselves.
    pub old_secrets_until: Option<Timestamp>,
    /// Platform origins mapped to others.
    pub origins: OriginMap,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last put.
    pub updated_at: Timestamp,
}

impl App {
    /// The secrets that hold at `now`: the newest of each name, and the older ones until they end.
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
    /// Its number among those of the node.
    pub number: i64,
    /// When.
    pub at: Timestamp,
}

/// What nodes keep in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revised {
    /// An app.
    App,
    /// The versions of a connector: their stages, grants, and whose the states of accounts are.
    Connector,
    /// A workspace's keys and sessions: one of them ended.
    Keys,
    /// Something that a newer version keeps in memory, which uses the record beside this one.
    #[serde(other)]
    Other,
}

/// When something was last changed that nodes keep in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// What it is.
    pub kind: Revised,
    /// Its name.
    pub name: String,
    /// Rises with each change of anything.
    pub revision: i64,
}

/// A version to be staged.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its bytes.
    pub component: Bytes,
    /// `sha256:…` of them.
    pub digest: String,
    /// Who signed it.
    pub signature: Signature,
    /// Where it is published: an address, or a reference in an OCI registry; none for a file.
    pub source: Option<String>,
    /// Whether the release counter may go back.
    pub allow_downgrade: bool,
}

/// A version of a connector.
#[derive(Clone, Debug)]
pub struct Version {
    /// What it says of itself.
    pub manifest: Manifest,
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
    /// Who signed it.
    pub signature: Signature,
    /// Where it is published: an address, or a reference in an OCI registry; none for a file.
    pub source: Option<String>,
    /// Where it stands.
    pub stage: VersionStage,
    /// Its canary run, while it is a canary.
    pub canary: Option<Canary>,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// When its stage last changed.
    pub changed_at: Timestamp,
    /// Why it last went back by itself or was quarantined; none if it never was.
    pub failure: Option<VersionFailure>,
}

/// Why a version went back by itself, or was quarantined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionFailure {
    /// In words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The last canary run of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryRunRecord {
    /// Its share and its rule.
    pub canary: Canary,
    /// What its calls came to, by the nodes that counted them, each as a document of its own. Those of before there were nodes have
    /// an empty name.
    pub figures: BTreeMap<String, serde_json::Value>,
    /// How it ended; none while it is on.
    pub end: Option<CanaryRunEnd>,
}

/// What was counted of a canary run.
#[derive(Clone, Debug)]
pub struct CanaryFigures {
    /// Which run of the version.
    pub canary: Canary,
    /// A document of whoever counted.
    pub figures: serde_json::Value,
}

/// How a canary run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CanaryRunEnd {
    /// Why, in words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// What became of the wish to retire a version.
#[derive(Clone, Debug)]
pub enum Retirement {
    /// It is retired.
    Retired(Box<Version>),
    /// There is no such version.
    NotFound,
    /// It is active, or a canary.
    Serves,
    /// It owns the states of so many accounts.
    Owns(u64),
}

/// What a look at the accounts whose versions cannot run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldAccounts {
    /// Accounts that are held from now on.
    pub held: u32,
    /// Accounts that are held no more.
    pub freed: u32,
}

/// A step in a version's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// The version.
    pub version: String,
    /// Where it stood from then on.
    pub stage: VersionStage,
    /// Why, in words; empty if a person wanted it.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A channel's small memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Key to value.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// The version that it belongs to: the first that wrote to it, or the one that it was handed to last. Only that version
    /// understands it. None while nothing was written.
    pub owner: Option<String>,
}

/// A channel with a state, and the version that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOwner {
    /// The tenant that owns the channel.
    pub workspace_id: String,
    /// The app.
    pub app: String,
    /// The platform's id of the account.
    pub platform_id: String,
    /// The channel.
    pub channel_id: ChannelId,
    /// The version.
    pub version: String,
    /// Why the next version did not take the state over; none if it did.
    pub reason: Option<String>,
    /// Why the account is held, since its version cannot run; none while it can.
    pub held: Option<String>,
    /// Since when.
    pub held_at: Option<Timestamp>,
}

/// A channel's state, handed from one version to another.
#[derive(Clone, Debug)]
pub struct StateMove {
    /// The channel.
    pub channel_id: ChannelId,
    /// The version whose state it was.
    pub from: String,
    /// The version whose state it becomes.
    pub to: String,
    /// The state that was handed over; if it is another by now, nothing is written.
    pub before: BTreeMap<String, Vec<u8>>,
    /// What became of it.
    pub after: BTreeMap<String, Vec<u8>>,
}

/// A call that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptRecord {
    /// Its id.
    pub id: TranscriptId,
    /// The connector.
    pub connector: String,
    /// The version that was called.
    pub version: String,
    /// What it was asked: `receive`, `send`.
    pub call: String,
    /// The channel; none in a call without one.
    pub channel_id: Option<ChannelId>,
    /// Whether the connector crashed or was stopped.
    pub crashed: bool,
    /// When the call began.
    pub at: Timestamp,
    /// The transcript, as the runtime reads it; empty in lists.
    pub json: String,
}

/// Which transcripts are wanted.
#[derive(Clone, Debug, Default)]
pub struct TranscriptFilter {
    /// Of this version only.
    pub version: Option<String>,
    /// Of this call only.
    pub call: Option<String>,
    /// Only of calls that crashed.
    pub crashed: bool,
    /// At most so many.
    pub limit: u32,
    /// With the transcripts themselves, and not only their heads.
    pub whole: bool,
}

/// Who signed a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `trusted`, `unknown_key`, `unsigned`.
    pub status: String,
    /// The operator's name for the key.
    pub key: Option<String>,
    /// What was signed with, kept so that it can be judged again at every load.
    pub text: Option<String>,
}
