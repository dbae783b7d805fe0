//! One round: counts are stored and evaluated, failures are written, accounts are held and released, idle versions are
//! retired.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_domain::rollout::{CanaryVerdict, VersionStage};
use weir_domain::time::Timestamp;
use weir_store::{Retirement, StoreError};

use crate::connectors::canary::CanaryRunView;
use crate::connectors::rollout::{Rollout, unless_store};
use crate::connectors::version_failures::{Cause, Failed, Lost};

/// How long accounts may be held before the database marks them as held: many rounds, each of which checks.
const HELD_UNMARKED: Duration = Duration::from_secs(60);

impl Rollout {
    /// A version's canary run, also after its end; `None` if it never was a canary.
    ///
    /// # Errors
    /// The database's errors.
    pub async fn canary_run(&self, connector: &str, version: &str) -> Result<Option<CanaryRunView>, StoreError> {
        if let Some(versions) = self.connectors.registry.versions(connector)
            && let Some(canary_run) = versions.canary_of(version)
        {
            return Ok(Some(canary_run.view()));
        }
        Ok(self
            .core
            .store()
            .canary_run(connector, version)
            .await?
            .map(CanaryRunView::from))
    }

    /// Stores the counts of a canary run, if they changed.
    pub(super) async fn keep_figures(&self, connector: &str) -> Result<(), StoreError> {
        let Some(versions) = self.connectors.registry.versions(connector) else {
            return Ok(());
        };
        let Some(canary_run) = &versions.canary_run else {
            return Ok(());
        };
        if let Some(figures) = canary_run.take_counted() {
            let version = canary_run.loaded.number();
            let store = self.core.store();
            let kept = store
                .keep_canary_figures(connector, version, &self.connectors.registry.counter, figures)
                .await;
            return kept.inspect_err(|_| canary_run.recount());
        }
        Ok(())
    }

    /// Publishes this node's counts of canaries and crashes to the other nodes, and evaluates the totals.
    ///
    /// # Errors
    /// The database failed; the next round continues.
    pub(crate) async fn share_counts(&self, now: Timestamp) -> Result<(), StoreError> {
        let (store, node) = (self.core.store(), &self.connectors.registry.counter);
        for (connector, versions) in self.connectors.registry.all() {
            let Some(canary_run) = &versions.canary_run else {
                continue;
            };
            self.keep_figures(&connector).await?;
            if let Some(known) = store.canary_run(&connector, canary_run.loaded.number()).await? {
                canary_run.learn(known, node);
                let runs = &self.connectors.registry.canary_runs;
                runs.roll_back_failed(&connector, canary_run, now);
            }
        }
        let quarantine = &self.connectors.quarantine;
        let crashes = quarantine.unshared();
        if !crashes.is_empty() {
            store.note_crashes(node, crashes.clone(), now).await?;
            quarantine.shared(crashes.len());
        }
        for (other, crash) in store.crashes_of_others(node, now).await? {
            if let Some(reason) = quarantine.crashed_elsewhere(&other, &crash, now) {
                tracing::error!("{} {} is quarantined: {reason}", crash.connector, crash.version);
                self.connectors
                    .registry
                    .canary_runs
                    .end(&crash.connector, &crash.version);
            }
        }
        Ok(())
    }

    /// Marks failed versions, as far as the database accepts it.
    pub(crate) async fn write_version_failures(&self) {
        for (failed, cause) in self.connectors.version_failures.all() {
            let (connector, version) = (&failed.connector, &failed.version);
            match self.write_failure(&failed, &cause).await {
                Ok(()) => {
                    self.connectors.version_failures.written(&failed);
                }
                Err(error) => tracing::error!(
                    "{connector} {version} failed ({}), and the database does not accept it yet; the write is retried: {error}",
                    cause.reason
                ),
            }
        }
    }

    async fn write_failure(&self, failed: &Failed, cause: &Cause) -> Result<(), StoreError> {
        let (connector, version) = (&failed.connector, &failed.version);
        // States that it took over belong to the active version again, even if that is quarantined.
        self.end_failed_canary(connector, version, &cause.reason).await?;
        if failed.lost == Lost::Leave {
            let (store, reason) = (self.core.store(), &cause.reason);
            store.quarantine_version(connector, version, reason, cause.at).await?;
        }
        Ok(())
    }

