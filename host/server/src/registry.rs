//! The connectors that serve: from the bytes of a component to a version that answers calls.
//!
//! Bytes are kept under their digest and checked against it whenever they are read. A call takes a version and keeps it to its
//! end; promoting another one changes only what later calls take.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_domain::grant::{self, Asked, Grant, Grants};
use weir_domain::manifest::Manifest;
use weir_domain::time::Timestamp;
use weir_egress::{Egress, NoBodies};
use weir_runtime::context::{Clock, Silent};
use weir_runtime::{Connector, Runtime};
use weir_store::{NewVersion, Signature, StageError, Store, StoreError, Version, VersionStage};

use crate::config::Config;
use crate::host::Host;
use crate::provenance::{self, NotTrusted, TrustedKeys};
use crate::quarantine::Quarantine;

/// Why a component was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is no connector, or none that this host runs; in words that say what would be taken.
    #[error("{0}")]
    Refused(String),
    /// Nobody trusted signed it, and the configuration asks for that; or what it is signed with does not fit.
    #[error("{reason}")]
    Signature {
        /// `sha256:…` of its bytes.
        digest: String,
        /// What is amiss.
        reason: NotTrusted,
    },
    /// Its number or its release is in the way.
    #[error(transparent)]
    Stage(StageError),
    /// Its bytes could not be kept.
    #[error("the component's file could not be written: {0}")]
    File(std::io::Error),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a version was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// There is no such version.
    #[error("there is no version {version} of {connector}")]
    NotFound {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// The operator has not said yes to all that it asks for.
    #[error(
        "{connector} {version} asks for {} that nobody decided about; PUT the grants, or fewer, and promote again",
        names(missing)
    )]
    Missing {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// What is undecided.
        missing: Vec<Asked>,
    },
    /// Its bytes are gone, or are not the ones that were staged.
    #[error("the version cannot be loaded: {0}")]
    Load(String),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the operator's decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such connector, or it has no such version.
    #[error("there is no such version of this connector")]
    NotFound,
    /// No version asks for some of it.
    #[error(
        "no version of the connector asks for what stands at {0:?}; a grant is what a version wants, or fewer origins of it"
    )]
    Unasked(Vec<usize>),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a component says of itself, without a host.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Inspection {
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
    /// Who signed it.
    #[serde(serialize_with = "without_text")]
    pub signature: Signature,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it asks for.
    pub wanted: Vec<Asked>,
}

/// A version that serves, and what the operator granted its connector.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) connector: Connector,
    pub(crate) grants: Arc<Grants>,
}

/// The connectors that serve, by name.
#[derive(Debug)]
pub(crate) struct Connectors {
    folder: PathBuf,
    trusted: TrustedKeys,
    allow_unsigned: bool,
    serving: RwLock<HashMap<String, Arc<Loaded>>>,
    /// One change at a time, so that what the record and the memory say cannot part.
    changing: tokio::sync::Mutex<()>,
}

impl Connectors {
    /// Loads the active version of each connector. One that cannot be loaded does not serve, and the others do.
    pub(crate) async fn load(
        store: &dyn Store,
        runtime: &Runtime,
        config: &Config,
        quarantine: &Quarantine,
    ) -> Result<Self, StoreError> {
        let connectors = Self {
            folder: config.data.join("components"),
            trusted: config.trusted_keys.clone(),
            allow_unsigned: config.allow_unsigned,
            serving: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
        };
        let versions = store.versions().await?;
        for version in &versions {
            let name = &version.manifest.name;
            match version.stage {
                VersionStage::Active => {}
                // Its manifest still proves webhooks, unless another has taken its place.
                VersionStage::Quarantined if last_to_serve(&versions, version) => quarantine.put(
                    name,
                    &version.manifest.version,
                    &format!("since {}, as its event connector.quarantined says", version.changed_at),
                ),
                _ => continue,
            }
            match connectors.read(runtime, version).await {
                Ok(connector) => {
                    let grants = store.grants(name).await?;
                    connectors.put(name, connector, grants);
                }
                Err(reason) => {
                    tracing::error!("{name} {} does not serve: {reason}", version.manifest.version);
                }
            }
        }
        Ok(connectors)
    }

