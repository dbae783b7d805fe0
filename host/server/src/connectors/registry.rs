//! The connectors that serve: from the bytes of a component to a version that executes calls.
//!
//! Components are in the database, and in a folder that is filled from it; their digest is verified at every read. A
//! call uses one version from start to end; promoting another one affects only later calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use weir_domain::grant::Grants;
use weir_domain::manifest::Manifest;
use weir_domain::time::Timestamp;
use weir_runtime::{Connector, Runtime};
use weir_store::{Signature, Store, StoreError, Version, VersionStage};

use crate::connectors::canary::{CanaryRun, CanaryRuns};
use crate::connectors::loaded::Loaded;
use crate::connectors::promotion::PromoteError;
use crate::connectors::quarantine::Quarantine;
use crate::connectors::version_set::VersionSet;
use crate::core::Core;
use crate::core::folder::private;
use crate::core::provenance::{self, NotTrusted, TrustedKeys};

/// The connectors that serve, by name.
#[derive(Debug)]
pub(crate) struct Registry {
    folder: PathBuf,
    trusted: TrustedKeys,
    allow_unsigned: bool,
    by_connector: RwLock<HashMap<String, Arc<VersionSet>>>,
    /// Versions that are to run here and could not be loaded, by name and number.
    failed: Mutex<BTreeMap<(String, String), LoadFailure>>,
    pub(crate) canary_runs: Arc<CanaryRuns>,
    /// The name under which this process counts calls and crashes: a node that the others ended gets another one, and
    /// continues counting.
    pub(crate) counter: String,
    /// The loaded versions, as stored: by node and connector.
    reported: tokio::sync::Mutex<BTreeMap<(String, String), Vec<String>>>,
    /// The versions whose accounts the database marks as held, as far as this process knows: by connector, each with
    /// the reason.
    held: Mutex<HashMap<String, BTreeMap<String, String>>>,
    /// One change at a time, so that database and memory stay consistent.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// Delays before a version is loaded again: the first, doubled each time, and the longest. The cause may be lost bytes
/// or lack of memory: neither clears at once, and loading costs seconds of processor time.
const LOAD_RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Why a version could not be loaded.
#[derive(Clone, Debug)]
struct LoadFailure {
    reason: String,
    /// Whether it is the active one, which receives all webhooks.
    is_active: bool,
    wait: Duration,
    retry_at: Instant,
}

impl Registry {
    /// Loads the versions that serve. If one cannot be loaded, the others still serve; [`Self::not_loaded`] reports it.
    pub(crate) async fn load(
        core: &Core,
        runtime: &Runtime,
        quarantine: &Quarantine,
        canary_runs: Arc<CanaryRuns>,
    ) -> Result<Self, StoreError> {
        let (store, config) = (core.store(), &core.config);
        let connectors = Self {
            folder: config.data.join("components"),
            trusted: config.trusted_keys.clone(),
            allow_unsigned: config.allow_unsigned,
            by_connector: RwLock::default(),
            failed: Mutex::default(),
            canary_runs,
            counter: core.node.id(),
            reported: tokio::sync::Mutex::default(),
            held: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        connectors.give_components(store).await?;
        let versions = store.versions().await?;
        give_terms(store, &versions, core.now()).await?;
        let names: BTreeSet<_> = versions.iter().map(|version| &version.manifest.name).collect();
        for name in names {
            connectors.follow(core, runtime, quarantine, name).await?;
        }
        Ok(connectors)
    }

    /// Stores the components that were installed before the database contained components.
    async fn give_components(&self, store: &dyn Store) -> Result<(), StoreError> {
        for digest in store.missing_components().await? {
            if let Some(bytes) = read_file(self.path(&digest), &digest).await {
                store.keep_component(&digest, bytes).await?;
            }
        }
        Ok(())
    }

    /// Updates the loaded versions of a connector to match the database. Running versions are not loaded again, and
    /// versions that are no longer listed complete their calls. The caller holds the lock.
    pub(crate) async fn follow(
        &self,
        core: &Core,
        runtime: &Runtime,
        quarantine: &Quarantine,
        name: &str,
    ) -> Result<(), StoreError> {
        let store = core.store();
        let mut versions = store.versions().await?;
        versions.retain(|version| version.manifest.name == name);
        quarantine.follow(&versions);
        let grants = Arc::new(store.grants(name).await?);
        let before = self.versions(name);
        let owners = before.as_ref().map(|before| before.owners.clone()).unwrap_or_default();
        owners.refresh(store, name).await?;
        let takers = store.takers().await?;
        let taker = takers.into_iter().find(|(connector, _)| connector == name);
        let taker = taker.map(|(_, taker)| taker);
        let (mut active, mut canary_run, mut draining) = (None, None, BTreeMap::new());
        for version in &versions {
            let number = &version.manifest.version;
            let serves = match version.stage {
                VersionStage::Active => true,
                // Its manifest still verifies webhooks, unless another version has replaced it.
                VersionStage::Quarantined => last_to_serve(&versions, version),
                _ => false,
            };
            // The owner of a state serves its account, whatever its stage.
            let works = matches!(version.stage, VersionStage::Draining | VersionStage::Canary);
            // A version that is about to serve, here or on another node, serves only when all nodes have it.
            if !(serves || works || owners.owns(number) || taker.as_ref() == Some(number)) {
                self.note_load(version, None);
                continue;
            }
            let runs = before.as_ref().and_then(|before| before.numbered(number));
            let Some(loaded) = self.loaded(store, runtime, version, runs, &grants).await? else {
                continue;
            };
            if serves {
                active = Some(loaded);
            } else if let Some(canary) = &version.canary {
                let known = before.as_ref().and_then(|before| before.canary_of(number));
                canary_run = Some(match known.filter(|known| known.canary == *canary) {
                    Some(known) if Arc::ptr_eq(&known.loaded, &loaded) => Arc::clone(known),
                    Some(known) => Arc::new(known.with(loaded)),
                    None => {
                        let known = store.canary_run(name, number).await?;
                        Arc::new(CanaryRun::resumed(loaded, canary.clone(), known, &self.counter))
                    }
                });
            } else {
                draining.insert(number.clone(), loaded);
            }
        }
        // The previous version rather than none.
        let Some(active) = active.or_else(|| before.as_ref().map(|before| Arc::clone(&before.active))) else {
            return Ok(());
        };
        // In the database it is a version that only completes its calls.
        draining.remove(active.number());
        let mut next = VersionSet {
            active,
            canary_run,
            draining,
            owners,
        };
        for left in before.iter().flat_map(|before| before.all()) {
            if next.numbered(left.number()).is_none() && !left.is_idle() {
                next.draining.insert(left.number().to_owned(), left);
            }
        }
        let mut loaded: Vec<String> = next.all().iter().map(|loaded| loaded.number().to_owned()).collect();
        loaded.sort();
        self.canary_runs.put(name, next.canary_run.clone());
        self.by_connector
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::new(next));
        // For the node that waits to promote one of them.
        let mut reported = self.reported.lock().await;
        let key = (core.node.id(), name.to_owned());
        if reported.get(&key) != Some(&loaded) {
            store.note_loaded(&key.0, name, loaded.clone()).await?;
            reported.retain(|(node, _), _| *node == key.0);
            reported.insert(key, loaded);
        }
        Ok(())
    }

