//! Which version serves an account.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use weir_domain::time::Timestamp;
use weir_store::{StateOwner, Store, StoreError};

use crate::connectors::canary::CanaryRun;
use crate::connectors::loaded::Loaded;

/// The versions of one connector that serve.
#[derive(Clone, Debug)]
pub(crate) struct VersionSet {
    pub(crate) active: Arc<Loaded>,
    pub(crate) canary_run: Option<Arc<CanaryRun>>,
    /// Others that serve the accounts whose state they own: previous versions that complete their calls, and one that
    /// is about to serve and takes over account by account.
    pub(crate) draining: BTreeMap<String, Arc<Loaded>>,
    /// The owners of the accounts' states.
    pub(crate) owners: Owners,
}

impl VersionSet {
    pub(crate) fn of_one(active: Arc<Loaded>) -> Self {
        Self {
            active,
            canary_run: None,
            draining: BTreeMap::new(),
            owners: Owners::default(),
        }
    }

    /// The version that serves an account: the one that owns its state; else the canary, for its share; else the active
    /// one.
    ///
    /// # Errors
    /// The number of the version that owns the state, which is not loaded here: no other version can read the state.
    pub(crate) fn of(&self, app: &str, account: &str) -> Result<&Arc<Loaded>, String> {
        if let Some(owner) = self.owners.of(app, account) {
            return self.numbered(&owner).ok_or(owner);
        }
        Ok(
            match self
                .canary_run
                .as_ref()
                .filter(|canary_run| canary_run.serves_somebody())
            {
                Some(canary_run) if canary_run.canary.serves(app, account) => &canary_run.loaded,
                _ => &self.active,
            },
        )
    }

    /// The version of this number, if it serves an account.
    pub(crate) fn numbered(&self, number: &str) -> Option<&Arc<Loaded>> {
        if number == self.active.number() {
            return Some(&self.active);
        }
        let canary_run = self.canary_of(number).map(|canary_run| &canary_run.loaded);
        canary_run.or_else(|| self.draining.get(number))
    }

    /// All loaded versions.
    pub(crate) fn all(&self) -> Vec<Arc<Loaded>> {
        let canary_run = self.canary_run.iter().map(|canary_run| &canary_run.loaded);
        let all = [&self.active]
            .into_iter()
            .chain(canary_run)
            .chain(self.draining.values());
        all.cloned().collect()
    }

    /// The versions besides the active one that serve accounts.
    pub(crate) fn others(&self) -> Vec<Arc<Loaded>> {
        let serves =
            |canary_run: &&Arc<CanaryRun>| canary_run.serves_somebody() || self.owners.owns(canary_run.loaded.number());
        let canary_run = self.canary_run.iter().filter(serves);
        let owning = self
            .draining
            .values()
            .filter(|draining| self.owners.owns(draining.number()) && self.canary_of(draining.number()).is_none());
        canary_run
            .map(|canary_run| &canary_run.loaded)
            .chain(owning)
            .cloned()
            .collect()
    }

    /// The canary, if it is this version.
    pub(crate) fn canary_of(&self, version: &str) -> Option<&Arc<CanaryRun>> {
        self.canary_run
            .as_ref()
            .filter(|canary_run| canary_run.loaded.number() == version)
    }
}

/// An account: the app, and the platform's id.
type Account = (String, String);

/// The owners of accounts' states. All copies of a version set share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners(Arc<RwLock<Owned>>);

#[derive(Debug, Default)]
struct Owned {
    by_account: HashMap<Account, Owner>,
    /// How many accounts each version owns, so that a webhook need not count them.
    accounts: HashMap<String, usize>,
    /// Since when the first of the accounts that the database marks as held is held.
    held_since: Option<Timestamp>,
    /// The number of owners noted so far.
    noted: u64,
}

#[derive(Debug)]
struct Owner {
    version: String,
    /// Its position among all that were noted.
    noted: u64,
}

