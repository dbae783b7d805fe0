//! Constructs the services in order, and passes them to the API and the background tasks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;
use weir_domain::id::Mint;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_egress::Egress;
use weir_store::{EndedNodes, MasterKey, PostgresStore, SqliteStore, Store, StoreError};

use crate::accounts::Accounts;
use crate::connectors::Connectors;
use crate::connectors::caches::Caches;
use crate::connectors::pacing::NODES_AT_START;
use crate::connectors::rollout::{DeadLetterReplay, Rollout};
use crate::core::clock::{self, HostClock};
use crate::core::config::{Config, StoreConfig};
use crate::core::node::{Moment, ThisNode};
use crate::core::platform_clocks::PlatformClocks;
use crate::core::pulse::Pulses;
use crate::core::{Core, backup, folder, keyring};
use crate::events::Events;
use crate::messages::dead_letters::DeadLetters;
use crate::messages::history::History;
use crate::messages::inbound::Inbound;
use crate::messages::media::{Media, StoredBodies};
use crate::messages::outbound::Outbound;
use crate::messages::reconciler::Reconciler;
use crate::retention::Retention;
use crate::workspaces::Workspaces;

/// The host: its services. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Services>);

/// The services, each built from those above it.
pub struct Services {
    pub(crate) core: Arc<Core>,
    pub(crate) media: Arc<Media>,
    pub(crate) connectors: Arc<Connectors>,
    pub(crate) caches: Caches,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) inbound: Arc<Inbound>,
    pub(crate) dead_letters: Arc<DeadLetters>,
    pub(crate) rollout: Rollout,
    pub(crate) history: History,
    pub(crate) outbound: Outbound,
    pub(crate) reconciler: Reconciler,
    pub(crate) events: Events,
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) retention: Retention,
    /// The background tasks, while they are alive.
    pub(crate) pulses: Pulses,
    /// When the last test write to the database was made.
    last_probe: tokio::sync::Mutex<Option<Instant>>,
}

impl std::ops::Deref for Host {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// Why the host is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An active version cannot be loaded.
    #[error("{0}; loading is retried within minutes, or install the same file again")]
    Connector(String),
    /// A background task has stalled.
    #[error("the {name} has been silent for {} s; nothing is lost, but restart the host", silent.as_secs())]
    Stalled {
        /// The task.
        name: &'static str,
        /// The duration.
        silent: Duration,
    },
    /// It is fenced: other nodes may have ended it.
    #[error(
        "this node could not write its heartbeat to the database for {} s: it sends nothing until it can, and other nodes take over \
         its work; check the database and the network path to it",
        limits::NODE_FENCED.as_secs()
    )]
    Fenced,
    /// Credentials are in memory only.
    #[error(
        "{count} credentials that platforms have issued are not on the disk yet: the database is locked or the disk is full. They \
         are stored as soon as it accepts them; do not stop the host before"
    )]
    Unwritten {
        /// Their number.
        count: usize,
    },
}

