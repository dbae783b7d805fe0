//! The versions of a connector that serve: the active one, one on trial beside it, and those that keep what the active one
//! could not take over.
//!
//! Promises: a call is bound to one version from its beginning to its end; which version that is depends on the account alone,
//! so that a conversation meets one; a webhook is never refused for a change of versions; whatever a version on trial does,
//! the active one stands behind it.

mod line;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;

use weir_domain::rollout::{Canary, CanaryVerdict, VersionStage};
use weir_domain::time::Timestamp;
use weir_runtime::Connector;
use weir_store::{StateMove, StateOwner, StoreError, Version};

use crate::host::Host;
use crate::registry::{Loaded, PromoteError};

pub(crate) use line::{Line, Owners};
pub use trial::{FiguresView, TrialView};
pub(crate) use trial::{GoesBack, Trial, Trials};

impl Host {
    /// Puts a version on trial beside the active one, or changes its share or rule.
    ///
    /// # Errors
    /// See [`PromoteError`]; what served before goes on serving.
    pub async fn begin_canary(&self, connector: &str, version: &str, canary: Canary) -> Result<Version, PromoteError> {
        let connectors = &self.0.connectors;
        let _turn = connectors.changing.lock().await;
        let line = connectors.line(connector).ok_or_else(|| PromoteError::NothingActive {
            connector: connector.to_owned(),
        })?;
        if line.active.number() == version {
            return Err(PromoteError::Serves {
                connector: connector.to_owned(),
                version: version.to_owned(),
            });
        }
        let (_, loaded) = self.ready_version(connector, version, canary.percent > 0).await?;
        if let Some(other) = line.trial.as_ref().filter(|trial| trial.loaded.number() != version) {
            self.store().give_state_back(connector, other.loaded.number()).await?;
        }
        if canary.percent > 0 {
            self.take_state_over(connector, &loaded, &line, |owner| {
                canary.serves(&owner.app, &owner.platform_id)
            })
            .await?;
        }
        let now = self.now();
        let on_trial = self
            .store()
            .begin_canary(connector, version, canary.clone(), now)
            .await?;
        let on_trial = on_trial.ok_or_else(|| not_found(connector, version))?;
        self.0.quarantine.release(connector, version);
        let owners = Owners::read(self.store(), connector).await?;
        connectors.change(connector, |line| {
            line.trial = Some(Arc::new(Trial::new(loaded, canary)));
            line.owners = owners;
        });
        self.told();
        Ok(on_trial)
    }

    /// Makes a version the one that serves, though it was set aside. Calls that run go on with theirs. What was kept while one
    /// was set aside is then translated, oldest first.
    ///
    /// # Errors
    /// See [`PromoteError`]; the version before goes on serving.
    pub async fn promote(&self, connector: &str, version: &str) -> Result<Version, PromoteError> {
        let _turn = self.0.connectors.changing.lock().await;
        self.put_ahead(connector, version, "", true).await
    }

    /// Takes a version back: one on trial is staged again, and in the place of the active one comes the one before it. States
    /// that it took over are as they were.
    ///
    /// # Errors
    /// See [`PromoteError`]; what served before goes on serving.
    pub async fn roll_back(&self, connector: &str, version: &str, reason: &str) -> Result<Version, PromoteError> {
        let connectors = &self.0.connectors;
        let _turn = connectors.changing.lock().await;
        let line = connectors
            .line(connector)
            .ok_or_else(|| not_found(connector, version))?;
        if line.trial_of(version).is_some() {
            self.store().give_state_back(connector, version).await?;
            let back = self.store().end_canary(connector, version, reason, self.now()).await?;
            let owners = Owners::read(self.store(), connector).await?;
            connectors.change(connector, |line| {
                if let Some(trial) = line.trial.take() {
                    // What it has in hand it finishes.
                    line.beside
                        .insert(trial.loaded.number().to_owned(), Arc::clone(&trial.loaded));
                }
                line.owners = owners;
            });
            self.told();
            return back.ok_or_else(|| not_found(connector, version));
        }
        if line.active.number() != version {
            return Err(not_found(connector, version));
        }
        let steps = self.store().version_changes(connector, TIMELINE).await?;
        let before = steps
            .iter()
            .find(|step| step.stage == VersionStage::Active && step.version != version)
            .ok_or_else(|| PromoteError::NothingBefore {
                connector: connector.to_owned(),
                version: version.to_owned(),
            })?;
        self.store().give_state_back(connector, version).await?;
        self.put_ahead(connector, &before.version, reason, false).await
    }

