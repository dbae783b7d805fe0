//! The infrastructure that every service needs: the store, the network, time, ids, metrics and wake-ups. Imports no
//! service.

pub mod backup;
mod channels;
pub mod clock;
pub(crate) mod codes;
pub mod config;
pub(crate) mod cookie;
mod detached;
pub(crate) mod folder;
mod follow;
pub(crate) mod in_flight;
pub mod keyring;
pub mod metrics;
pub(crate) mod nearest;
pub(crate) mod node;
pub(crate) mod persist;
pub(crate) mod platform_clocks;
pub mod provenance;
pub(crate) mod pulse;
pub(crate) mod refusals;
pub mod reseal;
pub mod traces;
pub(crate) mod wakes;
pub mod worker;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use weir_domain::id::Mint;
use weir_domain::time::Timestamp;
use weir_egress::Egress;
use weir_store::Store;

use crate::core::clock::HostClock;
use crate::core::config::Config;
use crate::core::metrics::Metrics;
use crate::core::node::{Moment, ThisNode};
use crate::core::platform_clocks::PlatformClocks;
use crate::core::wakes::Wakes;

/// The infrastructure that every service needs: the store, the network, time, ids, metrics, and signals that end a
/// worker's sleep.
pub struct Core {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mint: Arc<Mint>,
    pub(crate) clock: Arc<HostClock>,
    /// Held while a step of the clock is handled.
    clock_lock: tokio::sync::Mutex<()>,
    pub(crate) platform_clocks: PlatformClocks,
    pub(crate) egress: Egress,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) wakes: Wakes,
    /// Incremented when a key or session ends.
    pub(crate) keys: watch::Sender<u64>,
    /// Work that completes even if its caller stops waiting.
    pub(crate) detached: TaskTracker,
    /// This node of the database: its leases and claims have this id.
    pub(crate) node: ThisNode,
}

impl Core {
    /// Over an open store, as a registered node.
    pub(crate) fn new(
        config: Config,
        store: Arc<dyn Store>,
        mint: Arc<Mint>,
        clock: Arc<HostClock>,
        platform_clocks: PlatformClocks,
        egress: Egress,
        node: ThisNode,
    ) -> Self {
        Self {
            config,
            store,
            mint,
            clock,
            clock_lock: tokio::sync::Mutex::default(),
            platform_clocks,
            egress,
            metrics: Arc::default(),
            wakes: Wakes::default(),
            keys: watch::Sender::new(0),
            detached: TaskTracker::new(),
            node,
        }
    }

    /// The database.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The host's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The current time by the clock that all nodes share, even if ours follows a sandbox's: for heartbeats, duties,
    /// and the detection of dead nodes.
    pub(crate) fn node_time(&self) -> Timestamp {
        clock::of_server(self.store()).unwrap_or_else(|| self.now())
    }

    /// Removes this node from the database: it holds no leases any more, so others need not wait for it to expire.
    pub(crate) async fn leave_nodes(&self) {
        self.node.current().end(Moment::now());
        let (id, node_time) = (self.node.id(), self.node_time());
        if let Err(error) = self.store().remove_node(&id, node_time, self.now()).await {
            tracing::warn!("The end of this node was not stored: {error}");
        }
    }

    /// A number in 0..1 for the jitter of retries.
    pub(crate) fn jitter(&self) -> f64 {
        let mut bytes = [0; 4];
        self.mint.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    }

    /// To be called after a write that ends a key or a session: ends its open reads immediately.
    pub(crate) fn keys_ended(&self) {
        self.keys.send_modify(|count| *count += 1);
    }
}
