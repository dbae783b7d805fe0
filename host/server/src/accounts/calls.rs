//! Calls of connectors: which version serves an app, what its calls run with, and a call with its one renewal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use weir_domain::channel::Channel;
use weir_domain::credential::{Secret, Secrets};
use weir_domain::delivery::Verdict;
use weir_domain::grant::Grants;
use weir_domain::message::MessageError;
use weir_domain::policy::{Refusal, RuleBook};
use weir_domain::problem::Fault;
use weir_runtime::context::{CallContext, Called, ChannelFacts, StateWrites};
use weir_runtime::{CallError, Connector};
use weir_store::{StateWrite, StoreError};

use crate::accounts::refresher::Renewal;
use crate::connectors::apps::Registered;
use crate::connectors::pacing::ChannelPacer;
use crate::connectors::registry::Loaded;
use crate::connectors::rollout::{Line, StateUse};
use crate::host::Host;

/// The version that serves an app, and what its calls are judged by. One call uses one of these to its end.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) app: Arc<Registered>,
    /// The versions that it is one of.
    pub(crate) line: Arc<Line>,
    pub(crate) connector: Connector,
    pub(crate) grants: Arc<Grants>,
    pub(crate) book: RuleBook,
}

/// What a call for a channel runs with.
pub(crate) struct Ready {
    pub(crate) context: CallContext,
    /// The token that it carries.
    pub(crate) token: Secret,
    /// Held until what the call wrote to the state is in the record.
    pub(crate) state_use: StateUse,
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
    /// The account's state belongs to a version that cannot run; its calls wait for one that can.
    #[error("{0}")]
    Held(String),
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

/// A connector did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectorError {
    /// No version of it serves.
    #[error("no version of the connector {connector:?} serves; install and promote one")]
    NotServing {
        /// Which.
        connector: String,
    },
    /// The version that serves is set aside; in words that say why and what to do.
    #[error("{0}")]
    SetAside(String),
    /// All slots are taken; come back.
    #[error("too many calls run; try again")]
    Busy,
    /// It does not have this ability.
    #[error("the connector does not have {interface}")]
    NotProvided {
        /// Which interface.
        interface: &'static str,
    },
    /// It says why not, or the platform does.
    #[error("{}", .0.detail)]
    Failed(Box<MessageError>),
    /// It broke off, ran too long, or handed over what cannot be taken.
    #[error("the connector failed: {0}")]
    Broken(String),
}