    /// Retires a version that serves nobody.
    ///
    /// # Errors
    /// [`PromoteError::NotFound`], or [`PromoteError::Serves`].
    pub async fn retire(&self, connector: &str, version: &str) -> Result<Version, PromoteError> {
        let _turn = self.0.connectors.changing.lock().await;
        let known = self.store().version(connector, version).await?;
        known.ok_or_else(|| not_found(connector, version))?;
        let retired = self.store().retire_version(connector, version, self.now()).await?;
        retired.ok_or_else(|| PromoteError::Serves {
            connector: connector.to_owned(),
            version: version.to_owned(),
        })
    }

    /// A version, loaded; one that is to serve is granted what it wants.
    async fn ready_version(
        &self,
        connector: &str,
        version: &str,
        serves: bool,
    ) -> Result<(Version, Arc<Loaded>), PromoteError> {
        let staged = self.store().version(connector, version).await?;
        let staged = staged.ok_or_else(|| not_found(connector, version))?;
        let grants = self.store().grants(connector).await?;
        if serves {
            crate::registry::check_grants(&staged, &grants)?;
        }
        let known = self.0.connectors.line(connector);
        let connector = match known.as_ref().and_then(|line| line.trial_of(version)) {
            Some(trial) => trial.loaded.connector.clone(),
            None => self.load_version(&staged).await?,
        };
        let loaded = Loaded {
            connector,
            grants: Arc::new(grants),
        };
        Ok((staged, Arc::new(loaded)))
    }

    /// A version, loaded, for whatever does not let it serve.
    ///
    /// # Errors
    /// [`PromoteError::NotFound`] and [`PromoteError::Load`].
    pub(crate) async fn load_version(&self, version: &Version) -> Result<Connector, PromoteError> {
        let read = self.0.connectors.read(&self.0.runtime, version).await;
        read.map_err(PromoteError::Load)
    }

