//! What the rooms share, and how a call of a connector is made ready.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use rand::TryRngCore;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use weir_domain::channel::Channel;
use weir_domain::credential::{Secret, Secrets};
use weir_domain::delivery::Verdict;
use weir_domain::grant::Grants;
use weir_domain::id::{ChannelId, Mint};
use weir_domain::limits;
use weir_domain::message::MessageError;
use weir_domain::policy::{AppSettings, OriginMap, RuleBook};
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;
use weir_egress::Egress;
use weir_runtime::context::{CallContext, Called, ChannelFacts, StateWrites};
use weir_runtime::{CacheSettings, CallError, Connector, Runtime};
use weir_store::{App, MasterKey, SqliteStore, StateWrite, Store, StoreError};

use crate::clock::{self, HostClock};
use crate::config::{Config, StoreConfig};
use crate::history::Asked;
use crate::metrics::Metrics;
use crate::outbound::ConnectorError;
use crate::pulse::Pulses;
use crate::quarantine::{Quarantine, SetAside};
use crate::reconciler::Doubts;
use crate::refresher::{Renewal, Turns};
use crate::refusals::ActRefused;
use crate::registry::Connectors;
use crate::services::{ChannelPacer, HostWitness, Pacers, REFUSALS_WAITING, StoredBodies};
use crate::{keyring, media};

/// The host. Cheap to clone.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mint: Arc<Mint>,
    pub(crate) clock: Arc<HostClock>,
    pub(crate) egress: Egress,
    pub(crate) runtime: Runtime,
    pub(crate) connectors: Connectors,
    apps: RwLock<HashMap<String, Arc<Registered>>>,
    pub(crate) pacers: Arc<Pacers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: watch::Sender<u64>,
    pub(crate) wakes: Wakes,
    /// Webhooks in hand.
    pub(crate) webhooks: Semaphore,
    pub(crate) turns: Turns,
    /// Histories to be read.
    pub(crate) asked: Asked,
    pub(crate) doubts: Doubts,
    pub(crate) pulses: Pulses,
    /// When channels were last looked at for warnings.
    pub(crate) last_look: Mutex<Option<Timestamp>>,
    /// Signs links to stored bytes.
    pub(crate) link_key: [u8; 32],
    /// Who leases.
    pub(crate) owner: String,
    pub(crate) refusals: Mutex<Option<mpsc::Receiver<ActRefused>>>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) set_aside: Mutex<Option<mpsc::Receiver<SetAside>>>,
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
        ] {
            wake.notify_one();
        }
    }
}

/// An app as it is kept in memory.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) app: App,
    pub(crate) origins: Arc<OriginMap>,
}

/// The version that serves an app, and what its calls are judged by. One call uses one of these to its end.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) app: Arc<Registered>,
    pub(crate) connector: Connector,
    pub(crate) grants: Arc<Grants>,
    pub(crate) book: RuleBook,
}

