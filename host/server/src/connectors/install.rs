//! Installation: from the bytes of a component to a staged version, and the operator's decision about its grants.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use weir_domain::grant::{self, Grant, Grants, WantedGrant};
use weir_domain::manifest::Manifest;
use weir_domain::time::Timestamp;
use weir_egress::{Egress, NoBodies};
use weir_runtime::context::{Clock, NoObserver};
use weir_runtime::{Connector, Runtime};
use weir_store::{NewVersion, Signature, StageError, StoreError, Version, kill_point};

use crate::connectors::Connectors;
use crate::connectors::promotion::PromoteError;
use crate::connectors::registry::{Registry, digest_of};
use crate::core::folder::{names, remove_file};
use crate::core::provenance::{self, NotTrusted, TrustedKeys};

/// Why a component was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file is not a connector, or not one that this host can run; the text lists what is accepted.
    #[error("{0}")]
    Refused(String),
    /// The component is not signed by a trusted key, and the configuration requires one; or its signature is invalid.
    #[error("{reason}")]
    Signature {
        /// `sha256:…` of its bytes.
        digest: String,
        /// The error.
        reason: NotTrusted,
    },
    /// Its version or its release counter conflicts with an installed one.
    #[error(transparent)]
    Stage(StageError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the operator's decision was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The connector does not exist, or does not have this version.
    #[error("there is no such version of this connector")]
    NotFound,
    /// Some of the grants are requested by no version.
    #[error(
        "no version of the connector requests the grants at {0:?}; a grant must match a requested one, with the same or fewer origins"
    )]
    Unrequested(Vec<usize>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A component's manifest, read without a host.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Inspection {
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// The size in bytes.
    pub size: u64,
    /// The signer.
    #[serde(serialize_with = "without_text")]
    pub signature: Signature,
    /// Its manifest.
    pub manifest: Manifest,
    /// The grants that it requests.
    pub wanted: Vec<WantedGrant>,
}

