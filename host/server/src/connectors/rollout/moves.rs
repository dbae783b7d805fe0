//! Moves of accounts' states from version to version.

use std::sync::Arc;

use futures_util::{TryStreamExt, stream};
use weir_domain::limits;
use weir_domain::rollout::Intent;
use weir_runtime::Connector;
use weir_store::{StateMove, StateOwner, StoreError, kill_point};

use crate::connectors::loaded::Loaded;
use crate::connectors::promotion::PromoteError;
use crate::connectors::rollout::Rollout;

impl Rollout {
    /// Moves the states of a change. An account whose state cannot move stays with the version that owns it, which
    /// continues to serve it.
    ///
    /// # Errors
    /// The database's errors; and [`PromoteError::Quarantined`] if the new owner is quarantined during the move.
    pub(super) async fn move_states(
        &self,
        connector: &str,
        intent: &Intent,
        taker: Option<&Arc<Loaded>>,
    ) -> Result<(), PromoteError> {
        let versions = self.connectors.registry.versions(connector);
        let canary_number =
            versions.and_then(|versions| Some(versions.canary_run.as_ref()?.loaded.number().to_owned()));
        if let Some(taker) = taker {
            // The owner of a state serves its account from that moment on.
            self.connectors.registry.change(connector, |versions| {
                if versions.numbered(taker.number()).is_none() {
                    versions.draining.insert(taker.number().to_owned(), Arc::clone(taker));
                }
            });
        }
        let owners = self.core.store().state_owners(connector).await?;
        stream::iter(owners.into_iter().map(Ok))
            .try_for_each_concurrent(limits::STATE_MOVES, |owner| {
                let canary_number = canary_number.as_deref();
                async move { self.move_state(connector, intent, taker, canary_number, owner).await }
            })
            .await
    }

    async fn move_state(
        &self,
        connector: &str,
        intent: &Intent,
        taker: Option<&Arc<Loaded>>,
        canary_number: Option<&str>,
        owner: StateOwner,
    ) -> Result<(), PromoteError> {
        let steps = intent.steps(&owner.version, canary_number, &owner.app, &owner.platform_id);
        if steps.back_to.is_none() && !steps.over {
            return Ok(());
        }
        let mut from = owner.version.clone();
        let Some(_alone) = self.connectors.state_locks.alone(owner.channel_id).await else {
            let words = format!("its calls did not end within {} s", limits::STATE_LOCK.as_secs());
            return Ok(self.leave(connector, &owner, &intent.taker, &from, &words).await?);
        };
        if let Some(to) = steps.back_to {
            let is_back = self
                .core
                .store
                .give_state_back(connector, owner.channel_id, &from, to)
                .await?;
            if is_back {
                self.owns(connector, &owner, to);
                to.clone_into(&mut from);
            } else if !steps.over {
                // Without a copy, only the older version can translate the state.
                let older = self.runs_as(connector, to, taker);
                let refusal = match older.filter(|older| older.connector.manifest().provides("upgrade")) {
                    Some(older) => {
                        self.move_owner_state(connector, &older.connector, &owner, &from)
                            .await?
                    }
                    None => Some("there is no copy in its format, and it does not export `upgrade`".to_owned()),
                };
                return match refusal {
                    None => Ok(()),
                    Some(reason) => Ok(self.leave(connector, &owner, to, &from, &reason).await?),
                };
            }
        }
        let Some(taker) = taker.filter(|taker| steps.over && taker.number() != from) else {
            return Ok(());
        };
        let number = taker.number();
        let Some(reason) = self
            .move_owner_state(connector, &taker.connector, &owner, &from)
            .await?
        else {
            return Ok(());
        };
        self.leave(connector, &owner, number, &from, &reason).await?;
        match self.connectors.quarantine.reason(connector, number) {
            Some(reason) => Err(PromoteError::Quarantined {
                connector: connector.to_owned(),
                version: number.to_owned(),
                reason: reason.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// A version that is loaded here.
    fn runs_as(&self, connector: &str, number: &str, taker: Option<&Arc<Loaded>>) -> Option<Arc<Loaded>> {
        let versions = self.connectors.registry.versions(connector);
        let known = versions.and_then(|versions| versions.numbered(number).cloned());
        known.or_else(|| taker.filter(|taker| taker.number() == number).cloned())
    }

    /// A version owns an account's state from now on.
    fn owns(&self, connector: &str, owner: &StateOwner, version: &str) {
        kill_point("version.state_moved");
        if let Some(versions) = self.connectors.registry.versions(connector) {
            versions.owners.assign(&owner.app, &owner.platform_id, version);
        }
    }

    /// The account stays with the version that owns its state; the reason is stored.
    async fn leave(
        &self,
        connector: &str,
        owner: &StateOwner,
        to: &str,
        from: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        tracing::warn!("{connector} {to} leaves {} to {from}: {reason}", owner.channel_id);
        let words = format!("{connector} {to} cannot take over its state: {reason}; {from} continues to serve it");
        let (store, now) = (self.core.store(), self.core.now());
        store.hold_state(connector, owner.channel_id, from, &words, now).await
    }

    /// Why a version does not take over the state of an account; `None` if it did. The caller holds the lock.
    async fn move_owner_state(
        &self,
        connector: &str,
        taker: &Connector,
        owner: &StateOwner,
        from: &str,
    ) -> Result<Option<String>, StoreError> {
        for _ in 0..MOVE_ATTEMPTS {
            let before = self
                .core
                .store()
                .state(&owner.workspace_id, owner.channel_id)
                .await?
                .entries;
            let after = match taker.migrate(from, before.clone()).await {
                Ok(after) => after,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let to = taker.manifest().version.clone();
            let state_move = StateMove {
                channel_id: owner.channel_id,
                from: from.to_owned(),
                to: to.clone(),
                before,
                after,
            };
            if self.core.store().move_stored_state(connector, state_move).await? {
                self.owns(connector, owner, &to);
                return Ok(None);
            }
        }
        // An erasure may write to it without the lock.
        Ok(Some("its state is written to continuously".to_owned()))
    }
}

/// How often a state that is written to meanwhile is translated again.
const MOVE_ATTEMPTS: usize = 3;
