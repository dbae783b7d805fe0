//! Apps and versions of connectors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_domain::credential::Secret;
use weir_domain::manifest::Manifest;
use weir_domain::policy::OriginMap;
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

/// A version to be staged.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// What it says of itself.
    pub manifest: Manifest,
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
    /// Who signed it.
    pub signature: Signature,
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
    /// Where it stands.
    pub stage: VersionStage,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// When its stage last changed.
    pub changed_at: Timestamp,
}

/// Where a version stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStage {
    /// Installed, serves nobody.
    Staged,
    /// Serves a share of the channels.
    Canary,
    /// Serves.
    Active,
    /// Finishes what it began.
    Draining,
    /// Served once.
    Retired,
    /// Set aside for its failures.
    Quarantined,
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