impl Connectors {
    /// Stages a component: it serves no account yet.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub async fn install(
        &self,
        bytes: Bytes,
        signature: Option<&str>,
        source: Option<String>,
        allow_downgrade: bool,
    ) -> Result<Version, InstallError> {
        let digest = digest_of(&bytes);
        // Before the component is parsed: untrusted components are not even compiled.
        let signature = self.registry.judge(&bytes, signature);
        let signature = signature.map_err(|reason| InstallError::Signature {
            digest: digest.clone(),
            reason,
        })?;
        let loaded = self.runtime.load(bytes.clone()).await;
        let connector = loaded.map_err(|error| InstallError::Refused(error.to_string()))?;
        let manifest = Manifest::clone(connector.manifest());
        kill_point("install.loaded");
        let new = NewVersion {
            manifest,
            component: bytes,
            digest,
            signature,
            source,
            allow_downgrade,
        };
        let version = match self.core.store.stage_version(new, self.core.now()).await {
            Ok(version) => version,
            Err(StageError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(InstallError::Stage(error)),
        };
        kill_point("install.recorded");
        if self.registry.note_load(&version, None) {
            // Its component is available again: accounts that it serves resume.
            self.follow(&version.manifest.name).await?;
            // Work that waited for it.
            self.core.wakes.callers();
        }
        tracing::info!(
            connector = version.manifest.name,
            version = version.manifest.version,
            "Staged {} {}",
            version.manifest.name,
            version.manifest.version
        );
        Ok(version)
    }

    /// Stores the operator's decision about a version's grants (the newest version by default): `granted` ones are
    /// allowed, the rest are withheld. It applies from the next call of every version that serves.
    ///
    /// # Errors
    /// See [`GrantError`]; the previous grants remain in effect.
    pub async fn decide_grants(
        &self,
        connector: &str,
        version: Option<&str>,
        granted: Vec<Grant>,
    ) -> Result<Grants, GrantError> {
        let turn = self.registry.changing.lock().await;
        let mut versions = self.core.store.versions().await?;
        versions.retain(|known| known.manifest.name == connector);
        let meant = versions
            .iter()
            .find(|known| version.is_none_or(|version| known.manifest.version == version))
            .ok_or(GrantError::NotFound)?;
        let mut answered = vec![&meant.manifest];
        answered.extend(versions.iter().map(|known| &known.manifest));
        let granted: Vec<Grant> = granted.into_iter().map(|grant| grant.on_terms_of(&answered)).collect();
        let unrequested = grant::unrequested(
            &granted,
            &versions.iter().map(|known| &known.manifest).collect::<Vec<_>>(),
        );
        if !unrequested.is_empty() {
            return Err(GrantError::Unrequested(unrequested));
        }
        let before = self.core.store.grants(connector).await?;
        let grants = before.answered(&meant.manifest, granted);
        self.core
            .store
            .put_grants(connector, grants.clone(), self.core.now())
            .await?;
        drop(turn);
        if let Err(error) = self.follow(connector).await {
            tracing::warn!(
                "The grants of {connector} are stored, and take effect at the next poll of the database: {error}"
            );
        }
        Ok(grants)
    }

    /// Updates the loaded versions of a connector to match the database.
    pub(crate) async fn follow(&self, connector: &str) -> Result<(), StoreError> {
        let _turn = self.registry.changing.lock().await;
        self.registry
            .follow(&self.core, &self.runtime, &self.quarantine, connector)
            .await
    }

    /// A loaded version, whatever prevents it from serving.
    ///
    /// # Errors
    /// [`PromoteError::Load`], and the database's errors.
    pub(crate) async fn load_version(&self, version: &Version) -> Result<Connector, PromoteError> {
        self.registry.read(self.core.store(), &self.runtime, version).await
    }

    /// Removes files of components without a version, and their compiled code. Returns their number.
    pub(crate) async fn remove_components(&self) -> Result<u32, StoreError> {
        let versions = self.core.store.versions().await?;
        let known: HashSet<&str> = versions.iter().map(|version| version.digest.as_str()).collect();
        let mut removed = 0;
        for folder in ["components", "cache"] {
            let folder = self.core.config.data.join(folder);
            for name in names(&folder).await {
                let digest = Registry::digest_of_file(&name);
                // A later writer reads it from the database.
                let is_left = digest.is_some_and(|digest| !known.contains(digest.as_str())) || name.ends_with(".part");
                if is_left {
                    removed += u32::from(remove_file(&folder.join(name)).await);
                }
            }
        }
        Ok(removed)
    }
}

/// A signature, in the API's format.
fn without_text<S: serde::Serializer>(signature: &Signature, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = serde_json::json!({ "status": signature.status, "key": signature.key });
    serde::Serialize::serialize(&shown, serializer)
}

/// Reads a component without a host. Compiles it, so it takes a moment; runs only its `describe`.
///
/// # Errors
/// Why no host would accept it.
pub async fn inspect(bytes: Bytes, signature: Option<&str>, trusted: &TrustedKeys) -> Result<Inspection, InstallError> {
    let digest = digest_of(&bytes);
    let signature = provenance::judge(&bytes, signature, trusted, true).map_err(|reason| InstallError::Signature {
        digest: digest.clone(),
        reason,
    })?;
    let connector = load_alone(bytes.clone()).await?;
    let manifest = Manifest::clone(connector.manifest());
    Ok(Inspection {
        digest,
        size: bytes.len() as u64,
        signature,
        wanted: WantedGrant::all(Grants::wanted_by(&manifest), &Grants::default()),
        manifest,
    })
}

/// Loads a component without a host: to inspect it, or to replay a transcript against it.
///
/// # Errors
/// Why no host would accept it.
pub async fn load_alone(bytes: Bytes) -> Result<Connector, InstallError> {
    let refused = |error: &dyn std::fmt::Display| InstallError::Refused(error.to_string());
    let host = weir_runtime::context::Host {
        egress: Egress::new(weir_egress::Config::default()).map_err(|error| refused(&error))?,
        bodies: Arc::new(NoBodies),
        clock: Arc::new(NoClock),
        observer: Arc::new(NoObserver),
    };
    let runtime = Runtime::start(weir_runtime::Settings::default(), host).map_err(|error| refused(&error))?;
    runtime.load(bytes).await.map_err(|error| refused(&error))
}

/// The host's side of a runtime for inspection.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
}
