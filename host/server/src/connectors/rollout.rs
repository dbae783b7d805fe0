//! The versions of a connector that serve: the active one, a canary, and those that own states which the active one
//! could not take over.
//!
//! Guarantees: a call is bound to one version from start to end; the version depends on the account alone, so that a
//! conversation is served by one; no webhook is refused because of a change of versions; the active version remains the
//! fallback of a canary; no version runs on a state that another owns.
//!
//! Each change has five steps: check everything that can fail; store the intent; load the version on every node; move
//! the states, one account after the other; change the stages, which ends the change. The next start, round or change
//! completes or undoes an interrupted one.

mod moves;
mod rounds;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::MutexGuard;
use tokio::time::Instant;
use weir_domain::rollout::{Canary, CanaryRule, Intent, Resolution, TakerFacts, VersionAct, VersionStage, resolve};
use weir_domain::time::Timestamp;
use weir_store::{Retirement, StoreError, Version, kill_point};

use crate::connectors::Connectors;
use crate::connectors::canary::CanaryRun;
use crate::connectors::loaded::Loaded;
use crate::connectors::promotion::{PromoteError, check_grants};
use crate::connectors::version_set::VersionSet;
use crate::core::Core;

/// Replay of dead letters from the time when no version could translate them.
#[async_trait]
pub(crate) trait DeadLetterReplay: Send + Sync {
    /// Translates the dead letters of a connector's apps since `since`, oldest first. Ends early if the version that
    /// serves now is quarantined too.
    ///
    /// # Errors
    /// The database failed.
    async fn replay(&self, connector: &str, since: Timestamp) -> Result<(), StoreError>;
}

/// Moves accounts between the versions of their connectors.
pub struct Rollout {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    dead_letters: Arc<dyn DeadLetterReplay>,
}