/// Why nothing serves an app.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotServed {
    /// There is no such app.
    #[error("there is no app {0:?}")]
    NoSuchApp(String),
    /// Its connector has no version that serves.
    #[error("no version of the connector {connector:?} serves; install and promote one")]
    NotServing {
        /// The connector's name.
        connector: String,
    },
    /// The version that serves is set aside.
    #[error("{connector} {version} is set aside: {reason}; promote it again, or another version")]
    SetAside {
        /// The connector's name.
        connector: String,
        /// The version.
        version: String,
        /// Why, in words.
        reason: Arc<str>,
    },
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a call of a connector gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailure {
    /// Nothing serves.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The channel has no credential, or it is dead and cannot be renewed.
    #[error("the channel's authorisation has ended; authorise it again")]
    Unauthorized,
    /// How the call ended.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an app could not be put.
#[derive(Debug, thiserror::Error)]
pub enum PutAppError {
    /// No connector of this name is installed.
    #[error("there is no connector {0:?}; install it first")]
    NoConnector(String),
    /// A setting that the host itself reads is of another form.
    #[error("the setting {name:?} cannot be read: {reason}")]
    Setting {
        /// Its name; empty if no single one is at fault.
        name: String,
        /// In words.
        reason: String,
    },
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

/// Why the host is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A loop does not turn.
    #[error("the {name} has been silent for {} s; nothing is lost, but restart the host", silent.as_secs())]
    Stalled {
        /// Which.
        name: &'static str,
        /// For how long.
        silent: Duration,
    },
}

/// Webhooks in hand at once: each holds a body and an instance of a connector. More wait, as long as a platform does.
const WEBHOOKS_IN_HAND: usize = 128;
/// How long the followed clock may take to answer at the start.
const CLOCK_AT_START: Duration = Duration::from_secs(10);

impl Host {
    /// Opens the record, the way out, the runtime and the connectors that serve. Starts no loops.
    ///
    /// # Errors
    /// One line that says what is in the way.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        for folder in ["", "components", "cache", "media"] {
            // Nobody else on the machine has business here: keys, and what people wrote.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(config.data.join(folder))
                .with_context(|| format!("the data directory {} cannot be used", config.data.display()))?;
        }
        let mint = Arc::new(Mint::from_seed(seed()?));
        let master = keyring::master_key(&config, &mint)?;
        let store: Arc<dyn Store> = match &config.store {
            StoreConfig::Sqlite => {
                let path = config.data.join("weir.db");
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
            check_clock(&*store, url.as_str()).await?;
            let read = follow(&egress, url).await;
            clock.set(read.map_err(|error| anyhow::anyhow!("the clock at {url} cannot be followed: {error}"))?);
        }
        let metrics = Arc::new(Metrics::default());
        let (refusals, kept) = mpsc::channel(REFUSALS_WAITING);
        let (told, set_aside) = mpsc::channel(limits::SET_ASIDE);
        let quarantine = Arc::new(Quarantine::new(told));
        let runtime = Runtime::start(
            weir_runtime::Settings {
                cache: Some(CacheSettings {
                    folder: config.data.join("cache"),
                    master_key: master,
                }),
                compiler: config.compiler.clone(),
                canary_key: Some(keyring::derive(&master, "weir canaries")),
            },
            weir_runtime::context::Host {
                egress: egress.clone(),
                bodies: Arc::new(StoredBodies {
                    store: Arc::clone(&store),
                    folder: media::folder(&config),
                }),
                clock: Arc::clone(&clock) as Arc<dyn weir_runtime::context::Clock>,
                witness: Arc::new(HostWitness {
                    metrics: Arc::clone(&metrics),
                    quarantine: Arc::clone(&quarantine),
                    clock: Arc::clone(&clock),
                    refusals,
                }),
            },
        )?;
        keyring::first_key(&config, &*store, &mint, clock.now()).await?;
        let connectors = Connectors::load(&*store, &runtime, &config, &quarantine).await?;
        let mut owner = [0; 8];
        mint.fill(&mut owner);
        let host = Self(Arc::new(Shared {
            store,
            clock,
            egress,
            runtime,
            connectors,
            apps: RwLock::default(),
            pacers: Pacers::new(),
            metrics,
            events: watch::Sender::new(0),
            wakes: Wakes::default(),
            webhooks: Semaphore::new(WEBHOOKS_IN_HAND),
            turns: Turns::default(),
            asked: Asked::default(),
            doubts: Doubts::default(),
            pulses: Pulses::default(),
            last_look: Mutex::default(),
            link_key: keyring::derive(&master, "weir media links"),
            owner: hex::encode(owner),
            refusals: Mutex::new(Some(kept)),
            quarantine,
            set_aside: Mutex::new(Some(set_aside)),
            mint,
            config,
        }));
        host.ask_after_outage().await?;
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
        self.0.wakes.deliveries.notify_one();
    }

    /// To be called after a write, made outside the rooms, that may let messages go: a channel that is no longer paused.
    pub fn wake_senders(&self) {
        self.0.wakes.messages.notify_one();
    }

    /// Whether requests can be served, and what is accepted goes on.
    ///
    /// # Errors
    /// What is amiss.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.0.store.ping().await?;
        match self.0.pulses.stalled(Instant::now()) {
            Some((name, silent)) => Err(NotReady::Stalled { name, silent }),
            None => Ok(()),
        }
    }

    // ---- apps --------------------------------------------------------------------------------------------------------

    /// Creates or replaces an app; what follows uses it at once.
    ///
    /// # Errors
    /// No such connector, or the app could leave this machine while a virtual clock is followed.
    pub async fn put_app(&self, app: App) -> Result<(), PutAppError> {
        serde_path_to_error::deserialize::<_, AppSettings>(&app.settings).map_err(|error| PutAppError::Setting {
            name: error.path().to_string(),
            reason: error.into_inner().to_string(),
        })?;
        let versions = self.0.store.versions().await?;
        if !versions.iter().any(|version| version.manifest.name == app.connector) {
            return Err(PutAppError::NoConnector(app.connector));
        }
        if let Some(clock) = &self.0.config.clock
            && (app.origins.0.is_empty() || !app.origins.is_all_loopback())
        {
            return Err(PutAppError::Clock {
                clock: clock.to_string(),
            });
        }
        let name = app.name.clone();
        self.0.store.put_app(app).await?;
        self.apps_mut(|apps| apps.remove(&name));
        Ok(())
    }

    fn apps_mut<T>(&self, change: impl FnOnce(&mut HashMap<String, Arc<Registered>>) -> T) -> T {
        change(&mut self.0.apps.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The app of this name; from memory after the first time. Names that do not exist are not remembered.
    pub(crate) async fn app(&self, name: &str) -> Result<Option<Arc<Registered>>, StoreError> {
        let known = self
            .0
            .apps
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(app) = self.0.store.app(name).await? else {
            return Ok(None);
        };
        let app = Arc::new(Registered {
            origins: Arc::new(app.origins.clone()),
            app,
        });
        // Read before a put and kept after it, an old app would stay: the one that is newer by the record's word wins.
        Ok(Some(self.apps_mut(|apps| match apps.get(name) {
            Some(there) if there.app.updated_at >= app.app.updated_at => Arc::clone(there),
            _ => {
                apps.insert(name.to_owned(), Arc::clone(&app));
                app
            }
        })))
    }

    // ---- calls of connectors -------------------------------------------------------------------------------------------

    /// What serves the app of this name now.
    pub(crate) async fn serving(&self, app: &str) -> Result<Serving, NotServed> {
        let serving = self.installed(app).await?;
        match self.set_aside(&serving) {
            Some(error) => Err(error),
            None => Ok(serving),
        }
    }

    /// Why the version that [`Host::installed`] gave may not run; none if it may.
    pub(crate) fn set_aside(&self, serving: &Serving) -> Option<NotServed> {
        let manifest = &serving.book.manifest;
        let reason = self.0.quarantine.reason(&manifest.name, &manifest.version)?;
        Some(NotServed::SetAside {
            connector: manifest.name.clone(),
            version: manifest.version.clone(),
            reason,
        })
    }

    /// The version that serves an app, or would if it were not set aside.
    pub(crate) async fn installed(&self, app: &str) -> Result<Serving, NotServed> {
        let app = self
            .app(app)
            .await?
            .ok_or_else(|| NotServed::NoSuchApp(app.to_owned()))?;
        let loaded = self
            .0
            .connectors
            .get(&app.app.connector)
            .ok_or_else(|| NotServed::NotServing {
                connector: app.app.connector.clone(),
            })?;
        Ok(Serving {
            book: RuleBook {
                manifest: Arc::clone(loaded.connector.manifest()),
                settings: app.app.settings.clone(),
            },
            connector: loaded.connector.clone(),
            grants: Arc::clone(&loaded.grants),
            app,
        })
    }

    /// What a call for a channel runs with. None if it has no credential.
    pub(crate) async fn context(
        &self,
        serving: &Serving,
        channel: &Channel,
    ) -> Result<Option<(CallContext, Arc<ChannelPacer>, Secret)>, StoreError> {
        let Some(credential) = self.0.store.credential(channel.id).await? else {
            return Ok(None);
        };
        let state = self.0.store.state(channel.id).await?;
        let pacer = Arc::new(
            self.0
                .pacers
                .of(&channel.app, &serving.book, Some((channel.id, &channel.policy))),
        );
        let context = CallContext {
            channel_id: Some(channel.id),
            channel: ChannelFacts {
                platform_id: channel.platform_id.clone(),
                username: channel.username.clone(),
                country: channel.country.clone(),
                settings: serving.app.app.settings.clone(),
                callback_url: self.callback_url(&channel.app),
            },
            secrets: serving.secrets().with_access_token(credential.access_token.clone()),
            grants: Arc::clone(&serving.grants),
            origins: Arc::clone(&serving.app.origins),
            state,
            pacer: Arc::clone(&pacer) as Arc<dyn weir_runtime::context::Pacer>,
        };
        Ok(Some((context, pacer, credential.access_token)))
    }

    /// Where the platform sends the webhooks of an app.
    pub fn callback_url(&self, app: &str) -> String {
        self.0.config.public(&format!("/hooks/{app}"))
    }

    /// Calls the connector for a channel. When the platform refuses the credential it is renewed and the call is made once
    /// more; when that does not help, the channel waits for a person. Not for sends: those are the deliverer's.
    pub(crate) async fn call<T>(
        &self,
        channel: &Channel,
        call: impl for<'a> Fn(&'a Connector, CallContext) -> BoxFuture<'a, Called<T>> + Send + Sync,
    ) -> Result<T, CallFailure> {
        let serving = self.serving(&channel.app).await?;
        let mut is_second = false;
        loop {
            let Some((context, pacer, token)) = self.context(&serving, channel).await? else {
                return Err(CallFailure::Unauthorized);
            };
            let called = call(&serving.connector, context).await;
            self.commit(channel.id, called.writes).await?;
            match called.result {
                Ok(value) => return Ok(value),
                Err(CallError::Failed {
                    verdict: Verdict::Reauthorize,
                    error,
                }) => {
                    let renewal = if is_second {
                        Renewal::NeedsPerson
                    } else {
                        self.renew_refused(channel, &token).await?
                    };
                    match renewal {
                        Renewal::Renewed => is_second = true,
                        Renewal::NeedsPerson => {
                            self.needs_reauthorization(channel.id, &error.detail).await?;
                            return Err(CallFailure::Unauthorized);
                        }
                        Renewal::Later => {
                            let verdict = Verdict::Reauthorize;
                            return Err(CallError::Failed { verdict, error }.into());
                        }
                    }
                }
                Err(CallError::Failed { verdict, error }) => {
                    hold_if_throttled(&pacer, verdict, &error);
                    return Err(CallError::Failed { verdict, error }.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn commit(&self, channel: ChannelId, writes: StateWrites) -> Result<(), StoreError> {
        let writes = state_writes(writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.0.store.commit_state(channel, writes).await
    }
}

impl Serving {
    /// The app's secrets, the newest of each name.
    pub(crate) fn secrets(&self) -> Secrets {
        let newest: BTreeMap<_, _> = self
            .app
            .app
            .secrets
            .iter()
            .filter_map(|(name, secrets)| Some((name.clone(), secrets.first()?.clone())))
            .collect();
        Secrets::of_app(newest)
    }

    /// The version's number.
    pub(crate) fn version(&self) -> &str {
        &self.book.manifest.version
    }
}

/// What the platform asks for when it throttles and does not say how long.
const THROTTLED: Duration = Duration::from_secs(1);

/// The platform asked to slow down: nothing of its rate leaves for a while.
pub(crate) fn hold_if_throttled(pacer: &ChannelPacer, verdict: Verdict, error: &MessageError) {
    if let (Verdict::Retry { after_ms, .. }, "rate_limited") = (verdict, error.code.as_str()) {
        pacer.hold(after_ms.map_or(THROTTLED, Duration::from_millis));
    }
}

pub(crate) fn state_writes(writes: StateWrites) -> Vec<StateWrite> {
    writes
        .0
        .into_iter()
        .map(|(key, value)| StateWrite { key, value })
        .collect()
}

impl From<CallError> for ConnectorError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed { error, .. } => Self::Failed(error),
            CallError::Busy { .. } | CallError::NoTurn(_) => Self::Busy,
            CallError::NotProvided { interface } => Self::NotProvided { interface },
            other => Self::Broken(other.to_string()),
        }
    }
}

/// What is said of a channel whose credential is dead.
pub(crate) fn reauthorization_required(detail: &str) -> MessageError {
    MessageError {
        code: "reauthorization_required".to_owned(),
        detail: detail.to_owned(),
        fault: Fault::Caller,
        retryable: true,
        platform: None,
    }
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut seed)
        .context("the operating system gives no randomness")?;
    Ok(seed)
}

/// While a virtual clock is followed, windows and signatures are judged by it: no app may then talk to a real platform.
async fn check_clock(store: &dyn Store, clock: &str) -> anyhow::Result<()> {
    for app in store.apps().await? {
        if app.origins.0.is_empty() || !app.origins.is_all_loopback() {
            anyhow::bail!(
                "clock = {clock:?} is refused: the app {:?} is not mapped to this machine; map its origins, or unset the clock",
                app.name
            );
        }
    }
    Ok(())
}

async fn follow(egress: &Egress, url: &url::Url) -> Result<clock::Reading, String> {
    let deadline = tokio::time::Instant::now() + CLOCK_AT_START;
    loop {
        match clock::read(egress, url).await {
            Err(_) if tokio::time::Instant::now() < deadline => tokio::time::sleep(clock::FOLLOW_EVERY).await,
            read => return read,
        }
    }
}
