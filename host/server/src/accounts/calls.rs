//! Calls of connectors for an account: their inputs, and a call with at most one credential renewal.

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
use crate::connectors::state_locks::StateUse;

/// The inputs of a call for a channel.
pub(crate) struct Ready {
    pub(crate) context: CallContext,
    /// The token of the call.
    pub(crate) token: Secret,
    /// Held until the call's writes to the state are in the database.
    pub(crate) state_use: StateUse,
}

/// Why a connector's call returned no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailure {
    /// No version serves.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The channel has no credential, or its credential is invalid and cannot be renewed.
    #[error("the channel's authorization has ended; reauthorize the channel")]
    Unauthorized,
    /// The result of the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an operation on a conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No such conversation or channel in this workspace.
    #[error("not found")]
    NotFound,
    /// A rule refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connector or the platform refused.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// The inputs of a call for a channel. `None` if it has no credential. If the channel's state belongs to a version
    /// other than `serving`, that one is used instead: no other version can read the state.
    ///
    /// # Errors
    /// That version cannot run; or the database failed.
    pub(crate) async fn context(
        &self,
        serving: &mut Serving,
        channel: &Channel,
        pacer: &Arc<ChannelPacer>,
    ) -> Result<Option<Ready>, NotServed> {
        let Some(credential) = self.credentials.of(channel).await? else {
            return Ok(None);
        };
        let state_use = self.connectors.state_locks.share(channel.id).await;
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

    /// Calls the connector for a channel. If the platform rejects the credential, it is renewed and the call is retried
    /// once; if that fails too, the channel waits for a person. Not for sends: the deliverer handles those.
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
                let words = "another version took over the account's state during the call; try again";
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

/// The pause after a platform throttles without giving a duration.
const THROTTLED: Duration = Duration::from_secs(1);

/// The platform throttles: no request of its rate leaves for a while.
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

/// The error of a channel whose credential is no longer valid.
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
