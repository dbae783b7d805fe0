//! Which version serves an app or a channel, and the rules for its calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_domain::channel::Channel;
use weir_domain::credential::Secrets;
use weir_domain::grant::Grants;
use weir_domain::message::MessageError;
use weir_domain::policy::PolicySet;
use weir_runtime::{CallError, Connector};
use weir_store::{StateWrite, StoreError};

use crate::connectors::Connectors;
use crate::connectors::apps::Registered;
use crate::connectors::loaded::Loaded;
use crate::connectors::pacing::ChannelPacer;
use crate::connectors::version_set::VersionSet;

/// The version that serves an app, and the rules for its calls. One call uses one of these from start to end.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) app: Arc<Registered>,
    /// The version set that it belongs to.
    pub(crate) versions: Arc<VersionSet>,
    pub(crate) connector: Connector,
    pub(crate) grants: Arc<Grants>,
    pub(crate) policies: PolicySet,
}

/// Why no version serves an app.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotServed {
    /// The app does not exist.
    #[error("there is no app {0:?}")]
    NoSuchApp(String),
    /// Its connector has no version that serves.
    #[error("no version of the connector {connector:?} serves; install and promote one")]
    NotServing {
        /// The connector's name.
        connector: String,
    },
    /// The version that serves is quarantined.
    #[error("{connector} {version} is quarantined: {reason}; promote it again, or another version")]
    Quarantined {
        /// The connector's name.
        connector: String,
        /// The version.
        version: String,
        /// The reason as text.
        reason: Arc<str>,
    },
    /// The account's state belongs to a version that cannot run; its calls wait for one that can.
    #[error("{0}")]
    Held(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A connector's call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectorError {
    /// No version of it serves.
    #[error("no version of the connector {connector:?} serves; install and promote one")]
    NotServing {
        /// The connector.
        connector: String,
    },
    /// The version that serves is quarantined; the text gives the reason and the fix.
    #[error("{0}")]
    Quarantined(String),
    /// All slots are in use; try again later.
    #[error("too many calls run; try again")]
    Busy,
    /// It does not have this capability.
    #[error("the connector does not have {interface}")]
    NotProvided {
        /// The interface.
        interface: &'static str,
    },
    /// The connector or the platform returned an error.
    #[error("{}", .0.detail)]
    Failed(Box<MessageError>),
    /// It crashed, exceeded its time, or returned invalid output.
    #[error("the connector failed: {0}")]
    Broken(String),
}

impl Connectors {
    /// The version that serves the app of this name; the active version while the account is not known yet.
    pub(crate) async fn serving(&self, app: &str) -> Result<Serving, NotServed> {
        self.runs(self.installed(app).await?)
    }

    /// The version that serves a channel.
    pub(crate) async fn serving_of(&self, channel: &Channel) -> Result<Serving, NotServed> {
        let serving = self.installed(&channel.app).await?;
        let loaded = serving.versions.of(&channel.app, &channel.platform_id);
        let loaded = loaded.map_err(|owner| self.held(&serving, &owner))?;
        self.runs(serving.by(loaded))
    }

    /// A version that is not loaded here owns an account's state.
    pub(crate) fn held(&self, serving: &Serving, owner: &str) -> NotServed {
        let connector = &serving.app.app.connector;
        let reason = self.cannot_run(connector, &serving.versions, owner);
        NotServed::Held(reason.unwrap_or_else(|| format!("{connector} {owner} is about to serve this account")))
    }

    pub(crate) fn runs(&self, serving: Serving) -> Result<Serving, NotServed> {
        match self.quarantined(&serving) {
            Some(error) => Err(error),
            None => Ok(serving),
        }
    }

    /// Why the version that [`Connectors::installed`] returned may not run; `None` if it may.
    pub(crate) fn quarantined(&self, serving: &Serving) -> Option<NotServed> {
        let manifest = serving.policies.manifest();
        let reason = self.quarantine.reason(&manifest.name, &manifest.version)?;
        Some(NotServed::Quarantined {
            connector: manifest.name.clone(),
            version: manifest.version.clone(),
            reason,
        })
    }