/// Why something could not be done in a conversation.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No such conversation or channel in this workspace.
    #[error("there is none of this id")]
    NotFound,
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connector or the platform says no.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Host {
    /// What serves the app of this name now; the active version, while an account is not known yet.
    pub(crate) async fn serving(&self, app: &str) -> Result<Serving, NotServed> {
        self.runs(self.installed(app).await?)
    }

    /// What serves a channel now.
    pub(crate) async fn serving_of(&self, channel: &Channel) -> Result<Serving, NotServed> {
        let serving = self.installed(&channel.app).await?;
        let loaded = serving.line.of(&channel.app, &channel.platform_id);
        let loaded = loaded.map_err(|owner| self.held(&serving, &owner))?;
        self.runs(serving.by(loaded))
    }

    /// That a version which is not here owns an account's state.
    pub(crate) fn held(&self, serving: &Serving, owner: &str) -> NotServed {
        let connector = &serving.app.app.connector;
        let reason = self.cannot_run(connector, &serving.line, owner);
        NotServed::Held(reason.unwrap_or_else(|| format!("{connector} {owner} is about to serve this account")))
    }

    fn runs(&self, serving: Serving) -> Result<Serving, NotServed> {
        match self.set_aside(&serving) {
            Some(error) => Err(error),
            None => Ok(serving),
        }
    }

    /// Why the version that [`Host::installed`] gave may not run; none if it may.
    pub(crate) fn set_aside(&self, serving: &Serving) -> Option<NotServed> {
        let manifest = serving.book.manifest();
        let reason = self.0.quarantine.reason(&manifest.name, &manifest.version)?;
        Some(NotServed::SetAside {
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
        let (connector, line) = (&serving.app.app.connector, &serving.line);
        let runs = |loaded: &Arc<Loaded>| !self.0.quarantine.holds(connector, loaded.number());
        Ok(runs(&line.active) || line.others().iter().any(runs))
    }

    /// The active version of an app's connector, set aside or not.
    pub(crate) async fn installed(&self, app: &str) -> Result<Serving, NotServed> {
        let app = self
            .app(app)
            .await?
            .ok_or_else(|| NotServed::NoSuchApp(app.to_owned()))?;
        let line = self.0.connectors.line(&app.app.connector);
        let line = line.ok_or_else(|| NotServed::NotServing {
            connector: app.app.connector.clone(),
        })?;
        Ok(Serving::of(app, line))
    }

    /// What a call for a channel runs with. None if it has no credential. If the channel's state belongs to another version than
    /// `serving`, that one is taken in its place: nobody else understands the state.
    ///
    /// # Errors
    /// That version cannot run; or the record's.
    pub(crate) async fn context(
        &self,
        serving: &mut Serving,
        channel: &Channel,
        pacer: &Arc<ChannelPacer>,
    ) -> Result<Option<Ready>, NotServed> {
        let Some(credential) = self.credential(channel.id).await? else {
            return Ok(None);
        };
        let state_use = self.0.state_turns.share(channel.id).await;
        let state = self.0.store.state(channel.id).await?;
        if let Some(owner) = state.owner.filter(|owner| owner != serving.version()) {
            let line = self.0.connectors.line(&serving.app.app.connector);
            let loaded = line.as_ref().and_then(|line| line.numbered(&owner));
            let loaded = loaded.ok_or_else(|| self.held(serving, &owner))?;
            *serving = self.runs(serving.by(loaded))?;
        }
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
            state: state.entries,
            pacer: Arc::clone(pacer) as Arc<dyn weir_runtime::context::Pacer>,
            dates: Arc::clone(&serving.app.clock) as Arc<dyn weir_runtime::context::AnswerDates>,
        };
        Ok(Some(Ready {
            context,
            token: credential.access_token,
            state_use,
        }))
    }

    /// A version wrote to a channel's state: if nobody owned that, the version does from now on.
    pub(crate) fn state_written(&self, channel: &Channel, writes: &[StateWrite]) {
        if let (Some(write), Some(line)) = (writes.first(), self.0.connectors.line(&channel.connector)) {
            line.owners.begin(&channel.app, &channel.platform_id, &write.by);
        }
    }

    /// The platform's rates for a channel.
    pub(crate) fn pacer(&self, serving: &Serving, channel: &Channel) -> Arc<ChannelPacer> {
        let whose = Some((channel.id, &channel.policy));
        Arc::new(self.0.pacers.of(&channel.app, &serving.book, whose))
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
        let mut serving = self.serving_of(channel).await?;
        let pacer = self.pacer(&serving, channel);
        let mut is_second = false;
        loop {
            let ready = self.context(&mut serving, channel, &pacer).await?;
            let Some(Ready {
                context,
                token,
                state_use,
            }) = ready
            else {
                return Err(CallFailure::Unauthorized);
            };
            let called = call(&serving.connector, context).await;
            let writes = state_writes(called.writes, serving.version());
            if !self.store().commit_state(channel.id, writes.clone()).await? {
                let words = "another version took the account's state over while the call ran; try again";
                return Err(NotServed::Held(words.to_owned()).into());
            }
            self.state_written(channel, &writes);
            drop(state_use);
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
}

impl Serving {
    fn of(app: Arc<Registered>, line: Arc<Line>) -> Self {
        let loaded = &line.active;
        Self {
            book: app.book(loaded.connector.manifest()),
            connector: loaded.connector.clone(),
            grants: Arc::clone(&loaded.grants),
            line,
            app,
        }
    }

    /// Another version of the same.
    pub(crate) fn by(&self, loaded: &Loaded) -> Self {
        Self {
            book: self.app.book(loaded.connector.manifest()),
            connector: loaded.connector.clone(),
            grants: Arc::clone(&loaded.grants),
            line: Arc::clone(&self.line),
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
        &self.book.manifest().version
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

pub(crate) fn state_writes(writes: StateWrites, by: &str) -> Vec<StateWrite> {
    writes
        .0
        .into_iter()
        .map(|(key, value)| StateWrite {
            by: by.to_owned(),
            key,
            value,
        })
        .collect()
}

impl ConnectorError {
    /// Nothing serves.
    ///
    /// # Errors
    /// The record's own failure, which is none of the connector's.
    pub(crate) fn unserved(error: NotServed) -> Result<Self, StoreError> {
        match error {
            NotServed::Store(error) => Err(error),
            NotServed::NoSuchApp(connector) | NotServed::NotServing { connector } => Ok(Self::NotServing { connector }),
            error @ (NotServed::SetAside { .. } | NotServed::Held(_)) => Ok(Self::SetAside(error.to_string())),
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

impl From<NotServed> for ActError {
    fn from(error: NotServed) -> Self {
        ConnectorError::unserved(error).map_or_else(Self::from, Self::from)
    }
}

impl From<CallFailure> for ActError {
    fn from(error: CallFailure) -> Self {
        match error {
            CallFailure::NotServed(error) => error.into(),
            CallFailure::Unauthorized => Refusal::ReauthorizationRequired.into(),
            CallFailure::Call(error) => ConnectorError::from(error).into(),
            CallFailure::Store(error) => error.into(),
        }
    }
}
