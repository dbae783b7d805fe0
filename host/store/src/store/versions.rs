//! Versions of connectors, how they change places, and what the operator granted.

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

/// Versions of connectors, how they change places, and what the operator granted.
#[async_trait]
pub trait Versions: Send + Sync {
    /// Stages a version with its component and an event. The same digest again gives what is there, and replaces a component that was lost or changed.
    ///
    /// # Errors
    /// [`StageError`] when this version number stands for other bytes, or the release counter goes back.
    async fn stage_version(&self, version: NewVersion, now: Timestamp) -> Result<Version, StageError>;
    /// The component of this digest.
    async fn component(&self, digest: &str) -> Result<Option<Bytes>>;
    /// The digests of versions whose components are not in the record: they were installed when it held none.
    async fn missing_components(&self) -> Result<Vec<String>>;
    /// Keeps the component of a version that misses it. The caller has compared the digest.
    async fn keep_component(&self, digest: &str, component: Bytes) -> Result<()>;
    /// Versions of all connectors, newest first within each.
    async fn versions(&self) -> Result<Vec<Version>>;
    /// One version.
    async fn version(&self, connector: &str, version: &str) -> Result<Option<Version>>;
    /// Writes down that a change of a connector's versions begins, at which `node` works: from here on it, or another after its
    /// death, finishes or undoes it. False, and nothing is written, if another one is open.
    async fn begin_version_change(&self, connector: &str, intent: Intent, node: &str) -> Result<bool>;
    /// Changes that have begun and are not over, by their connectors: those of `node`, and from now on those of dead nodes.
    async fn open_version_changes(&self, node: &str) -> Result<Vec<(String, Intent)>>;
    /// The versions that take states over by changes that are open, whoever works at them: by connector.
    async fn takers(&self) -> Result<Vec<(String, String)>>;
    /// Notes that a node has loaded these versions of a connector, and no others.
    async fn note_loaded(&self, node: &str, connector: &str, versions: Vec<String>) -> Result<()>;
    /// The nodes that are alive and have not loaded a version; `but` is not asked about.
    async fn nodes_without_version(&self, connector: &str, version: &str, but: &str) -> Result<Vec<String>>;
    /// Undoes the open change of a connector: the states that it moved are as they were, their owners' again. How many.
    async fn undo_version_change(&self, connector: &str) -> Result<u64>;
    /// Makes a version the active one, by a promotion or a roll-back, and the one before draining, with an event and why, in words. Ends the open
    /// change. None if there is no such version.
    async fn activate_version(
        &self,
        connector: &str,
        version: &str,
        act: VersionAct,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Makes a version the canary, or changes its share or rule, with an event; another one that was a canary is staged again. Ends the
    /// open change. None if there is no such version.
    async fn begin_canary(
        &self,
        connector: &str,
        version: &str,
        canary: Canary,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Ends a version's canary run: it is staged again, or drains if it owns accounts, with an event that says why. Ends the open
    /// change. None if it is on none.
    async fn end_canary(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        failed: bool,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Keeps what the calls of a canary run came to at one node, also after its end. Those of an earlier run
    /// change nothing.
    async fn keep_canary_figures(
        &self,
        connector: &str,
        version: &str,
        node: &str,
        counted: CanaryFigures,
    ) -> Result<()>;
    /// The last canary run of a version.
    async fn canary_run(&self, connector: &str, version: &str) -> Result<Option<CanaryRunRecord>>;
    /// Notes crashes of versions that a node saw, each once.
    async fn note_crashes(&self, node: &str, crashes: Vec<VersionCrash>, now: Timestamp) -> Result<()>;
    /// The crashes within [`weir_domain::limits::BREAK_SPAN`] that other nodes noted, oldest first, each with its node.
    async fn crashes_of_others(&self, node: &str, now: Timestamp) -> Result<Vec<(String, VersionCrash)>>;
    /// Retires a version that serves nobody and owns no account.
    async fn retire_version(&self, connector: &str, version: &str, now: Timestamp) -> Result<Retirement>;
    /// The version that served before the active one, in the line of those that were active: a roll-back takes the last of the
    /// line away.
    async fn active_before(&self, connector: &str) -> Result<Option<String>>;
    /// The steps in the lives of a connector's versions, newest first.
    async fn version_changes(&self, connector: &str, limit: u32) -> Result<Vec<VersionChange>>;
    /// Quarantines a version, with an event that says why. None if there is no such version.
    async fn quarantine_version(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// What the operator granted a connector; empty until then.
    async fn grants(&self, connector: &str) -> Result<Grants>;
    /// Replaces what the operator granted.
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
        self.look(move |db| crashes::of_others(db, &node, now)).await
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
