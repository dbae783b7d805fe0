//! What the rooms share, and how a host begins.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use rand::TryRngCore;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use weir_domain::id::Mint;
use weir_domain::time::Timestamp;
use weir_egress::Egress;
use weir_runtime::{CacheSettings, Runtime};
use weir_store::{MasterKey, SqliteStore, Store, StoreError};

use crate::accounts::connect::AtWork;
use crate::accounts::credentials::Unwritten;
use crate::accounts::refresher::Turns;
use crate::connectors::apps::Apps;
use crate::connectors::forged::ForgedWebhooks;
use crate::connectors::pacing::{HostWitness, Pacers, REFUSALS_WAITING, StoredBodies};
use crate::connectors::quarantine::Quarantine;
use crate::connectors::registry::Connectors;
use crate::connectors::rollout::{StateTurns, Trials};
use crate::connectors::transcripts::{self, Taken, Transcripts};
use crate::connectors::version_failures::VersionFailures;
use crate::core::backup;
use crate::core::clock::{self, HostClock};
use crate::core::config::{Config, StoreConfig};
use crate::core::folder;
use crate::core::keyring;
use crate::core::metrics::Metrics;
use crate::core::platform_clocks::PlatformClocks;
use crate::core::pulse::Pulses;
use crate::core::refusals::ActRefused;
use crate::messages::history::Asked;
use crate::messages::media;
use crate::messages::media::InHand;
use crate::messages::reconciler::Doubts;

/// The host. Cheap to clone.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mint: Arc<Mint>,
    pub(crate) clock: Arc<HostClock>,
    /// Held while a step of the clock is set right.
    pub(crate) clock_turn: tokio::sync::Mutex<()>,
    pub(crate) platform_clocks: PlatformClocks,
    pub(crate) egress: Egress,
    pub(crate) runtime: Runtime,
    pub(crate) connectors: Connectors,
    pub(crate) apps: Apps,
    pub(crate) pacers: Arc<Pacers>,
    pub(crate) metrics: Arc<Metrics>,
    /// Rises when a key or session ends.
    pub(crate) keys: watch::Sender<u64>,
    pub(crate) wakes: Wakes,
    /// Webhooks in hand.
    pub(crate) webhooks: Arc<Semaphore>,
    /// Work that ends though nobody waits for it.
    pub(crate) detached: TaskTracker,
    pub(crate) turns: Turns,
    /// Credentials that the record has not taken yet.
    pub(crate) unwritten: Unwritten,
    /// Connect sessions at work.
    pub(crate) connecting: AtWork,
    /// What is known of webhooks whose proof did not hold.
    pub(crate) forged: ForgedWebhooks,
    /// Histories to be read.
    pub(crate) asked: Asked,
    pub(crate) doubts: Doubts,
    pub(crate) pulses: Pulses,
    /// When the record was last written only to see whether it can be.
    pub(crate) last_probe: tokio::sync::Mutex<Option<Instant>>,
    /// When channels were last looked at for warnings.
    pub(crate) last_look: Mutex<Option<Timestamp>>,
    /// When ages were last counted.
    pub(crate) aged: Mutex<Option<std::time::Instant>>,
    pub(crate) files_in_hand: InHand,
    /// Signs links to stored bytes.
    pub(crate) link_key: [u8; 32],
    /// Who leases.
    pub(crate) owner: String,
    pub(crate) refusals: Mutex<Option<mpsc::Receiver<ActRefused>>>,
    pub(crate) quarantine: Arc<Quarantine>,
    /// Versions that failed and are not marked in the record yet.
    pub(crate) version_failures: Arc<VersionFailures>,
    /// Who uses the states of channels.
    pub(crate) state_turns: StateTurns,
    pub(crate) transcripts: Arc<Transcripts>,
    pub(crate) transcribed: Mutex<Option<mpsc::Receiver<Taken>>>,
}

