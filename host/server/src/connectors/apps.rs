//! Apps: registrations with platforms, written by an operator and read for every webhook and call, so cached in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use weir_domain::manifest::Manifest;
use weir_domain::policy::{AppSettings, OriginMap, PolicySet};
use weir_store::{App, StoreError};

use crate::core::Core;
use crate::core::platform_clocks::AppClock;

/// An app, as cached.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) app: App,
    pub(crate) origins: Arc<OriginMap>,
    /// The platform's origin.
    pub(crate) clock: Arc<AppClock>,
    /// The rules of the version requested last: parsing them from a manifest is a large part of a webhook's processing
    /// time.
    policies: Mutex<Option<PolicySet>>,
}

impl Registered {
    /// The rules that a version of the connector declares, under this app's settings.
    pub(crate) fn policies(&self, manifest: &Arc<Manifest>) -> PolicySet {
        let offset = self.clock.offset();
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        match &*policies {
            Some(policies) if Arc::ptr_eq(policies.manifest(), manifest) && policies.clock() == offset => {
                policies.clone()
            }
            _ => {
                let read = PolicySet::new(Arc::clone(manifest), self.app.settings.clone());
                policies.insert(read.with_clock(offset)).clone()
            }
        }
    }
}

/// The apps; those that were read are cached, by name.
pub struct Apps {
    core: Arc<Core>,
    read: RwLock<Read>,
}

#[derive(Default)]
struct Read {
    apps: HashMap<String, Arc<Registered>>,
    /// Counter of invalidations: a value read before one may be stale.
    forgotten: u64,
}

/// Why an app could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum PutAppError {
    /// No connector of this name is installed.
    #[error("there is no connector {0:?}; install it first")]
    NoConnector(String),
    /// A setting that the host itself reads has an invalid form.
    #[error("the setting {name:?} cannot be read: {reason}")]
    Setting {
        /// Its name; empty if no single setting is at fault.
        name: String,
        /// The error as text.
        reason: String,
    },
    /// While a virtual clock is followed, no request may leave this machine.
    #[error("the host follows a virtual clock ({clock}), so every origin of an app must be mapped to this machine")]
    Clock {
        /// The clock's URL.
        clock: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Apps {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            read: RwLock::default(),
        }
    }

    /// Creates or replaces an app; later work uses it immediately.
    ///
    /// # Errors
    /// The connector does not exist, or the app could leave this machine while a virtual clock is followed.
    pub async fn put(&self, app: App) -> Result<(), PutAppError> {
        serde_path_to_error::deserialize::<_, AppSettings>(&app.settings).map_err(|error| PutAppError::Setting {
            name: error.path().to_string(),
            reason: error.into_inner().to_string(),
        })?;
        let versions = self.core.store.versions().await?;
        if !versions.iter().any(|version| version.manifest.name == app.connector) {
            return Err(PutAppError::NoConnector(app.connector));
        }
        if let Some(clock) = &self.core.config.clock
            && (app.origins.0.is_empty() || !app.origins.is_all_loopback())
        {
            return Err(PutAppError::Clock {
                clock: clock.to_string(),
            });
        }
        let name = app.name.clone();
        self.core.store.put_app(app).await?;
        self.forget(&name);
        Ok(())
    }

    /// Reloads an app when it is next requested.
    pub(crate) fn forget(&self, name: &str) {
        self.forget_those(|app| app.name == name);
    }

    /// The same for all apps of a workspace.
    pub(crate) fn forget_workspace(&self, workspace: &str) {
        self.forget_those(|app| app.workspace_id == workspace);
    }

    fn forget_those(&self, is_meant: impl Fn(&App) -> bool) {
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        read.apps.retain(|_, known| !is_meant(&known.app));
        read.forgotten += 1;
    }

    /// The app of this name; cached after the first read. Unknown names are not cached.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Arc<Registered>>, StoreError> {
        let forgotten = {
            let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = read.apps.get(name) {
                return Ok(Some(Arc::clone(known)));
            }
            read.forgotten
        };
        let Some(app) = self.core.store.app(name).await? else {
            return Ok(None);
        };
        let app = Arc::new(Registered {
            origins: Arc::new(app.origins.clone()),
            clock: match &self.core.config.clock {
                // A sandbox whose clock is followed.
                Some(clock) if app.origins.leads_to(clock) => Arc::default(),
                _ => self.core.platform_clocks.of(&app.name),
            },
            policies: Mutex::default(),
            app,
        });
        let mut read = self.read.write().unwrap_or_else(PoisonError::into_inner);
        if read.forgotten == forgotten {
            read.apps.insert(name.to_owned(), Arc::clone(&app));
        }
        Ok(Some(app))
    }
}
