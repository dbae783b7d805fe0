//! Which version serves an account.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use weir_store::{StateOwner, Store, StoreError};

use crate::registry::Loaded;
use crate::rollout::Trial;

/// The versions of one connector that serve.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) active: Arc<Loaded>,
    pub(crate) trial: Option<Arc<Trial>>,
    /// Others that serve the accounts whose state is theirs: those that served before and finish what they began, and one that
    /// is about to serve and takes account after account over.
    pub(crate) beside: BTreeMap<String, Arc<Loaded>>,
    /// Whose the state of an account is, where that was ever handed over.
    pub(crate) owners: Owners,
}

impl Line {
    pub(crate) fn of_one(active: Arc<Loaded>) -> Self {
        Self {
            active,
            trial: None,
            beside: BTreeMap::new(),
            owners: Owners::default(),
        }
    }

    /// The version that serves an account: the one whose state it holds; else the one on trial, for its share; else the active
    /// one.
    pub(crate) fn of(&self, app: &str, account: &str) -> &Arc<Loaded> {
        let owner = self.owners.of(app, account);
        if let Some(owner) = owner.and_then(|owner| self.numbered(&owner)) {
            return owner;
        }
        match self.trial.as_ref().filter(|trial| trial.serves_somebody()) {
            Some(trial) if trial.canary.serves(app, account) => &trial.loaded,
            _ => &self.active,
        }
    }

    /// The version of this number, if it serves anybody.
    pub(crate) fn numbered(&self, number: &str) -> Option<&Arc<Loaded>> {
        if number == self.active.number() {
            return Some(&self.active);
        }
        let trial = self.trial_of(number).map(|trial| &trial.loaded);
        trial.or_else(|| self.beside.get(number))
    }

    /// The versions besides the active one that serve somebody.
    pub(crate) fn others(&self) -> Vec<Arc<Loaded>> {
        let trial = self.trial.iter().filter(|trial| trial.serves_somebody());
        let owning = self.beside.values().filter(|beside| self.owners.owns(beside.number()));
        trial.map(|trial| &trial.loaded).chain(owning).cloned().collect()
    }

    /// The one on trial, if it is this version.
    pub(crate) fn trial_of(&self, version: &str) -> Option<&Arc<Trial>> {
        self.trial.as_ref().filter(|trial| trial.loaded.number() == version)
    }
}

/// An account: the app, and the platform's id.
type Account = (String, String);

/// The versions whose the states of accounts are. Every copy of a line sees the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners(Arc<RwLock<Owned>>);

#[derive(Debug, Default)]
struct Owned {
    by_account: HashMap<Account, String>,
    /// How many accounts each version owns, so that a webhook need not count them.
    accounts: HashMap<String, usize>,
}

impl Owned {
    fn give(&mut self, account: Account, to: &str) {
        if let Some(before) = self.by_account.insert(account, to.to_owned())
            && let Some(count) = self.accounts.get_mut(&before)
        {
            *count -= 1;
        }
        *self.accounts.entry(to.to_owned()).or_default() += 1;
    }
}

impl Owners {
    /// As the record says.
    pub(crate) async fn read(store: &dyn Store, connector: &str) -> Result<Self, StoreError> {
        let mut owned = Owned::default();
        for owner in store.state_owners(connector).await? {
            if let Some(version) = owner.version {
                owned.give((owner.app, owner.platform_id), &version);
            }
        }
        Ok(Self(Arc::new(RwLock::new(owned))))
    }

    fn of(&self, app: &str, account: &str) -> Option<String> {
        let owned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if owned.by_account.is_empty() {
            return None;
        }
        owned.by_account.get(&(app.to_owned(), account.to_owned())).cloned()
    }

    /// Whether this version owns any.
    pub(super) fn owns(&self, version: &str) -> bool {
        let owned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        owned.accounts.get(version).is_some_and(|count| *count > 0)
    }

    /// A version took an account's state over.
    pub(super) fn hand(&self, owner: &StateOwner, to: &str) {
        let mut owned = self.0.write().unwrap_or_else(PoisonError::into_inner);
        owned.give((owner.app.clone(), owner.platform_id.clone()), to);
    }
}