    async fn end_failed_canary(&self, connector: &str, version: &str, reason: &str) -> Result<(), StoreError> {
        let _lock = self.version_lock().await?;
        let versions = self.connectors.registry.versions(connector);
        match versions.filter(|versions| versions.canary_of(version).is_some()) {
            None => Ok(()),
            Some(versions) => {
                let ended = self.end_canary(connector, &versions, version, reason, true).await;
                ended.map(|_| ()).or_else(unless_store)
            }
        }
    }

    /// Holds the accounts whose versions cannot run, with the reason, and releases those whose versions can: their
    /// waiting webhooks are translated first.
    pub(crate) async fn hold_accounts(&self) -> Result<(), StoreError> {
        for (connector, versions) in self.connectors.registry.all() {
            let mut reasons = BTreeMap::new();
            for owner in versions.owners.versions() {
                // The active version concerns the connector, and not single accounts.
                if owner != versions.active.number()
                    && let Some(reason) = self.connectors.cannot_run(&connector, &versions, &owner)
                {
                    reasons.insert(owner, reason);
                }
            }
            let held_since = versions.owners.held_since();
            if reasons.is_empty() && held_since.is_none() || self.connectors.registry.holds(&connector, &reasons) {
                continue;
            }
            if let Some(since) = held_since {
                self.dead_letters
                    .replay(&connector, since.before(HELD_UNMARKED))
                    .await?;
            }
            let changed = self
                .core
                .store
                .hold_accounts(&connector, reasons.clone(), self.core.now())
                .await?;
            if changed.held + changed.freed > 0 {
                versions.owners.refresh(self.core.store(), &connector).await?;
            }
            if changed.freed > 0 {
                self.core.wakes.callers();
            }
            self.connectors.registry.hold(&connector, reasons);
        }
        Ok(())
    }

    /// Retires the versions that have completed their calls and own no account. Checked under the lock: a version that
    /// is found idle gets no account meanwhile.
    async fn retire_idle(&self, connector: &str, now: Timestamp) -> Result<(), StoreError> {
        let connectors = &self.connectors.registry;
        let Some(versions) = connectors.versions(connector) else {
            return Ok(());
        };
        for (version, draining) in &versions.draining {
            if versions.owners.owns(version) || !draining.is_idle() {
                continue;
            }
            let known = self.core.store().version(connector, version).await?;
            if known.is_some_and(|known| known.stage == VersionStage::Draining)
                && let Retirement::Owns(_) = self.core.store().retire_version(connector, version, now).await?
            {
                continue;
            }
            connectors.change(connector, |versions| drop(versions.draining.remove(version)));
        }
        Ok(())
    }

    /// Settles interrupted changes, stores the counts of canary runs, retires idle versions, and promotes canaries
    /// after their bake time if that is enabled.
    pub(crate) async fn rollout_round(&self, now: Timestamp, on_duty: bool) -> Result<(), StoreError> {
        drop(self.version_lock().await?);
        if on_duty {
            self.judge_round(now).await?;
        }
        self.hold_accounts().await
    }

    /// Stores the counts of calls, retires idle versions, and promotes canaries after their bake time.
    async fn judge_round(&self, now: Timestamp) -> Result<(), StoreError> {
        for (connector, versions) in self.connectors.registry.all() {
            let turn = self.version_lock().await?;
            self.keep_figures(&connector).await?;
            if !versions.draining.is_empty() {
                self.retire_idle(&connector, now).await?;
            }
            drop(turn);
            if let Some(canary_run) = &versions.canary_run
                && canary_run.canary.rule.promote
                && canary_run.canary.percent > 0
                && canary_run.judge(now) == CanaryVerdict::Held
            {
                let version = canary_run.loaded.number();
                // Another node may have promoted it already.
                let known = self.core.store().version(&connector, version).await?;
                if known.is_none_or(|known| known.stage != VersionStage::Canary) {
                    continue;
                }
                if let Err(error) = self.promote(&connector, version).await {
                    tracing::error!("{connector} {version} completed its bake time and is not promoted: {error}");
                }
            }
        }
        Ok(())
    }
}
