//! Connectors: their versions and apps, which version serves an account, and the results of calls.

pub mod apps;
pub(crate) mod caches;
mod call_observer;
pub mod canary;
pub(crate) mod forged;
pub mod install;
pub(crate) mod loaded;
pub(crate) mod pacing;
pub mod promotion;
pub(crate) mod quarantine;
pub(crate) mod registry;
pub mod replay;
pub mod rollout;
pub mod serving;
pub(crate) mod state_locks;
pub(crate) mod transcripts;
pub(crate) mod version_failures;
pub(crate) mod version_set;

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use weir_egress::Bodies;
use weir_runtime::{CacheSettings, Runtime};

use crate::connectors::apps::Apps;
use crate::connectors::call_observer::{HostObserver, REFUSALS_WAITING};
use crate::connectors::canary::CanaryRuns;
use crate::connectors::forged::ForgedWebhooks;
use crate::connectors::pacing::Pacers;
use crate::connectors::quarantine::Quarantine;
use crate::connectors::registry::Registry;
use crate::connectors::state_locks::StateLocks;
use crate::connectors::transcripts::{PendingTranscript, Transcripts};
use crate::connectors::version_failures::VersionFailures;
use crate::core::Core;
use crate::core::keyring;
use crate::core::refusals::ActRefused;

/// The connectors and their apps.
pub struct Connectors {
    core: Arc<Core>,
    pub(crate) runtime: Runtime,
    pub(crate) registry: Registry,
    pub(crate) apps: Apps,
    /// Webhooks with an invalid signature, by app.
    pub(crate) forged: ForgedWebhooks,
    pub(crate) pacers: Arc<Pacers>,
    pub(crate) quarantine: Arc<Quarantine>,
    /// Failed versions that are not marked in the database yet.
    pub(crate) version_failures: Arc<VersionFailures>,
    /// Locks on channels' states.
    pub(crate) state_locks: StateLocks,
    pub(crate) transcripts: Arc<Transcripts>,
    /// Refusals in calls, until the background task stores them.
    pub(crate) refused: Mutex<Option<mpsc::Receiver<ActRefused>>>,
    /// The same for recorded calls.
    pub(crate) transcribed: Mutex<Option<mpsc::Receiver<PendingTranscript>>>,
}

impl Connectors {
    /// Starts the runtime and loads the versions that serve. `bodies` are the stored files that requests can carry.
    ///
    /// # Errors
    /// One line that names the obstacle.
    pub(crate) async fn open(core: Arc<Core>, bodies: Arc<dyn Bodies>, master: &[u8; 32]) -> anyhow::Result<Self> {
        let (refusals, refused) = mpsc::channel(REFUSALS_WAITING);
        let version_failures = Arc::new(VersionFailures::default());
        let quarantine = Arc::new(Quarantine::new(Arc::clone(&version_failures)));
        let canary_runs = Arc::new(CanaryRuns::new(Arc::clone(&version_failures)));
        let (transcripts, transcribed) = transcripts::begin(core.config.retention.transcripts);
        let runtime = Runtime::start(
            weir_runtime::Settings {
                cache: Some(CacheSettings {
                    folder: core.config.data.join("cache"),
                    master_key: *master,
                }),
                compiler: core.config.compiler.clone(),
                honeytoken_key: Some(keyring::derive(master, "weir canaries")),
            },
            weir_runtime::context::Host {
                egress: core.egress.clone(),
                bodies,
                clock: Arc::clone(&core.clock) as Arc<dyn weir_runtime::context::Clock>,
                observer: Arc::new(HostObserver {
                    metrics: Arc::clone(&core.metrics),
                    quarantine: Arc::clone(&quarantine),
                    canary_runs: Arc::clone(&canary_runs),
                    transcripts: Arc::clone(&transcripts),
                    clock: Arc::clone(&core.clock),
                    refusals,
                }),
            },
        )?;
        let registry = Registry::load(&core, &runtime, &quarantine, canary_runs).await?;
        let pacers = Pacers::new(&core.store);
        Ok(Self {
            apps: Apps::new(Arc::clone(&core)),
            core,
            runtime,
            registry,
            forged: ForgedWebhooks::default(),
            pacers,
            quarantine,
            version_failures,
            state_locks: StateLocks::default(),
            transcripts,
            refused: Mutex::new(Some(refused)),
            transcribed: Mutex::new(Some(transcribed)),
        })
    }
}