    /// What serves under this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Loaded>> {
        self.serving
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn put(&self, name: &str, connector: Connector, grants: Grants) {
        let loaded = Loaded {
            connector,
            grants: Arc::new(grants),
        };
        self.serving
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::new(loaded));
    }

    /// The file of a component. The digest is our own hex, so it names no other place.
    fn path(&self, digest: &str) -> PathBuf {
        self.folder
            .join(format!("{}.wasm", digest.trim_start_matches("sha256:")))
    }

    /// Keeps bytes under their digest; what is there already is the same.
    async fn keep(&self, digest: &str, bytes: &Bytes) -> std::io::Result<()> {
        let path = self.path(digest);
        if tokio::fs::try_exists(&path).await? {
            return Ok(());
        }
        let unfinished = path.with_extension("part");
        let mut file = tokio::fs::File::create(&unfinished).await?;
        tokio::io::AsyncWriteExt::write_all(&mut file, bytes).await?;
        file.sync_all().await?;
        tokio::fs::rename(&unfinished, &path).await
    }

    fn judge(&self, bytes: &[u8], signature: Option<&str>) -> Result<Signature, NotTrusted> {
        provenance::judge(bytes, signature, &self.trusted, self.allow_unsigned)
    }

    /// Makes a version ready to run, if its bytes are the ones that were staged and whoever signed them is trusted still.
    async fn read(&self, runtime: &Runtime, version: &Version) -> Result<Connector, String> {
        let path = self.path(&version.digest);
        let bytes = tokio::fs::read(&path)
            .await
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        if digest_of(&bytes) != version.digest {
            return Err(format!("{} does not hold the bytes that were staged", path.display()));
        }
        self.judge(&bytes, version.signature.text.as_deref())
            .map_err(|no| no.to_string())?;
        runtime.load(bytes.into()).await.map_err(|error| error.to_string())
    }
}

/// Whether nothing serves in place of this version, which was set aside: no active one, and none set aside after it.
fn last_to_serve(versions: &[Version], aside: &Version) -> bool {
    let mut others = versions
        .iter()
        .filter(|other| other.manifest.name == aside.manifest.name && other.digest != aside.digest);
    !others.any(|other| {
        other.stage == VersionStage::Active
            || (other.stage == VersionStage::Quarantined && other.changed_at > aside.changed_at)
    })
}

/// `sha256:…` of a component's bytes.
fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A signature as it is shown.
fn without_text<S: serde::Serializer>(signature: &Signature, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = serde_json::json!({ "status": signature.status, "key": signature.key });
    serde::Serialize::serialize(&shown, serializer)
}

/// Reads a component without a host. Compiles it, so it takes a moment; runs nothing but its `describe`.
///
/// # Errors
/// Why no host would take it.
pub async fn inspect(bytes: Bytes, signature: Option<&str>, trusted: &TrustedKeys) -> Result<Inspection, InstallError> {
    let digest = digest_of(&bytes);
    let signature = provenance::judge(&bytes, signature, trusted, true).map_err(|reason| InstallError::Signature {
        digest: digest.clone(),
        reason,
    })?;
    let refused = |error: &dyn std::fmt::Display| InstallError::Refused(error.to_string());
    let host = weir_runtime::context::Host {
        egress: Egress::new(weir_egress::Config::default()).map_err(|error| refused(&error))?,
        bodies: Arc::new(NoBodies),
        clock: Arc::new(Nobody),
        witness: Arc::new(Silent),
    };
    let runtime = Runtime::start(weir_runtime::Settings::default(), host).map_err(|error| refused(&error))?;
    let connector = runtime.load(bytes.clone()).await.map_err(|error| refused(&error))?;
    let manifest = Manifest::clone(connector.manifest());
    Ok(Inspection {
        digest,
        size: bytes.len() as u64,
        signature,
        wanted: Asked::all(Grants::wanted_by(&manifest), &Grants::default()),
        manifest,
    })
}

/// The host's side of a runtime that only looks.
struct Nobody;

impl Clock for Nobody {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}