    /// The turn is the caller's.
    async fn put_ahead(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        takes_over: bool,
    ) -> Result<Version, PromoteError> {
        let connectors = &self.0.connectors;
        let (_, loaded) = self.ready_version(connector, version, true).await?;
        let set_aside_at = self.set_aside_at(connector).await?;
        let line = connectors.line(connector);
        if let Some(line) = line.as_ref().filter(|_| takes_over) {
            if let Some(other) = line.trial.as_ref().filter(|trial| trial.loaded.number() != version) {
                self.store().give_state_back(connector, other.loaded.number()).await?;
            }
            self.take_state_over(connector, &loaded, line, |_| true).await?;
        }
        let active = self
            .store()
            .activate_version(connector, version, reason, self.now())
            .await?;
        let active = active.ok_or_else(|| not_found(connector, version))?;
        self.0.quarantine.release(connector, version);
        let owners = Owners::read(self.store(), connector).await?;
        connectors.put(connector, &loaded);
        connectors.change(connector, |line| {
            let over = line.trial.take().map(|trial| Arc::clone(&trial.loaded));
            let before = std::mem::replace(&mut line.active, loaded);
            for left in [Some(before), over].into_iter().flatten() {
                if left.number() != version {
                    line.beside.insert(left.number().to_owned(), left);
                }
            }
            line.beside.remove(version);
            line.owners = owners;
        });
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

    /// Hands the states of the accounts that `is_meant` to a version. One that knows how to translate them does; to another they
    /// go as they are. An account whose state it cannot take stays with the version whose it is.
    async fn take_state_over(
        &self,
        connector: &str,
        loaded: &Arc<Loaded>,
        line: &Line,
        is_meant: impl Fn(&StateOwner) -> bool,
    ) -> Result<(), PromoteError> {
        let number = loaded.number();
        let manifest = loaded.connector.manifest();
        let translates = manifest.provides.iter().any(|interface| interface == "upgrade");
        let taker = Arc::clone(loaded);
        self.0.connectors.change(connector, |line| {
            line.beside.insert(taker.number().to_owned(), taker);
        });
        for owner in self.store().state_owners(connector).await? {
            // What was never handed over needs no owner where nobody translates it.
            if owner.version.is_none() && !translates {
                continue;
            }
            let from = owner.version.clone().unwrap_or_else(|| line.active.number().to_owned());
            if from == number || !is_meant(&owner) {
                continue;
            }
            let Some(reason) = self.hand_over(connector, &loaded.connector, &owner, &from).await? else {
                line.owners.hand(&owner, number);
                continue;
            };
            tracing::warn!("{connector} {number} leaves {} to {from}: {reason}", owner.channel_id);
            let words = format!("{connector} {number} cannot take its state over: {reason}; {from} goes on serving it");
            let now = self.now();
            self.store()
                .hold_state(connector, owner.channel_id, &from, &words, now)
                .await?;
            if let Some(aside) = self.0.quarantine.reason(connector, number) {
                self.store().give_state_back(connector, number).await?;
                let owners = Owners::read(self.store(), connector).await?;
                self.0.connectors.change(connector, |line| line.owners = owners);
                return Err(PromoteError::SetAside {
                    connector: connector.to_owned(),
                    version: number.to_owned(),
                    reason: aside.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Why a version does not take the state of an account; none if it did.
    async fn hand_over(
        &self,
        connector: &str,
        taker: &Connector,
        owner: &StateOwner,
        from: &str,
    ) -> Result<Option<String>, StoreError> {
        for _ in 0..HAND_OVERS {
            let before = self.store().state(owner.channel_id).await?.entries;
            let after = match taker.migrate(from, before.clone()).await {
                Ok(after) => after,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let handed = StateMove {
                channel_id: owner.channel_id,
                from: from.to_owned(),
                to: taker.manifest().version.clone(),
                before,
                after,
            };
            if self.store().hand_state_over(connector, handed).await? {
                return Ok(None);
            }
        }
        Ok(Some("its state is written to all the time".to_owned()))
    }

    /// A version's trial; none if it is on none.
    pub fn trial(&self, connector: &str, version: &str) -> Option<TrialView> {
        Some(self.0.connectors.line(connector)?.trial_of(version)?.view())
    }

    /// Writes down that a version on trial went back by itself.
    pub(crate) async fn take_back(&self, back: GoesBack) {
        let GoesBack {
            connector,
            version,
            reason,
        } = back;
        if let Err(error) = self.roll_back(&connector, &version, &reason).await {
            tracing::error!("That {connector} {version} goes back is not written down: {error}");
        }
    }

    /// Retires the versions that finished what they began and own no account. Looked at within the turn: a version that is
    /// found idle gets no account meanwhile.
    async fn retire_idle(&self, connector: &str, now: Timestamp) -> Result<(), StoreError> {
        let connectors = &self.0.connectors;
        let _turn = connectors.changing.lock().await;
        let Some(line) = connectors.line(connector) else {
            return Ok(());
        };
        for (version, beside) in &line.beside {
            if line.owners.owns(version) || !beside.is_idle() {
                continue;
            }
            let known = self.store().version(connector, version).await?;
            if known.is_some_and(|known| known.stage == VersionStage::Draining) {
                self.store().retire_version(connector, version, now).await?;
            }
            connectors.change(connector, |line| drop(line.beside.remove(version)));
        }
        Ok(())
    }

    /// Versions that have nothing left to do are retired, and those that held for their time go ahead if that was asked for.
    pub(crate) async fn rollout_round(&self, now: Timestamp) -> Result<(), StoreError> {
        for (connector, line) in self.0.connectors.lines() {
            if !line.beside.is_empty() {
                self.retire_idle(&connector, now).await?;
            }
            if let Some(trial) = &line.trial
                && trial.canary.rule.promote
                && trial.canary.percent > 0
                && trial.judge(now) == CanaryVerdict::Held
            {
                let version = trial.loaded.number();
                if let Err(error) = self.promote(&connector, version).await {
                    tracing::error!("{connector} {version} held and is not promoted: {error}");
                }
            }
        }
        Ok(())
    }
}

/// Steps of a connector's versions that are looked through and shown.
pub(crate) const TIMELINE: u32 = 200;
/// How often a state that is written to meanwhile is translated anew.
const HAND_OVERS: usize = 3;

fn not_found(connector: &str, version: &str) -> PromoteError {
    PromoteError::NotFound {
        connector: connector.to_owned(),
        version: version.to_owned(),
    }
}
