//! What the rooms share.

use std::sync::Arc;

use tokio::sync::watch;
use weir_domain::id::Mint;
use weir_domain::time::Timestamp;
use weir_egress::Egress;
use weir_store::{App, Store, StoreError};

use crate::config::Config;
use crate::metrics::Metrics;

/// The host. Cheap to clone.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mint: Arc<Mint>,
    pub(crate) egress: Egress,
    pub(crate) metrics: Metrics,
    pub(crate) events: watch::Sender<u64>,
}

/// Why an app could not be put.
#[derive(Debug, thiserror::Error)]
pub enum PutAppError {
    /// No connector of this name is installed.
    #[error("there is no connector {0:?}; install it first")]
    NoConnector(String),
    /// While a virtual clock is followed, nothing may leave this machine.
    #[error("the host follows a virtual clock ({clock}), so every origin of an app must be mapped to this machine")]
    Clock {
        /// The clock's URL.
        clock: String,
    },
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Host {
    /// Opens the record, the way out, the runtime and the connectors that serve. Starts no loops.
    ///
    /// # Errors
    /// One line that says what is in the way.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let _ = config;
        anyhow::bail!("not yet")
    }

    /// The record.
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// What the operator set.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The host's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    /// The maker of ids and secrets.
    pub fn mint(&self) -> &Mint {
        &self.0.mint
    }

    /// The way out.
    pub fn egress(&self) -> &Egress {
        &self.0.egress
    }

    /// What the host counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Rises after each write that may have added events; who shows events as they come waits on it.
    pub fn events_changed(&self) -> watch::Receiver<u64> {
        self.0.events.subscribe()
    }

    /// To be called after a write, made outside the rooms, that may have added events: wakes the publisher and all that wait on
    /// [`Host::events_changed`].
    pub fn told(&self) {
        self.0.events.send_modify(|count| *count += 1);
    }

    /// Whether requests can be served.
    ///
    /// # Errors
    /// What is amiss, in words.
    pub async fn ready(&self) -> Result<(), String> {
        self.0.store.ping().await.map_err(|error| error.to_string())
    }

    /// Creates or replaces an app; what follows uses it at once.
    ///
    /// # Errors
    /// No such connector, or the app could leave this machine while a virtual clock is followed.
    pub async fn put_app(&self, app: App) -> Result<(), PutAppError> {
        self.0.store.put_app(app).await?;
        Ok(())
    }
}