    /// Whether any version of an app's connector may run.
    pub(crate) async fn is_served(&self, app: &str) -> Result<bool, StoreError> {
        let serving = match self.installed(app).await {
            Ok(serving) => serving,
            Err(NotServed::Store(error)) => return Err(error),
            Err(_) => return Ok(false),
        };
        let (connector, versions) = (&serving.app.app.connector, &serving.versions);
        let runs = |loaded: &Arc<Loaded>| !self.quarantine.holds(connector, loaded.number());
        Ok(runs(&versions.active) || versions.others().iter().any(runs))
    }

    /// The active version of an app's connector, quarantined or not.
    pub(crate) async fn installed(&self, app: &str) -> Result<Serving, NotServed> {
        let app = self
            .apps
            .get(app)
            .await?
            .ok_or_else(|| NotServed::NoSuchApp(app.to_owned()))?;
        let versions = self.registry.versions(&app.app.connector);
        let versions = versions.ok_or_else(|| NotServed::NotServing {
            connector: app.app.connector.clone(),
        })?;
        Ok(Serving::of(app, versions))
    }

    /// A version wrote to a channel's state: if it had no owner, this version owns it from now on.
    pub(crate) fn state_written(&self, channel: &Channel, writes: &[StateWrite]) {
        if let (Some(write), Some(versions)) = (writes.first(), self.registry.versions(&channel.connector)) {
            versions.owners.begin(&channel.app, &channel.platform_id, &write.by);
        }
    }

    /// The platform's rates for a channel.
    pub(crate) fn pacer(&self, serving: &Serving, channel: &Channel) -> Arc<ChannelPacer> {
        let whose = Some((channel.id, &channel.policy));
        Arc::new(self.pacers.of(&channel.app, &serving.policies, whose))
    }

    /// The URL to which the platform sends the webhooks of an app.
    pub fn callback_url(&self, app: &str) -> String {
        self.core.config.public(&format!("/hooks/{app}"))
    }

    /// Why the accounts that a version owns are held; `None` if it runs.
    pub(crate) fn cannot_run(&self, connector: &str, versions: &VersionSet, owner: &str) -> Option<String> {
        let reason = match (
            versions.numbered(owner),
            self.quarantine.reason(connector, owner),
            self.registry.why_not_loaded(connector, owner),
        ) {
            (_, Some(reason), _) => format!("is quarantined: {reason}"),
            (Some(_), None, _) => return None,
            (None, None, Some(reason)) => format!("cannot be loaded: {reason}"),
            (None, None, None) => "is not loaded".to_owned(),
        };
        Some(format!(
            "{connector} {owner} owns the state of this account and {reason}; install its file again, or promote a version that \
             takes the state over"
        ))
    }
}

impl Serving {
    fn of(app: Arc<Registered>, versions: Arc<VersionSet>) -> Self {
        let loaded = &versions.active;
        Self {
            policies: app.policies(loaded.connector.manifest()),
            connector: loaded.connector.clone(),
            grants: Arc::clone(&loaded.grants),
            versions,
            app,
        }
    }

    /// Another version of the same.
    pub(crate) fn by(&self, loaded: &Loaded) -> Self {
        Self {
            policies: self.app.policies(loaded.connector.manifest()),
            connector: loaded.connector.clone(),
            grants: Arc::clone(&loaded.grants),
            versions: Arc::clone(&self.versions),
            app: Arc::clone(&self.app),
        }
    }

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
        &self.policies.manifest().version
    }
}

impl ConnectorError {
    /// No version serves.
    ///
    /// # Errors
    /// The database's own failure, which is not the connector's.
    pub(crate) fn unserved(error: NotServed) -> Result<Self, StoreError> {
        match error {
            NotServed::Store(error) => Err(error),
            NotServed::NoSuchApp(connector) | NotServed::NotServing { connector } => Ok(Self::NotServing { connector }),
            error @ (NotServed::Quarantined { .. } | NotServed::Held(_)) => Ok(Self::Quarantined(error.to_string())),
        }
    }
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