    /// A connector whose active version could not be loaded, or that has no version that serves because of a failed
    /// load, with the reason.
    pub(crate) fn not_loaded(&self) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failed = failed.into_iter();
        let ((name, number), failure) = failed.find(|((name, _), failure)| self.is_missed(name, failure))?;
        Some(format!("{name} {number} does not serve: {}", failure.reason))
    }

    /// Why the active version of this connector does not serve; `None` if it does.
    pub(crate) fn load_failure(&self, name: &str) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failed = failed.into_iter();
        let (_, failure) = failed.find(|((failed, _), failure)| failed == name && self.is_missed(name, failure))?;
        Some(failure.reason)
    }

    /// A version that only completes its calls while another one serves is not needed for webhooks.
    fn is_missed(&self, name: &str, failure: &LoadFailure) -> bool {
        failure.is_active || self.versions(name).is_none()
    }

    /// Why a version could not be loaded, if it was attempted.
    pub(crate) fn why_not_loaded(&self, name: &str, version: &str) -> Option<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failed.get(&(name.to_owned(), version.to_owned()))?;
        Some(failure.reason.clone())
    }

    /// The connectors of which a version is to be loaded again at `now`.
    pub(crate) fn due_for_retry(&self, now: Instant) -> BTreeSet<String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = failed.iter().filter(|(_, failure)| failure.retry_at <= now);
        due.map(|((name, _), _)| name.clone()).collect()
    }

    /// Whether the database marks the accounts of exactly these versions as held, as far as this process knows.
    pub(crate) fn holds(&self, name: &str, reasons: &BTreeMap<String, String>) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(name).is_some_and(|held| held.keys().eq(reasons.keys()))
    }

    /// The database now marks the accounts of exactly these versions as held.
    pub(crate) fn hold(&self, name: &str, reasons: BTreeMap<String, String>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(name.to_owned(), reasons);
    }

    /// Stores the result of loading a version; returns whether it could not be loaded before.
    pub(crate) fn note_load(&self, version: &Version, failure: Option<String>) -> bool {
        let key = (version.manifest.name.clone(), version.manifest.version.clone());
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failed.remove(&key);
        if let Some(reason) = failure {
            let wait = before
                .as_ref()
                .map_or(LOAD_RETRY.0, |before| (before.wait * 2).min(LOAD_RETRY.1));
            let failure = LoadFailure {
                reason,
                is_active: version.stage == VersionStage::Active,
                wait,
                retry_at: Instant::now() + wait,
            };
            failed.insert(key, failure);
        }
        before.is_some()
    }

    async fn loaded(
        &self,
        store: &dyn Store,
        runtime: &Runtime,
        version: &Version,
        runs: Option<&Arc<Loaded>>,
        grants: &Arc<Grants>,
    ) -> Result<Option<Arc<Loaded>>, StoreError> {
        if let Some(runs) = runs.filter(|runs| runs.grants == *grants) {
            return Ok(Some(Arc::clone(runs)));
        }
        match self.read(store, runtime, version).await {
            Ok(connector) => {
                self.note_load(version, None);
                let grants = Arc::clone(grants);
                Ok(Some(Arc::new(Loaded { connector, grants })))
            }
            Err(PromoteError::Store(error)) => Err(error),
            Err(error) => {
                let reason = match error {
                    PromoteError::Load(reason) => reason,
                    error => error.to_string(),
                };
                tracing::error!(
                    "{} {} does not serve: {reason}",
                    version.manifest.name,
                    version.manifest.version
                );
                self.note_load(version, Some(reason));
                Ok(None)
            }
        }
    }

    /// The versions that serve under this name.
    pub(crate) fn versions(&self, name: &str) -> Option<Arc<VersionSet>> {
        let by_connector = self.by_connector.read().unwrap_or_else(PoisonError::into_inner);
        by_connector.get(name).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(String, Arc<VersionSet>)> {
        let by_connector = self.by_connector.read().unwrap_or_else(PoisonError::into_inner);
        by_connector
            .iter()
            .map(|(name, versions)| (name.clone(), Arc::clone(versions)))
            .collect()
    }

    /// The first version to serve under this name; no effect if one serves already.
    pub(crate) fn put(&self, name: &str, loaded: &Arc<Loaded>) {
        let mut by_connector = self.by_connector.write().unwrap_or_else(PoisonError::into_inner);
        let versions = || Arc::new(VersionSet::of_one(Arc::clone(loaded)));
        by_connector.entry(name.to_owned()).or_insert_with(versions);
    }

    /// Changes the version of later calls. Running calls keep theirs.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut VersionSet)) {
        let mut by_connector = self.by_connector.write().unwrap_or_else(PoisonError::into_inner);
        let Some(versions) = by_connector.get_mut(name) else {
            return;
        };
        let mut next = VersionSet::clone(versions);
        change(&mut next);
        self.canary_runs.put(name, next.canary_run.clone());
        *versions = Arc::new(next);
    }

    /// The file of a component. The digest is our own hex, so the path cannot leave the directory.
    fn path(&self, digest: &str) -> PathBuf {
        self.folder
            .join(format!("{}.wasm", digest.trim_start_matches("sha256:")))
    }

    /// The digest of a component, from the name of its file, complete or partial, or of its compiled code.
    pub(crate) fn digest_of_file(name: &str) -> Option<String> {
        let digest = name.split(['.', '-']).next().unwrap_or_default();
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| format!("sha256:{digest}"))
    }

    /// The bytes of a version: from its file, or from the database if that is missing or was modified.
    async fn bytes(&self, store: &dyn Store, version: &Version) -> Result<Bytes, PromoteError> {
        let digest = &version.digest;
        let path = self.path(digest);
        if let Some(bytes) = read_file(path.clone(), digest).await {
            return Ok(bytes);
        }
        let lost = |what: &str| PromoteError::Load(format!("{what}; install its file again"));
        let bytes = store.component(digest).await?;
        let bytes = bytes.ok_or_else(|| lost("its component is not in the database"))?;
        if digest_of(&bytes) != *digest {
            return Err(lost("the database does not contain the bytes that were staged"));
        }
        if let Err(error) = write_file(&path, &bytes).await {
            tracing::warn!(
                "{} cannot be written, so it is read from the database each time: {error}",
                path.display()
            );
        }
        Ok(bytes)
    }

    pub(crate) fn judge(&self, bytes: &[u8], signature: Option<&str>) -> Result<Signature, NotTrusted> {
        provenance::judge(bytes, signature, &self.trusted, self.allow_unsigned)
    }

    /// Prepares a version to run, if its bytes are the ones that were staged and its signer is still trusted. A running
    /// version, such as the previous one while it completes its calls, is not loaded twice.
    pub(crate) async fn read(
        &self,
        store: &dyn Store,
        runtime: &Runtime,
        version: &Version,
    ) -> Result<Connector, PromoteError> {
        let bytes = self.bytes(store, version).await?;
        self.judge(&bytes, version.signature.text.as_deref())
            .map_err(|no| PromoteError::Load(no.to_string()))?;
        let versions = self.versions(&version.manifest.name);
        let runs = versions
            .as_ref()
            .and_then(|versions| versions.numbered(&version.manifest.version));
        if let Some(runs) = runs.map(|runs| &runs.connector)
            && version.digest.strip_prefix("sha256:") == Some(runs.digest())
        {
            return Ok(runs.clone());
        }
        let loaded = runtime.load(bytes).await;
        loaded.map_err(|error| PromoteError::Load(error.to_string()))
    }
}