/// Minimum interval between two test writes to the database, which check only whether it is writable: as often as a
/// load balancer queries.
const PROBE_EVERY: Duration = Duration::from_secs(1);
impl Host {
    /// Opens the database, the outgoing network, the runtime and the connectors that serve. Starts no background tasks.
    ///
    /// # Errors
    /// One line that names the obstacle.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        folder::prepare(&config.data)?;
        backup::restore(&config.data)?;
        folder::furnish(&config.data, &config.store)?;
        let mint = Arc::new(Mint::from_seed(keyring::seed()?));
        let master = keyring::master_key(&config, &mint)?;
        let store: Arc<dyn Store> = match &config.store {
            StoreConfig::Sqlite => {
                let path = folder::record(&config.data);
                let store = SqliteStore::open(&path, &MasterKey::new(master), Arc::clone(&mint))
                    .with_context(|| format!("the database at {} cannot be opened", path.display()))?;
                Arc::new(store)
            }
            StoreConfig::Postgres(url) => {
                let store = PostgresStore::open(url.expose(), &MasterKey::new(master), Arc::clone(&mint))
                    .context("the PostgreSQL database cannot be opened")?;
                Arc::new(store)
            }
        };
        let egress = Egress::new(weir_egress::Config::default())?;
        let clock = Arc::new(HostClock::system());
        if let Some(url) = &config.clock {
            clock::check(&*store, url.as_str()).await?;
            let read = clock::first_reading(&egress, url).await;
            let read = read.map_err(|error| anyhow::anyhow!("the clock at {url} cannot be followed: {error}"))?;
            clock.accept(clock.measure(Some(read)));
        } else if let Some(read) = clock::of_record(&*store) {
            clock.accept(clock.measure(Some(read)));
        }
        let platform_clocks = PlatformClocks::new(store.platform_clocks().await?);
        let is_shared = matches!(config.store, StoreConfig::Postgres(_));
        let (node, ended) = {
            let now = clock.now();
            let node_time = clock::of_server(&*store).unwrap_or(now);
            ThisNode::register(&*store, config.node_name.clone(), is_shared, node_time, now).await?
        };
        let core = Arc::new(Core::new(config, store, mint, clock, platform_clocks, egress, node));
        let host = Self::go_on(Arc::clone(&core), &master, &ended).await;
        if host.is_err() {
            // Otherwise the others would wait until it counts as dead, and then report its death.
            core.leave_nodes().await;
        }
        host
    }

    /// Continues as a registered node, with the work released from dead nodes.
    async fn go_on(core: Arc<Core>, master: &[u8; 32], ended: &EndedNodes) -> anyhow::Result<Self> {
        let is_shared = core.node.is_shared();
        core.metrics.node(&core.node.id());
        keyring::first_key(&core.config, core.store(), &core.mint, core.now()).await?;
        let host = Self(Arc::new(Services::build(core, master).await?));
        host.rollout.resume_versions().await?;
        let sessions = host.store().end_connect_sessions(host.now()).await?;
        host.report_ended(ended, sessions);
        host.history.request_after_outage().await?;
        if is_shared {
            // Compiling connectors may have taken longer than a node may be silent.
            host.beat().await?;
            host.core.node.take_duties(host.store(), host.core.node_time()).await?;
        } else {
            // With other nodes, interrupted ones are due at their time.
            host.store().resume_set_ups(host.now()).await?;
        }
        Ok(host)
    }

    /// Reports the work released from dead nodes, and wakes the workers that continue it.
    pub(crate) fn report_ended(&self, ended: &EndedNodes, sessions: u32) {
        let EndedNodes {
            nodes,
            leases,
            requests,
        } = ended;
        if leases + requests + sessions > 0 {
            tracing::info!(
                "{requests} requests, {sessions} connect sessions and {leases} leases were ended: their host stopped before they completed"
            );
        }
        if self.core.node.is_shared() && !nodes.is_empty() {
            tracing::warn!("Nodes died: {}; the others take over their work", nodes.join(", "));
        }
        if leases > &0 || !nodes.is_empty() {
            self.core.wakes.all();
        }
    }

    /// Writes this node's heartbeat.
    pub(crate) async fn beat(&self) -> Result<(), StoreError> {
        let node = &self.core.node;
        let goes_on = node.beat(self.store(), self.core.node_time()).await?;
        if goes_on {
            // The others divided its share among them.
            self.connectors.pacers.divide_among(NODES_AT_START);
            self.core.metrics.node(&node.id());
            self.core.wakes.all();
        }
        Ok(())
    }

    /// The database.
    pub fn store(&self) -> &dyn Store {
        self.core.store()
    }

    /// The operator's settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// The host's clock.
    pub fn now(&self) -> Timestamp {
        self.core.now()
    }

    /// The source of ids and secrets.
    pub fn mint(&self) -> &Mint {
        &self.core.mint
    }

    /// Whether the database is writable. Any client may request this, so it is tested once in [`PROBE_EVERY`]; other
    /// requests share that result, unless it is a failure.
    async fn probe(&self) -> Result<(), StoreError> {
        let mut last = self.last_probe.lock().await;
        if last.is_some_and(|at| at.elapsed() < PROBE_EVERY) {
            return Ok(());
        }
        *last = None;
        self.core.store.probe().await?;
        *last = Some(Instant::now());
        Ok(())
    }

    /// Whether requests can be served, and accepted work is processed.
    ///
    /// # Errors
    /// The problems.
    pub async fn ready(&self) -> Result<(), NotReady> {
        // First, since the database may be unreachable for the same reason, and this names the consequence.
        if !self.core.node.current().is_valid(Moment::now()) {
            return Err(NotReady::Fenced);
        }
        self.core.store.ping().await?;
        // Before the test write: a database that accepts no writes is the reason why they wait, and they must not be
        // lost.
        let count = self.accounts.credentials.count();
        if count > 0 {
            return Err(NotReady::Unwritten { count });
        }
        self.probe().await?;
        if let Some(reason) = self.connectors.registry.not_loaded() {
            return Err(NotReady::Connector(reason));
        }
        match self.pulses.stalled(Instant::now()) {
            Some((name, silent)) => Err(NotReady::Stalled { name, silent }),
            None => Ok(()),
        }
    }
}

impl Services {
    async fn build(core: Arc<Core>, master: &[u8; 32]) -> anyhow::Result<Self> {
        let media = Arc::new(Media::new(
            Arc::clone(&core),
            keyring::derive(master, "weir media links"),
        ));
        let bodies = Arc::new(StoredBodies::of(&media));
        let connectors = Arc::new(Connectors::open(Arc::clone(&core), bodies, master).await?);
        let accounts = Arc::new(Accounts::new(Arc::clone(&core), Arc::clone(&connectors)));
        let inbound = Arc::new(Inbound::new(Arc::clone(&core), Arc::clone(&connectors)));
        let dead_letters = Arc::new(DeadLetters::new(
            Arc::clone(&core),
            Arc::clone(&connectors),
            Arc::clone(&accounts),
            Arc::clone(&inbound),
        ));
        let workspaces = Arc::new(Workspaces::new(
            Arc::clone(&core),
            Arc::clone(&connectors),
            Arc::clone(&media),
        ));
        Ok(Self {
            caches: Caches::new(Arc::clone(&core), Arc::clone(&connectors)),
            rollout: Rollout::new(
                Arc::clone(&core),
                Arc::clone(&connectors),
                Arc::clone(&dead_letters) as Arc<dyn DeadLetterReplay>,
            ),
            history: History::new(
                Arc::clone(&core),
                Arc::clone(&connectors),
                Arc::clone(&accounts),
                Arc::clone(&inbound),
            ),
            outbound: Outbound::new(Arc::clone(&core), Arc::clone(&connectors), Arc::clone(&accounts)),
            reconciler: Reconciler::new(
                Arc::clone(&core),
                Arc::clone(&connectors),
                Arc::clone(&accounts),
                Arc::clone(&inbound),
            ),
            events: Events::new(Arc::clone(&core), Arc::clone(&connectors)),
            retention: Retention::new(
                Arc::clone(&core),
                Arc::clone(&connectors),
                Arc::clone(&media),
                Arc::clone(&workspaces),
            ),
            core,
            media,
            connectors,
            accounts,
            inbound,
            dead_letters,
            workspaces,
            pulses: Pulses::default(),
            last_probe: tokio::sync::Mutex::default(),
        })
    }
}