impl Rollout {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>, dead_letters: Arc<dyn DeadLetterReplay>) -> Self {
        Self {
            core,
            connectors,
            dead_letters,
        }
    }

    /// Starts a canary, or changes its share or rule.
    ///
    /// # Errors
    /// See [`PromoteError`]; the previous versions continue to serve.
    pub async fn begin_canary(&self, connector: &str, version: &str, canary: Canary) -> Result<Version, PromoteError> {
        let _lock = self.version_lock().await?;
        let versions = self.connectors.registry.versions(connector);
        let versions = versions.ok_or_else(|| PromoteError::NothingActive {
            connector: connector.to_owned(),
        })?;
        if versions.active.number() == version {
            return Err(PromoteError::Serves {
                connector: connector.to_owned(),
                version: version.to_owned(),
            });
        }
        let taker = self.ready_version(connector, version, canary.percent > 0).await?;
        let mut intent = self.intent(connector, VersionAct::BeginCanary, version, version);
        intent.canary = Some(canary);
        self.carry_out(connector, intent, taker).await
    }

    /// Makes a version the active one, even if it was quarantined. Running calls complete with their version. Dead
    /// letters from the time of the quarantine are then translated, oldest first.
    ///
    /// # Errors
    /// See [`PromoteError`]; the previous version continues to serve.
    pub async fn promote(&self, connector: &str, version: &str) -> Result<Version, PromoteError> {
        let _lock = self.version_lock().await?;
        let taker = self.ready_version(connector, version, true).await?;
        let intent = self.intent(connector, VersionAct::Promote, version, version);
        self.carry_out(connector, intent, taker).await
    }

    /// Stops a canary, which is staged again, or replaces the active version by the previous one. States that the
    /// version took over are restored from their copies. States without a copy are translated by the older version, if
    /// it can; otherwise they stay with the newer one, which continues to serve those accounts.
    ///
    /// # Errors
    /// See [`PromoteError`]; the previous versions continue to serve.
    pub async fn roll_back(&self, connector: &str, version: &str, reason: &str) -> Result<Version, PromoteError> {
        let _lock = self.version_lock().await?;
        let versions = self.connectors.registry.versions(connector);
        let versions = versions.ok_or_else(|| not_found(connector, version))?;
        if versions.canary_of(version).is_some() {
            return self.end_canary(connector, &versions, version, reason, false).await;
        }
        if versions.active.number() != version {
            return Err(not_found(connector, version));
        }
        let before = self.core.store().active_before(connector).await?;
        let before = before.ok_or_else(|| PromoteError::NothingBefore {
            connector: connector.to_owned(),
            version: version.to_owned(),
        })?;
        let taker = self.ready_version(connector, &before, true).await?;
        if self.is_quarantined(connector, &before).await? {
            return Err(PromoteError::BeforeQuarantined {
                connector: connector.to_owned(),
                version: before,
            });
        }
        let mut intent = self.intent(connector, VersionAct::RollBack, version, &before);
        reason.clone_into(&mut intent.reason);
        self.carry_out(connector, intent, taker).await
    }

    /// Ends a canary run. The caller holds the lock.
    async fn end_canary(
        &self,
        connector: &str,
        versions: &VersionSet,
        version: &str,
        reason: &str,
        failed: bool,
    ) -> Result<Version, PromoteError> {
        let mut intent = self.intent(connector, VersionAct::EndCanary, version, versions.active.number());
        reason.clone_into(&mut intent.reason);
        intent.failed = failed;
        self.carry_out(connector, intent, Arc::clone(&versions.active)).await
    }

    /// Retires a version that serves no account.
    ///
    /// # Errors
    /// [`PromoteError::NotFound`], [`PromoteError::Serves`] or [`PromoteError::Owns`].
    pub async fn retire(&self, connector: &str, version: &str) -> Result<Version, PromoteError> {
        let _lock = self.version_lock().await?;
        let (name, number) = (connector.to_owned(), version.to_owned());
        match self
            .core
            .store()
            .retire_version(connector, version, self.core.now())
            .await?
        {
            Retirement::Retired(retired) => Ok(*retired),
            Retirement::NotFound => Err(not_found(connector, version)),
            Retirement::Serves => Err(PromoteError::Serves {
                connector: name,
                version: number,
            }),
            Retirement::Owns(accounts) => Err(PromoteError::Owns {
                connector: name,
                version: number,
                accounts,
            }),
        }
    }

    /// Takes the lock for changing versions. Interrupted changes are settled first.
    async fn version_lock(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        let turn = self.connectors.registry.changing.lock().await;
        self.settle_open_changes().await?;
        Ok(turn)
    }

    fn intent(&self, connector: &str, act: VersionAct, version: &str, taker: &str) -> Intent {
        let versions = self.connectors.registry.versions(connector);
        Intent {
            act,
            version: version.to_owned(),
            taker: taker.to_owned(),
            before: versions.map(|versions| versions.active.number().to_owned()),
            canary: None,
            failed: false,
            reason: String::new(),
            begun_at: self.core.now(),
        }
    }

    /// Loads a version; one that is to serve must have its grants decided.
    async fn ready_version(&self, connector: &str, version: &str, serves: bool) -> Result<Arc<Loaded>, PromoteError> {
        let staged = self.core.store().version(connector, version).await?;
        let staged = staged.ok_or_else(|| not_found(connector, version))?;
        let grants = self.core.store().grants(connector).await?;
        if serves {
            check_grants(&staged, &grants)?;
        }
        let connector = self.connectors.load_version(&staged).await?;
        Ok(Arc::new(Loaded {
            connector,
            grants: Arc::new(grants),
        }))
    }

    async fn is_quarantined(&self, connector: &str, version: &str) -> Result<bool, StoreError> {
        let known = self.core.store().version(connector, version).await?;
        let is_marked = known.is_some_and(|known| known.stage == VersionStage::Quarantined);
        Ok(is_marked || self.connectors.quarantine.reason(connector, version).is_some())
    }

    /// Performs a change that was checked. The caller holds the lock.
    async fn carry_out(&self, connector: &str, intent: Intent, taker: Arc<Loaded>) -> Result<Version, PromoteError> {
        let store = self.core.store();
        let node = self.core.node.id();
        if !store.begin_version_change(connector, intent.clone(), &node).await? {
            return Err(PromoteError::Changing {
                connector: connector.to_owned(),
            });
        }
        kill_point("version.intended");
        // All nodes have loaded a version that already serves; and if none serves, no other version does either.
        if intent.act != VersionAct::EndCanary
            && intent.before.is_some()
            && let Err(error) = self.await_nodes(connector, &intent.taker).await
        {
            self.undo(connector).await?;
            return Err(error);
        }
        self.finish(connector, &intent, Some(taker)).await
    }

    /// Waits until every node has loaded a version: none serves an account with a version that another does not know. A
    /// node that died meanwhile is excluded.
    async fn await_nodes(&self, connector: &str, version: &str) -> Result<(), PromoteError> {
        let (store, end) = (self.core.store(), Instant::now() + NODES);
        loop {
            let nodes = store
                .nodes_without_version(connector, version, &self.core.node.id())
                .await?;
            if nodes.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(PromoteError::NotEverywhere {
                    connector: connector.to_owned(),
                    version: version.to_owned(),
                    nodes,
                });
            }
            // The lock is held here, and another node may wait for this one in the same way.
            for (other, _) in store.takers().await? {
                if other != connector {
                    let Connectors {
                        registry,
                        runtime,
                        quarantine,
                        ..
                    } = &*self.connectors;
                    registry.follow(&self.core, runtime, quarantine, &other).await?;
                }
            }
            tokio::time::sleep(RECHECK).await;
        }
    }

    /// Moves the states of a stored change, and ends it. Every step is idempotent. If the database fails, the change
    /// stays open.
    async fn finish(
        &self,
        connector: &str,
        intent: &Intent,
        taker: Option<Arc<Loaded>>,
    ) -> Result<Version, PromoteError> {
        if intent.act != VersionAct::EndCanary {
            // An operator requested it. From here on only its new behavior can quarantine it.
            self.connectors.quarantine.release(connector, &intent.taker);
        }
        if let Err(error) = self.move_states(connector, intent, taker.as_ref()).await {
            if matches!(error, PromoteError::Quarantined { .. }) {
                self.undo(connector).await?;
            }
            return Err(error);
        }
        kill_point("version.states_moved");
        let known = self.connectors.registry.versions(connector);
        let owners = known.map(|versions| versions.owners.clone()).unwrap_or_default();
        owners.refresh(self.core.store(), connector).await?;
        let quarantined_at = self.quarantined_at(connector).await?;
        self.keep_figures(connector).await?;
        let version = self.change_stages(connector, intent).await?;
        kill_point("version.changed");
        let taker = taker.filter(|_| intent.act != VersionAct::EndCanary);
        if let Some(taker) = taker.as_ref().filter(|_| intent.act != VersionAct::BeginCanary) {
            self.connectors.registry.put(connector, taker);
        }
        self.connectors.registry.change(connector, |versions| {
            // A version that no longer serves completes its calls.
            let left = match (intent.act, taker) {
                (VersionAct::BeginCanary, Some(taker)) => {
                    let canary = intent.canary.clone().unwrap_or_else(|| no_share(intent.begun_at));
                    let canary_run = versions.canary_run.replace(Arc::new(CanaryRun::new(taker, canary)));
                    [canary_run.map(|canary_run| Arc::clone(&canary_run.loaded)), None]
                }
                (_, Some(taker)) => {
                    let canary_run = versions.canary_run.take();
                    let before = std::mem::replace(&mut versions.active, taker);
                    [
                        canary_run.map(|canary_run| Arc::clone(&canary_run.loaded)),
                        Some(before),
                    ]
                }
                (_, None) => {
                    let canary_run = versions
                        .canary_run
                        .take_if(|canary_run| canary_run.loaded.number() == intent.version);
                    [canary_run.map(|canary_run| Arc::clone(&canary_run.loaded)), None]
                }
            };
            for left in left.into_iter().flatten() {
                versions.draining.insert(left.number().to_owned(), left);
            }
            versions.draining.remove(versions.active.number());
            if let Some(canary_run) = &versions.canary_run {
                versions.draining.remove(canary_run.loaded.number());
            }
            versions.owners = owners;
        });
        if matches!(intent.act, VersionAct::Promote | VersionAct::RollBack) {
            self.serves(connector, &intent.taker, quarantined_at);
        }
        Ok(version)
    }

    /// When a version of this connector was last quarantined; `None` if no version is quarantined.
    pub(crate) async fn quarantined_at(&self, connector: &str) -> Result<Option<Timestamp>, StoreError> {
        let versions = self.core.store().versions().await?.into_iter();
        Ok(versions
            .filter(|version| version.manifest.name == connector && version.stage == VersionStage::Quarantined)
            .map(|version| version.changed_at)
            .max())
    }

    /// Changes the stages, and ends the intent with them.
    async fn change_stages(&self, connector: &str, intent: &Intent) -> Result<Version, PromoteError> {
        let (store, now) = (self.core.store(), self.core.now());
        let (version, reason) = (&intent.version, &intent.reason);
        let changed = match (intent.act, &intent.canary) {
            (VersionAct::BeginCanary, Some(canary)) => {
                store.begin_canary(connector, version, canary.clone(), now).await?
            }
            (VersionAct::Promote | VersionAct::RollBack, _) => {
                store
                    .activate_version(connector, &intent.taker, intent.act, reason, now)
                    .await?
            }
            (VersionAct::EndCanary | VersionAct::BeginCanary, _) => {
                let ended = store.end_canary(connector, version, reason, intent.failed, now).await?;
                // In the database it is no longer a canary: it was quarantined meanwhile.
                match ended {
                    None => store.version(connector, version).await?,
                    ended => ended,
                }
            }
        };
        changed.ok_or_else(|| not_found(connector, version))
    }

    /// A version is the active one from now on.
    fn serves(&self, connector: &str, version: &str, quarantined_at: Option<Timestamp>) {
        // Work that waited for a version that serves, or for a fixed one.
        self.core.wakes.callers();
        tracing::info!(connector, version, "{connector} {version} serves");
        if let Some(since) = quarantined_at {
            let (dead_letters, connector) = (Arc::clone(&self.dead_letters), connector.to_owned());
            tokio::spawn(async move {
                if let Err(error) = dead_letters.replay(&connector, since).await {
                    tracing::error!("Dead letters of {connector} wait for the next replay: {error}");
                }
            });
        }
    }

    /// Undoes the open change: every state returns to its owner.
    async fn undo(&self, connector: &str) -> Result<(), StoreError> {
        self.core.store().undo_version_change(connector).await?;
        match self.connectors.registry.versions(connector) {
            Some(versions) => versions.owners.refresh(self.core.store(), connector).await,
            None => Ok(()),
        }
    }

    /// Completes or undoes interrupted changes. The caller holds the lock.
    ///
    /// # Errors
    /// The database failed; the changes stay open.
    async fn settle_open_changes(&self) -> Result<(), StoreError> {
        for (connector, intent) in self.core.store().open_version_changes(&self.core.node.id()).await? {
            let known = self.core.store().version(&connector, &intent.taker).await?;
            let (mut taker, mut granted) = (None, false);
            if let Some(known) = &known {
                let grants = self.core.store().grants(&connector).await?;
                granted = check_grants(known, &grants).is_ok();
                match self.connectors.load_version(known).await {
                    Ok(loaded) => {
                        taker = Some(Arc::new(Loaded {
                            connector: loaded,
                            grants: Arc::new(grants),
                        }));
                    }
                    Err(error) => tracing::warn!("{connector} {}: {error}", intent.taker),
                }
            }
            let facts = TakerFacts {
                loads: taker.is_some(),
                granted,
                quarantined: self.is_quarantined(&connector, &intent.taker).await?,
            };
            let (resolution, version) = (resolve(&intent, facts), &intent.version);
            tracing::info!(connector, version, act = ?intent.act, "A change of {connector} was interrupted: {resolution:?}");
            match resolution {
                Resolution::Undo => self.undo(&connector).await?,
                Resolution::Finish => match self.finish(&connector, &intent, taker).await {
                    Ok(_) => {}
                    Err(PromoteError::Store(error)) => return Err(error),
                    // It has ended nevertheless.
                    Err(error) => tracing::warn!("{error}"),
                },
            }
        }
        Ok(())
    }

    /// To be called at the start, before any request is served: completes or undoes interrupted changes, and ends the
    /// run of a canary that failed before the process ended.
    pub(crate) async fn resume_versions(&self) -> Result<(), StoreError> {
        let _lock = self.version_lock().await?;
        for (connector, versions) in self.connectors.registry.all() {
            if let Some(canary_run) = &versions.canary_run
                && let Some(reason) = canary_run.failed(self.core.now())
            {
                let version = canary_run.loaded.number();
                let ended = self.end_canary(&connector, &versions, version, &reason, true).await;
                ended.map(|_| ()).or_else(unless_store)?;
            }
        }
        Ok(())
    }
}

/// How long a change waits for other nodes to load its version: they poll every two seconds, a dead one is detected
/// after ten, and compiling takes time too.
const NODES: Duration = Duration::from_secs(30);
/// How often it polls meanwhile.
const RECHECK: Duration = Duration::from_millis(250);
/// Number of a connector's version changes that are searched and shown.
pub(crate) const TIMELINE: u32 = 200;

fn no_share(since: Timestamp) -> Canary {
    Canary {
        percent: 0,
        rule: CanaryRule::default(),
        since,
    }
}

/// Only logs an error that is not the database's: it has ended the change.
fn unless_store(error: PromoteError) -> Result<(), StoreError> {
    match error {
        PromoteError::Store(error) => Err(error),
        error => {
            tracing::warn!("{error}");
            Ok(())
        }
    }
}

fn not_found(connector: &str, version: &str) -> PromoteError {
    PromoteError::NotFound {
        connector: connector.to_owned(),
        version: version.to_owned(),
    }
}