impl Owned {
    fn give(&mut self, account: Account, to: &str) {
        self.noted += 1;
        let owner = Owner {
            version: to.to_owned(),
            noted: self.noted,
        };
        if let Some(before) = self.by_account.insert(account, owner)
            && let Some(count) = self.accounts.get_mut(&before.version)
        {
            *count -= 1;
        }
        *self.accounts.entry(to.to_owned()).or_default() += 1;
    }

    /// Replaces the owners by the stored ones, and keeps those that were noted during the read: an account's first
    /// write may happen in between.
    fn replace(&mut self, read: Vec<StateOwner>, since: u64) {
        let before = std::mem::take(self);
        self.noted = before.noted;
        for owner in read {
            self.held_since = match (self.held_since, owner.held_at) {
                (Some(first), Some(at)) => Some(first.min(at)),
                (first, at) => first.or(at),
            };
            self.give((owner.app, owner.platform_id), &owner.version);
        }
        for (account, owner) in before.by_account {
            if owner.noted > since && !self.by_account.contains_key(&account) {
                self.give(account, &owner.version);
            }
        }
    }
}

impl Owners {
    /// Updates them to match the database.
    pub(crate) async fn refresh(&self, store: &dyn Store, connector: &str) -> Result<(), StoreError> {
        let since = self.0.read().unwrap_or_else(PoisonError::into_inner).noted;
        let read = store.state_owners(connector).await?;
        let mut owned = self.0.write().unwrap_or_else(PoisonError::into_inner);
        owned.replace(read, since);
        Ok(())
    }

    /// The version that owns the state of an account; `None` until the first write.
    pub(crate) fn of(&self, app: &str, account: &str) -> Option<String> {
        let owned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if owned.by_account.is_empty() {
            return None;
        }
        let owner = owned.by_account.get(&(app.to_owned(), account.to_owned()));
        owner.map(|owner| owner.version.clone())
    }

    /// Whether this version owns any.
    pub(crate) fn owns(&self, version: &str) -> bool {
        let owned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        owned.accounts.get(version).is_some_and(|count| *count > 0)
    }

    /// The versions that own any.
    pub(crate) fn versions(&self) -> Vec<String> {
        let owned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let owning = owned.accounts.iter().filter(|(_, count)| **count > 0);
        owning.map(|(version, _)| version.clone()).collect()
    }

    /// Since when the first of the accounts that the database marks as held is held; `None` if none is.
    pub(crate) fn held_since(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).held_since
    }

    /// A version owns an account's state from now on: it took it over, or wrote to it first.
    pub(crate) fn assign(&self, app: &str, account: &str, to: &str) {
        let mut owned = self.0.write().unwrap_or_else(PoisonError::into_inner);
        owned.give((app.to_owned(), account.to_owned()), to);
    }

    /// The same, if it had no owner.
    pub(crate) fn begin(&self, app: &str, account: &str, by: &str) {
        if self.of(app, account).is_none() {
            self.assign(app, account, by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(account: &str, version: &str) -> StateOwner {
        StateOwner {
            workspace_id: "default".to_owned(),
            app: "app".into(),
            platform_id: account.into(),
            channel_id: "chn_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f".parse().expect("an id"),
            version: version.into(),
            reason: None,
            held: None,
            held_at: None,
        }
    }

    #[test]
    fn first_write_during_a_read_counts() {
        let owners = Owners::default();
        owners.assign("app", "deleted", "1.0.0");
        let since = owners.0.read().expect("not poisoned").noted;
        owners.begin("app", "new", "1.0.0");
        let mut owned = owners.0.write().expect("not poisoned");
        owned.replace(vec![read("known", "2.0.0")], since);
        drop(owned);
        assert_eq!(owners.of("app", "new").as_deref(), Some("1.0.0"));
        assert_eq!(owners.of("app", "known").as_deref(), Some("2.0.0"));
        assert_eq!(owners.of("app", "deleted"), None, "the database has no owner any more");
        assert!(owners.owns("1.0.0") && owners.owns("2.0.0"));
    }
}