/// The contents of a file if they match the digest in its name; `None` if the file is missing or differs.
async fn read_file(path: PathBuf, digest: &str) -> Option<Bytes> {
    // On a thread that may block: the digest of some megabytes takes as long as many webhooks.
    let read = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(path).ok()?;
        Some((digest_of(&bytes), Bytes::from(bytes)))
    });
    let (found, bytes) = read.await.ok()??;
    (found == digest).then_some(bytes)
}

/// Writes a file completely or not at all.
async fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("part");
    let mut file = tokio::fs::OpenOptions::from(private()).open(&unfinished).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, bytes).await?;
    // The next start reads it again and compares the digest, so it need not be synced to the disk.
    tokio::io::AsyncWriteExt::flush(&mut file).await?;
    tokio::fs::rename(&unfinished, &path).await
}

/// Grants from before terms existed apply to the terms of the versions that they were given for: the active one, and
/// otherwise any that requested the same.
async fn give_terms(store: &dyn Store, versions: &[Version], now: Timestamp) -> Result<(), StoreError> {
    let mut by_name: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
    for version in versions {
        by_name.entry(&version.manifest.name).or_default().push(version);
    }
    for (name, mut versions) in by_name {
        versions.sort_by_key(|version| match version.stage {
            VersionStage::Active => 0,
            VersionStage::Quarantined => 1,
            VersionStage::Canary | VersionStage::Draining => 2,
            VersionStage::Staged | VersionStage::Retired => 3,
        });
        let grants = store.grants(name).await?;
        let serves = versions
            .first()
            .is_some_and(|first| first.stage == VersionStage::Active);
        if !serves && grants == Grants::default() {
            continue;
        }
        let manifests: Vec<&Manifest> = versions.iter().map(|version| &version.manifest).collect();
        if let Some(grants) = grants.with_terms(&manifests) {
            store.put_grants(name, grants, now).await?;
        }
    }
    Ok(())
}

/// Whether no version serves in place of this quarantined one: there is no active one, and none was quarantined after
/// it.
fn last_to_serve(versions: &[Version], quarantined: &Version) -> bool {
    let mut others = versions
        .iter()
        .filter(|other| other.manifest.name == quarantined.manifest.name && other.digest != quarantined.digest);
    !others.any(|other| {
        other.stage == VersionStage::Active
            || (other.stage == VersionStage::Quarantined && other.changed_at > quarantined.changed_at)
    })
}

/// `sha256:…` of a component's bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
