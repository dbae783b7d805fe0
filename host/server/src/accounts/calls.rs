//! Calls of connectors for an account: what they run with, and a call with its one renewal.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use weir_domain::channel::Channel;
use weir_domain::credential::Secret;
use weir_domain::delivery::Verdict;
use weir_domain::message::MessageError;
use weir_domain::policy::Refusal;
use weir_domain::problem::Fault;
use weir_runtime::context::{CallContext, Called, ChannelFacts, StateWrites};
use weir_runtime::{CallError, Connector};
use weir_store::{StateWrite, StoreError};

use crate::accounts::Accounts;
use crate::accounts::renewal::Renewal;
use crate::connectors::pacing::ChannelPacer;
use crate::connectors::serving::{ConnectorError, NotServed, Serving};
use crate::connectors::state_turns::StateUse;

/// What a call for a channel runs with.
pub(crate) struct Ready {
    pub(crate) context: CallContext,
    /// The token that it carries.
    pub(crate) token: Secret,
    /// Held until what the call wrote to the state is in the record.
    pub(crate) state_use: StateUse,
}

/// Why a call of a connector gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailure {
    /// Nothing serves.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The channel has no credential, or it is dead and cannot be renewed.
    #[error("the channel's authorization has ended; reauthorize the channel")]
    Unauthorized,
    /// How the call ended.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something could not be done in a conversation.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No such conversation or channel in this workspace.
    #[error("not found")]
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

impl Accounts {
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
        let Some(credential) = self.credentials.of(channel).await? else {
            return Ok(None);
        };
        let state_use = self.connectors.state_turns.share(channel.id).await;
        let state = self.core.store.state(&channel.workspace_id, channel.id).await?;
        if let Some(owner) = state.owner.filter(|owner| owner != serving.version()) {
            let line = self.connectors.registry.versions(&serving.app.app.connector);
            let loaded = line.as_ref().and_then(|line| line.numbered(&owner));
            let loaded = loaded.ok_or_else(|| self.connectors.held(serving, &owner))?;
            *serving = self.connectors.runs(serving.by(loaded))?;
        }
        let context = CallContext {
            channel_id: Some(channel.id),
            channel: ChannelFacts {
                platform_id: channel.platform_id.clone(),
                username: channel.username.clone(),
                country: channel.country.clone(),
                settings: serving.app.app.settings.clone(),
                callback_url: self.connectors.callback_url(&channel.app),
            },
            secrets: serving.secrets().with_access_token(credential.access_token.clone()),
            grants: Arc::clone(&serving.grants),
            origins: Arc::clone(&serving.app.origins),
            state: state.entries,
            pacer: Arc::clone(pacer) as Arc<dyn weir_runtime::context::Pacer>,
            dates: Arc::clone(&serving.app.clock) as Arc<dyn weir_runtime::context::AnswerDates>,
            fence: self.core.node.current(),
        };
        Ok(Some(Ready {
            context,
            token: credential.access_token,
            state_use,
        }))
    }

    /// Calls the connector for a channel. When the platform refuses the credential it is renewed and the call is made once
    /// more; when that does not help, the channel waits for a person. Not for sends: those are the deliverer's.
    pub(crate) async fn call<T>(
        &self,
        channel: &Channel,
        call: impl for<'a> Fn(&'a Connector, CallContext) -> BoxFuture<'a, Called<T>> + Send + Sync,
    ) -> Result<T, CallFailure> {
        let mut serving = self.connectors.serving_of(channel).await?;
        let pacer = self.connectors.pacer(&serving, channel);
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
            if !self
                .core
                .store()
                .commit_state(&channel.workspace_id, channel.id, writes.clone())
                .await?
            {
                let words = "another version took the account's state over while the call ran; try again";
                return Err(NotServed::Held(words.to_owned()).into());
            }
            self.connectors.state_written(channel, &writes);
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
                        self.renewer.renew_refused(channel, &token).await?
                    };
                    match renewal {
                        Renewal::Renewed => is_second = true,
                        Renewal::NeedsPerson => {
                            self.credentials.needs_reauthorization(channel, &error.detail).await?;
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