impl Host {
    /// Stages a component: nobody is served by it yet.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub async fn install(
        &self,
        bytes: Bytes,
        signature: Option<&str>,
        allow_downgrade: bool,
    ) -> Result<Version, InstallError> {
        let digest = digest_of(&bytes);
        // Before anything looks into them: what nobody trusts is not even compiled.
        let signature = self.0.connectors.judge(&bytes, signature);
        let signature = signature.map_err(|reason| InstallError::Signature {
            digest: digest.clone(),
            reason,
        })?;
        let loaded = self.0.runtime.load(bytes.clone()).await;
        let connector = loaded.map_err(|error| InstallError::Refused(error.to_string()))?;
        let manifest = Manifest::clone(connector.manifest());
        // Before the row: a version in the record always has its bytes.
        self.0
            .connectors
            .keep(&digest, &bytes)
            .await
            .map_err(InstallError::File)?;
        let new = NewVersion {
            manifest,
            digest,
            size: bytes.len() as u64,
            signature,
            allow_downgrade,
        };
        let version = match self.0.store.stage_version(new, self.now()).await {
            Ok(version) => version,
            Err(StageError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(InstallError::Stage(error)),
        };
        self.told();
        tracing::info!(
            connector = version.manifest.name,
            version = version.manifest.version,
            "Staged {} {}",
            version.manifest.name,
            version.manifest.version
        );
        Ok(version)
    }

    /// Makes a version the one that serves, though it was set aside. Calls that run go on with theirs. What was kept while one
    /// was set aside is then translated, oldest first.
    ///
    /// # Errors
    /// See [`PromoteError`]; the version before goes on serving.
    pub async fn promote(&self, connector: &str, version: &str) -> Result<Version, PromoteError> {
        let connectors = &self.0.connectors;
        let _turn = connectors.changing.lock().await;
        let not_found = || PromoteError::NotFound {
            connector: connector.to_owned(),
            version: version.to_owned(),
        };
        let staged = self.0.store.version(connector, version).await?.ok_or_else(not_found)?;
        let grants = self.0.store.grants(connector).await?;
        let missing = grants.missing_for(&staged.manifest);
        if !missing.is_empty() {
            return Err(PromoteError::Missing {
                connector: connector.to_owned(),
                version: version.to_owned(),
                missing: Asked::all(missing, &grants),
            });
        }
        let loaded = connectors
            .read(&self.0.runtime, &staged)
            .await
            .map_err(PromoteError::Load)?;
        let set_aside_at = self.set_aside_at(connector).await?;
        let active = self.0.store.activate_version(connector, version, self.now()).await?;
        let active = active.ok_or_else(not_found)?;
        self.0.quarantine.release(connector, version);
        connectors.put(connector, loaded, grants);
        self.told();
        // What waited for a version that serves, or for a mended one.
        self.0.wakes.all();
        tracing::info!(connector, version, "{connector} {version} serves");
        if let Some(since) = set_aside_at {
            let (host, connector) = (self.clone(), connector.to_owned());
            tokio::spawn(async move {
                if let Err(error) = host.replay_kept(&connector, since).await {
                    tracing::error!("What was kept for {connector} waits for the next time: {error}");
                }
            });
        }
        Ok(active)
    }

    /// Takes the operator's answer to what a version asks for (the newest, if none is named): a yes to `granted`, a no to the
    /// rest of it. The next call of whatever version serves is judged by it.
    ///
    /// # Errors
    /// See [`GrantError`]; what held before holds.
    pub async fn decide_grants(
        &self,
        connector: &str,
        version: Option<&str>,
        granted: Vec<Grant>,
    ) -> Result<Grants, GrantError> {
        let connectors = &self.0.connectors;
        let _turn = connectors.changing.lock().await;
        let mut versions = self.0.store.versions().await?;
        versions.retain(|known| known.manifest.name == connector);
        let unasked = grant::unasked(
            &granted,
            &versions.iter().map(|known| &known.manifest).collect::<Vec<_>>(),
        );
        if !unasked.is_empty() {
            return Err(GrantError::Unasked(unasked));
        }
        let meant = versions
            .iter()
            .find(|known| version.is_none_or(|version| known.manifest.version == version))
            .ok_or(GrantError::NotFound)?;
        let before = self.0.store.grants(connector).await?;
        let grants = before.answered(&meant.manifest, granted);
        self.0.store.put_grants(connector, grants.clone(), self.now()).await?;
        if let Some(loaded) = connectors.get(connector) {
            connectors.put(connector, loaded.connector.clone(), grants.clone());
        }
        Ok(grants)
    }
}

/// The names of a few grants, for one line.
fn names(asked: &[Asked]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = asked
        .iter()
        .take(SHOWN)
        .map(|asked| asked.grant.route.as_str())
        .collect();
    let more = asked.len().saturating_sub(SHOWN);
    let names = names.join(", ");
    if more > 0 {
        format!("{names} and {more} more")
    } else {
        names
    }
}
