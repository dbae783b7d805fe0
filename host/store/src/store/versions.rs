//! Versions of connectors, changes of their stages, and the operator's grants.

use async_trait::async_trait;
use bytes::Bytes;
use weir_domain::grant::Grants;
use weir_domain::rollout::{Canary, Intent, VersionAct};
use weir_domain::time::Timestamp;

use crate::acts::{states, versions};
use crate::engine::Engine;
use crate::tables::{canary_runs, components, connectors, crashes, intents, loaded};
use crate::{
    CanaryFigures, CanaryRunRecord, NewVersion, Result, Retirement, StageError, Version, VersionChange, VersionCrash,
};

/// Versions of connectors, changes of their stages, and the operator's grants.
#[async_trait]
pub trait Versions: Send + Sync {
    /// Stages a version with its component and an event. The same digest again returns the stored version, and replaces
    /// a component that was lost or changed.
    ///
    /// # Errors
    /// [`StageError`] when this version number belongs to other bytes, or the release counter decreases.
    async fn stage_version(&self, version: NewVersion, now: Timestamp) -> Result<Version, StageError>;
    /// The component with this digest.
    async fn component(&self, digest: &str) -> Result<Option<Bytes>>;
    /// The digests of versions without a stored component: they were installed before the database stored components.
    async fn missing_components(&self) -> Result<Vec<String>>;
    /// Stores the component of a version that lacks it. The caller has verified the digest.
    async fn keep_component(&self, digest: &str, component: Bytes) -> Result<()>;
    /// Versions of all connectors, newest first within each.
    async fn versions(&self) -> Result<Vec<Version>>;
    /// One version.
    async fn version(&self, connector: &str, version: &str) -> Result<Option<Version>>;
    /// Stores that a change of a connector's versions begins, carried out by `node`: it, or another node after its
    /// death, completes or undoes it. Returns false, and writes nothing, if another change is in progress.
    async fn begin_version_change(&self, connector: &str, intent: Intent, node: &str) -> Result<bool>;
    /// Version changes in progress, by their connectors: those of `node`, and from now on those of dead nodes.
    async fn open_version_changes(&self, node: &str) -> Result<Vec<(String, Intent)>>;
    /// The versions that take over states by changes in progress, of any node: by connector.
    async fn takers(&self) -> Result<Vec<(String, String)>>;
    /// Stores the versions of a connector that a node has loaded.
    async fn note_loaded(&self, node: &str, connector: &str, versions: Vec<String>) -> Result<()>;
    /// The living nodes, except `but`, that have not loaded a version.
    async fn nodes_without_version(&self, connector: &str, version: &str, but: &str) -> Result<Vec<String>>;
    /// Undoes a connector's change in progress: the states that it moved are restored, with their owners. Returns their
    /// number.
    async fn undo_version_change(&self, connector: &str) -> Result<u64>;
    /// Makes a version the active one, by a promotion or a rollback, and the previous one draining, with an event and a
    /// reason for people. Ends the change in progress. `None` if the version does not exist.
    async fn activate_version(
        &self,
        connector: &str,
        version: &str,
        act: VersionAct,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Makes a version the canary, or changes its share or rule, with an event; another canary is staged again. Ends
    /// the change in progress. `None` if the version does not exist.
    async fn begin_canary(
        &self,
        connector: &str,
        version: &str,
        canary: Canary,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Ends a version's canary run: it is staged again, or drains if it owns accounts, with an event that has the
    /// reason. Ends the change in progress. `None` if it is not a canary.
    async fn end_canary(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        failed: bool,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Stores one node's figures of a canary run, also after its end. Figures of an earlier run change nothing.
    async fn keep_canary_figures(
        &self,
        connector: &str,
        version: &str,
        node: &str,
        counted: CanaryFigures,
    ) -> Result<()>;
    /// The last canary run of a version.
    async fn canary_run(&self, connector: &str, version: &str) -> Result<Option<CanaryRunRecord>>;
    /// Stores crashes of versions that a node saw, each once.
    async fn note_crashes(&self, node: &str, crashes: Vec<VersionCrash>, now: Timestamp) -> Result<()>;
    /// The crashes within [`weir_domain::limits::CRASH_SPAN`] that other nodes stored, oldest first, each with its
    /// node.
    async fn crashes_of_others(&self, node: &str, now: Timestamp) -> Result<Vec<(String, VersionCrash)>>;
    /// Retires a version that serves no account and owns no state.
    async fn retire_version(&self, connector: &str, version: &str, now: Timestamp) -> Result<Retirement>;
    /// The version that was active before the active one: a rollback removes the last entry of this sequence.
    async fn active_before(&self, connector: &str) -> Result<Option<String>>;
    /// The timeline of a connector's versions, newest first.
    async fn version_changes(&self, connector: &str, limit: u32) -> Result<Vec<VersionChange>>;
    /// Quarantines a version, with an event that has the reason. `None` if the version does not exist.
    async fn quarantine_version(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// The operator's grants for a connector; empty at first.
    async fn grants(&self, connector: &str) -> Result<Grants>;
    /// Replaces the operator's grants.
    async fn put_grants(&self, connector: &str, grants: Grants, now: Timestamp) -> Result<()>;
}

#[async_trait]
impl<E: Engine> Versions for E {
    async fn stage_version(&self, version: NewVersion, now: Timestamp) -> Result<Version, StageError> {
        self.write(move |db| versions::stage(db, version.clone(), now)).await
    }
    async fn component(&self, digest: &str) -> Result<Option<Bytes>> {
        let digest = digest.to_owned();
        self.read(move |db| components::one(db, &digest)).await
    }
    async fn missing_components(&self) -> Result<Vec<String>> {
        self.read(components::missing).await
    }
    async fn keep_component(&self, digest: &str, component: Bytes) -> Result<()> {
        let digest = digest.to_owned();
        self.write(move |db| components::put(db, &digest, &component)).await
    }
    async fn versions(&self) -> Result<Vec<Version>> {
        self.read(connectors::all).await
    }
    async fn version(&self, connector: &str, version: &str) -> Result<Option<Version>> {
        let connector = connector.to_owned();
        let version = version.to_owned();
        self.read(move |db| connectors::one(db, &connector, &version)).await
    }
    async fn begin_version_change(&self, connector: &str, intent: Intent, node: &str) -> Result<bool> {
        let (connector, node) = (connector.to_owned(), node.to_owned());
        self.write(move |db| intents::begin(db, &connector, &intent, &node))
            .await
    }
    async fn open_version_changes(&self, node: &str) -> Result<Vec<(String, Intent)>> {
        let node = node.to_owned();
        if self.read(intents::has_orphans).await? {
            let node = node.clone();
            self.write(move |db| intents::adopt(db, &node)).await?;
        }
        self.read(move |db| intents::open(db, &node)).await
    }
    async fn takers(&self) -> Result<Vec<(String, String)>> {
        self.read(intents::takers).await
    }
    async fn note_loaded(&self, node: &str, connector: &str, versions: Vec<String>) -> Result<()> {
        let (node, connector) = (node.to_owned(), connector.to_owned());
        self.write(move |db| loaded::note(db, &node, &connector, &versions))
            .await
    }
    async fn nodes_without_version(&self, connector: &str, version: &str, but: &str) -> Result<Vec<String>> {
        let (connector, version, but) = (connector.to_owned(), version.to_owned(), but.to_owned());
        self.read(move |db| loaded::nodes_without(db, &connector, &version, &but))
            .await
    }
    async fn undo_version_change(&self, connector: &str) -> Result<u64> {
        let connector = connector.to_owned();
        self.write(move |db| states::undo(db, &connector)).await
    }
    async fn activate_version(
        &self,
        connector: &str,
        version: &str,
        act: VersionAct,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| versions::activate(db, &connector, &version, act, &reason, now))
            .await
    }
    async fn begin_canary(
        &self,
        connector: &str,
        version: &str,
        canary: Canary,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.write(move |db| versions::begin_canary(db, &connector, &version, canary.clone(), now))
            .await
    }
    async fn end_canary(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        failed: bool,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| versions::end_canary(db, &connector, &version, &reason, failed, now))
            .await
    }
    async fn keep_canary_figures(
        &self,
        connector: &str,
        version: &str,
        node: &str,
        counted: CanaryFigures,
    ) -> Result<()> {
        let (connector, version, node) = (connector.to_owned(), version.to_owned(), node.to_owned());
        self.write(move |db| canary_runs::keep_figures(db, &connector, &version, &node, &counted))
            .await
    }
    async fn canary_run(&self, connector: &str, version: &str) -> Result<Option<CanaryRunRecord>> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.read(move |db| canary_runs::one(db, &connector, &version)).await
    }
    async fn note_crashes(&self, node: &str, crashes: Vec<VersionCrash>, now: Timestamp) -> Result<()> {
        let node = node.to_owned();
        self.write(move |db| crashes::note(db, &node, &crashes, now)).await
    }
    async fn crashes_of_others(&self, node: &str, now: Timestamp) -> Result<Vec<(String, VersionCrash)>> {
        let node = node.to_owned();
        self.lookup(move |db| crashes::of_others(db, &node, now)).await
    }
    async fn retire_version(&self, connector: &str, version: &str, now: Timestamp) -> Result<Retirement> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.write(move |db| versions::retire(db, &connector, &version, now))
            .await
    }
    async fn active_before(&self, connector: &str) -> Result<Option<String>> {
        let connector = connector.to_owned();
        self.read(move |db| connectors::active_before(db, &connector)).await
    }
    async fn version_changes(&self, connector: &str, limit: u32) -> Result<Vec<VersionChange>> {
        let connector = connector.to_owned();
        self.read(move |db| connectors::timeline(db, &connector, limit)).await
    }
    async fn quarantine_version(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| versions::quarantine(db, &connector, &version, &reason, now))
            .await
    }
    async fn grants(&self, connector: &str) -> Result<Grants> {
        let connector = connector.to_owned();
        self.read(move |db| connectors::grants(db, &connector)).await
    }
    async fn put_grants(&self, connector: &str, grants: Grants, now: Timestamp) -> Result<()> {
        let connector = connector.to_owned();
        self.write(move |db| connectors::put_grants(db, &connector, &grants, now))
            .await
    }
}