/// What ends a worker's sleep.
#[derive(Default)]
pub(crate) struct Wakes {
    pub(crate) messages: Arc<Notify>,
    pub(crate) deliveries: Arc<Notify>,
    pub(crate) media: Arc<Notify>,
    pub(crate) credentials: Arc<Notify>,
    pub(crate) uncertain: Arc<Notify>,
    pub(crate) retention: Arc<Notify>,
    pub(crate) sweep: Arc<Notify>,
    pub(crate) polls: Arc<Notify>,
}

impl Wakes {
    /// Time jumped: what was a long way off may be due.
    pub(crate) fn all(&self) {
        for wake in [
            &self.messages,
            &self.deliveries,
            &self.media,
            &self.credentials,
            &self.uncertain,
            &self.retention,
            &self.sweep,
            &self.polls,
        ] {
            wake.notify_one();
        }
    }
}

/// Why the host is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A version that serves cannot be loaded.
    #[error("{0}; install the same file again")]
    Connector(String),
    /// A loop does not turn.
    #[error("the {name} has been silent for {} s; nothing is lost, but restart the host", silent.as_secs())]
    Stalled {
        /// Which.
        name: &'static str,
        /// For how long.
        silent: Duration,
    },
    /// Credentials are in memory only.
    #[error(
        "{count} credentials that platforms have given are not on the disk yet: the record is locked or the disk is full. They are \
         written as soon as it takes them; do not end the host before"
    )]
    Unwritten {
        /// How many.
        count: usize,
    },
}

/// How often the record is written only to see whether it can be: as often as a busy load balancer asks.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Webhooks in hand at once: each holds a body and an instance of a connector. More wait, as long as a platform does.
const WEBHOOKS_IN_HAND: usize = 128;

impl Host {
    /// Opens the record, the way out, the runtime and the connectors that serve. Starts no loops.
    ///
    /// # Errors
    /// One line that says what is in the way.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        folder::prepare(&config.data)?;
        backup::restore(&config.data)?;
        folder::furnish(&config.data)?;
        let mint = Arc::new(Mint::from_seed(seed()?));
        let master = keyring::master_key(&config, &mint)?;
        let store: Arc<dyn Store> = match &config.store {
            StoreConfig::Sqlite => {
                let path = folder::record(&config.data);
                let store = SqliteStore::open(&path, &MasterKey::new(master), Arc::clone(&mint))
                    .with_context(|| format!("the record at {} cannot be opened", path.display()))?;
                Arc::new(store)
            }
            StoreConfig::Postgres(_) => {
                anyhow::bail!("this build keeps its record in SQLite only; set store = \"sqlite\"")
            }
        };
        let egress = Egress::new(weir_egress::Config::default())?;
        let clock = Arc::new(HostClock::system());
        if let Some(url) = &config.clock {
            clock::check(&*store, url.as_str()).await?;
            let read = clock::first_reading(&egress, url).await;
            let read = read.map_err(|error| anyhow::anyhow!("the clock at {url} cannot be followed: {error}"))?;
            clock.accept(clock.look(Some(read)));
        }
        let metrics = Arc::new(Metrics::default());
        let (refusals, kept) = mpsc::channel(REFUSALS_WAITING);
        let version_failures = Arc::new(VersionFailures::default());
        let quarantine = Arc::new(Quarantine::new(Arc::clone(&version_failures)));
        let trials = Arc::new(Trials::new(Arc::clone(&version_failures)));
        let (transcripts, transcribed) = transcripts::begin(config.retention.transcripts);
        let runtime = Runtime::start(
            weir_runtime::Settings {
                cache: Some(CacheSettings {
                    folder: config.data.join("cache"),
                    master_key: master,
                }),
                compiler: config.compiler.clone(),
                honeytoken_key: Some(keyring::derive(&master, "weir canaries")),
            },
            weir_runtime::context::Host {
                egress: egress.clone(),
                bodies: Arc::new(StoredBodies {
                    store: Arc::clone(&store),
                    folder: media::folder(&config),
                }),
                clock: Arc::clone(&clock) as Arc<dyn weir_runtime::context::Clock>,
                observer: Arc::new(HostWitness {
                    metrics: Arc::clone(&metrics),
                    quarantine: Arc::clone(&quarantine),
                    trials: Arc::clone(&trials),
                    transcripts: Arc::clone(&transcripts),
                    clock: Arc::clone(&clock),
                    refusals,
                }),
            },
        )?;
        keyring::first_key(&config, &*store, &mint, clock.now()).await?;
        let connectors = Connectors::load(&*store, &runtime, &config, &quarantine, trials, clock.now()).await?;
        let mut owner = [0; 8];
        mint.fill(&mut owner);
        let platform_clocks = PlatformClocks::new(store.platform_clocks().await?);
        let host = Self(Arc::new(Shared {
            platform_clocks,
            store,
            clock,
            clock_turn: tokio::sync::Mutex::default(),
            egress,
            runtime,
            connectors,
            apps: Apps::default(),
            pacers: Pacers::new(),
            metrics,
            keys: watch::Sender::new(0),
            wakes: Wakes::default(),
            webhooks: Arc::new(Semaphore::new(WEBHOOKS_IN_HAND)),
            detached: TaskTracker::new(),
            turns: Turns::default(),
            unwritten: Unwritten::default(),
            connecting: AtWork::default(),
            forged: ForgedWebhooks::default(),
            asked: Asked::default(),
            doubts: Doubts::default(),
            pulses: Pulses::default(),
            last_probe: tokio::sync::Mutex::default(),
            last_look: Mutex::default(),
            aged: Mutex::default(),
            files_in_hand: InHand::default(),
            link_key: keyring::derive(&master, "weir media links"),
            owner: hex::encode(owner),
            refusals: Mutex::new(Some(kept)),
            quarantine,
            version_failures,
            state_turns: StateTurns::default(),
            transcripts,
            transcribed: Mutex::new(Some(transcribed)),
            mint,
            config,
        }));
        host.resume_versions().await?;
        host.end_what_died().await?;
        host.ask_after_outage().await?;
        host.store().resume_set_ups(host.now()).await?;
        Ok(host)
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
        self.0.clock.now()
    }

    /// The name of this process, under which it leases and claims.
    pub(crate) fn owner(&self) -> &str {
        &self.0.owner
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

    /// To be called after a write that ends a key or a session: what it still reads ends at once.
    pub(crate) fn keys_ended(&self) {
        self.0.keys.send_modify(|count| *count += 1);
    }

    /// To be called after a write that makes a delivery due though it adds no event: the publisher sees by itself that the log grew.
    pub(crate) fn wake_publisher(&self) {
        self.0.wakes.deliveries.notify_one();
    }

    /// To be called after a write, made outside the rooms, that may let messages go: a channel that is no longer paused.
    pub fn wake_senders(&self) {
        self.0.wakes.messages.notify_one();
    }

    /// Whether the record can be written. Anybody may ask that, so it is tried once in [`PROBE_EVERY`]; others get the answer of
    /// that try, unless it failed.
    async fn probe(&self) -> Result<(), StoreError> {
        let mut last = self.0.last_probe.lock().await;
        if last.is_some_and(|at| at.elapsed() < PROBE_EVERY) {
            return Ok(());
        }
        *last = None;
        self.0.store.probe().await?;
        *last = Some(Instant::now());
        Ok(())
    }

    /// Whether requests can be served, and what is accepted goes on.
    ///
    /// # Errors
    /// What is amiss.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.0.store.ping().await?;
        // Before the probe: that the record takes no write is why they wait, and they are what must not be lost.
        let count = self.0.unwritten.count();
        if count > 0 {
            return Err(NotReady::Unwritten { count });
        }
        self.probe().await?;
        if let Some(reason) = self.0.connectors.not_loaded() {
            return Err(NotReady::Connector(reason));
        }
        match self.0.pulses.stalled(Instant::now()) {
            Some((name, silent)) => Err(NotReady::Stalled { name, silent }),
            None => Ok(()),
        }
    }
}

pub(crate) fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut seed)
        .context("the operating system gives no randomness")?;
    Ok(seed)
}
