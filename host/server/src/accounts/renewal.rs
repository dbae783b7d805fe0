//! Renewal of credentials: one at a time for each account, over all nodes. A renewal completes even if its caller stops
//! waiting.
//!
//! A platform may invalidate the old credential when it issues the new one. So a renewal runs in a task of its own,
//! which completes even if its caller stops waiting, and the write of its result is retried until it succeeds
//! ([`crate::accounts::credentials`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use weir_domain::channel::Channel;
use weir_domain::credential::{Credential, Secret};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::manifest::Authorization;
use weir_domain::time::Timestamp;
use weir_runtime::context::Fence as _;
use weir_store::{StoreError, WorkKind, WorkLease, kill_point};

use crate::accounts::credentials::Credentials;
use crate::accounts::oauth::{self, TokenError, Values};
use crate::connectors::Connectors;
use crate::connectors::serving::NotServed;
use crate::core::Core;
use crate::core::node::Registration;
use crate::core::persist::persist;

/// How long a renewal waits for one on another node: a slow platform responds within that.
const OTHERS: Duration = Duration::from_secs(20);
/// How often it polls meanwhile.
const RECHECK: Duration = Duration::from_millis(250);

/// Renews credentials. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Renewer {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    credentials: Arc<Credentials>,
    pub(super) locks: Arc<RenewalLocks>,
}

/// Accounts whose credential is being renewed, by app and the platform's id of the account: two renewals would each use
/// the rotating refresh token, and a renewal concurrent with a new authorization could overwrite its token with the old
/// grant's.
#[derive(Debug, Default)]
pub(crate) struct RenewalLocks(Mutex<HashMap<Account, Arc<tokio::sync::Mutex<()>>>>);

/// An account of an app.
type Account = (String, String);

/// The lock of one account, until it is dropped.
pub(crate) struct RenewalLock<'t> {
    locks: &'t RenewalLocks,
    account: Account,
    guard: Option<OwnedMutexGuard<()>>,
}

impl RenewalLocks {
    pub(crate) async fn take(&self, app: &str, platform_id: &str) -> RenewalLock<'_> {
        let account = (app.to_owned(), platform_id.to_owned());
        let lock = Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(account.clone())
                .or_default(),
        );
        RenewalLock {
            locks: self,
            account,
            guard: Some(lock.lock_owned().await),
        }
    }
}

impl Drop for RenewalLock<'_> {
    fn drop(&mut self) {
        let mut locks = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        // Kept while a caller waits for it, so that the map contains only accounts in progress.
        if locks
            .get(&self.account)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.account);
        }
    }
}

/// Why a credential is to be renewed.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// It expires soon, or an earlier renewal was interrupted.
    Due(Timestamp),
    /// The platform rejected this token.
    Refused(Secret),
    /// A caller requested it.
    Requested,
}

/// The result of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// There is another credential, from this renewal or a concurrent change.
    Written,
    /// There is another one, which is only in memory until the database accepts it.
    Unwritten,
    /// It was not due.
    NotDue,
}

/// The result of renewing a credential that the platform rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There is another one.
    Renewed,
    /// The platform could not be reached: no reason to require a person.
    Later,
    /// Only a person can renew it.
    NeedsPerson,
}

/// Why a credential was not renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// No version serves the app.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The channel has no credential.
    #[error("the channel has no credential; authorize it again")]
    NoCredential,
    /// A person entered it.
    #[error("the connector's accounts are connected with a token that a person enters, so there is nothing to renew")]
    Entered,
    /// The platform issued no refresh token.
    #[error(
        "the platform issued no refresh token, so there is nothing to renew; authorize the channel again before its token expires"
    )]
    NoRefreshToken,
    /// The previously renewed one is not on the disk yet.
    #[error(
        "the credential was renewed, and is in memory only until the database accepts it; it is not renewed again before"
    )]
    Unwritten,
    /// Another node is renewing it.
    #[error("another node is renewing the credential and did not finish within {} s; try again", OTHERS.as_secs())]
    Elsewhere,
    /// This node is fenced.
    #[error("the credential was not renewed: {0}; this is retried")]
    Fenced(String),
    /// The platform failed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RenewError {
    /// Whether only a person can renew the credential once it is no longer valid.
    pub(super) fn needs_a_person(&self) -> bool {
        match self {
            Self::NoCredential | Self::Entered | Self::NoRefreshToken => true,
            Self::Token(TokenError::OtherAccount(_)) => true,
            Self::Token(error) => error.is_gone(),
            Self::NotServed(_) | Self::Unwritten | Self::Elsewhere | Self::Fenced(_) | Self::Store(_) => false,
        }
    }

    /// Whether the grant itself has ended, independent of the access token's expiry.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::NoCredential) || matches!(self, Self::Token(error) if error.is_gone())
    }
}

/// Whether a credential is renewed at `now`: [`limits::REFRESH_AHEAD`] before it expires, or in the last quarter of a
/// lifetime so short that this would be at once.
fn is_due(credential: &Credential, now: Timestamp) -> bool {
    credential.expires_at.is_some_and(|end| {
        let life = end.since(credential.renewed_at);
        end.since(now) <= limits::REFRESH_AHEAD.min(life / 4)
    })
}

impl Renewer {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>, credentials: Arc<Credentials>) -> Self {
        Self {
            core,
            connectors,
            credentials,
            locks: Arc::default(),
        }
    }

    /// The platform rejected `token`. Returns whether there is another one now, from this renewal or a concurrent
    /// change.
    pub(crate) async fn renew_refused(&self, channel: &Channel, token: &Secret) -> Result<Renewal, StoreError> {
        match self.renew(channel, Cause::Refused(token.clone())).await {
            Ok(_) => Ok(Renewal::Renewed),
            Err(RenewError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(channel.id = %channel.id, "The refused credential could not be renewed: {error}");
                if matches!(error, RenewError::Token(TokenError::OtherAccount(_))) {
                    // The caller only knows why the old token was rejected.
                    self.credentials
                        .needs_reauthorization(channel, &error.to_string())
                        .await?;
                }
                Ok(if error.needs_a_person() {
                    Renewal::NeedsPerson
                } else {
                    Renewal::Later
                })
            }
        }
    }

    /// Renews in a task of its own, which completes even if its caller stops waiting.
    pub(super) async fn renew(&self, channel: &Channel, cause: Cause) -> Result<Renewed, RenewError> {
        let (renewer, channel) = (self.clone(), channel.clone());
        self.core
            .detached((), async move { renewer.renew_locked(&channel, cause).await })
            .await
    }

    async fn renew_locked(&self, channel: &Channel, cause: Cause) -> Result<Renewed, RenewError> {
        let _lock = self.locks.take(&channel.app, &channel.platform_id).await;
        let old = match self.wanted(channel, &cause).await? {
            Ok(old) => old,
            Err(done) => return Ok(done),
        };
        let registration = self.core.node.current();
        let Some(lease) = self.alone(channel.id, &cause, &registration).await? else {
            return match cause {
                // The other node renews what is due.
                Cause::Due(_) => Ok(Renewed::NotDue),
                Cause::Refused(_) | Cause::Requested => Err(RenewError::Elsewhere),
            };
        };
        // Read again: another node may have renewed it while this one waited, and used the refresh token for that.
        let renewed = match self.credentials.of(channel).await {
            Ok(Some(now)) if now == old => self.renew_alone(channel, old, &registration).await,
            Ok(Some(_)) => Ok(Renewed::Written),
            Ok(None) => Err(RenewError::NoCredential),
            Err(error) => Err(error.into()),
        };
        // While the new credential is only in this process's memory, the lease is kept, so that no other node renews.
        if !matches!(renewed, Ok(Renewed::Unwritten))
            && let Err(error) = persist(|| self.core.store().end_work(lease.clone(), None)).await
        {
            tracing::warn!(channel.id = %channel.id, "The renewal could not be marked as finished, so others wait for its lease: {error}");
        }
        renewed
    }

    /// The credential to be renewed, or the result if no renewal is needed.
    async fn wanted(&self, channel: &Channel, cause: &Cause) -> Result<Result<Credential, Renewed>, RenewError> {
        // Read under the lock: it may have been renewed while this caller waited.
        let old = self.credentials.of(channel).await?.ok_or(RenewError::NoCredential)?;
        Ok(match cause {
            Cause::Refused(token) if old.access_token != *token => Err(Renewed::Written),
            Cause::Due(now) if !is_due(&old, *now) && !self.is_started(channel).await? => Err(Renewed::NotDue),
            _ => Ok(old),
        })
    }

    /// Whether an earlier renewal was not completed.
    async fn is_started(&self, channel: &Channel) -> Result<bool, StoreError> {
        let store = self.core.store();
        Ok(store
            .renewal_started(&channel.workspace_id, channel.id)
            .await?
            .is_some())
    }

    /// Leases a channel's renewal among all nodes: two of them would each use the rotating refresh token. `None` if
    /// another node still has the lease after [`OTHERS`]; a scheduled renewal does not wait.
    async fn alone(
        &self,
        channel: ChannelId,
        cause: &Cause,
        registration: &Registration,
    ) -> Result<Option<WorkLease>, StoreError> {
        let end = Instant::now() + OTHERS;
        loop {
            let (store, now) = (self.core.store(), self.core.now());
            let lease = store
                .take_work(channel, WorkKind::Renewal, &registration.id, now)
                .await?;
            if lease.is_some() || matches!(cause, Cause::Due(_)) || Instant::now() >= end {
                return Ok(lease);
            }
            tokio::time::sleep(RECHECK).await;
        }
    }

    async fn renew_alone(
        &self,
        channel: &Channel,
        old: Credential,
        registration: &Registration,
    ) -> Result<Renewed, RenewError> {
        let workspace = &channel.workspace_id;
        if self.credentials.holds(channel.id) && self.credentials.write_renewed(channel.id).await.is_err() {
            return Err(RenewError::Unwritten);
        }
        let serving = self.connectors.serving_of(channel).await?;
        let Authorization::Oauth(oauth) = &serving.policies.manifest().authorization else {
            return Err(RenewError::Entered);
        };
        let (Some(call), Some(refresh_token)) = (&oauth.refresh, &old.refresh_token) else {
            return Err(RenewError::NoRefreshToken);
        };
        // If the database does not accept this, it would not accept the new credential either, and no token is consumed
        // yet.
        persist(|| self.core.store().begin_renewal(workspace, channel.id, self.core.now())).await?;
        kill_point("refresh.begun");
        let values = Values {
            refresh_token: Some(refresh_token),
            ..Values::default()
        };
        // Another node may have used the refresh token since; a platform may revoke both when it sees it twice.
        if let Some(reason) = registration.withheld() {
            return Err(RenewError::Fenced(reason));
        }
        let answered = oauth::call(&self.core.egress, &serving, oauth, call, values, self.core.now()).await;
        kill_point("refresh.answered");
        let renewed = answered.and_then(|tokens| Ok(tokens.renew(&old, &channel.platform_id)?));
        self.core
            .metrics
            .refresh(if renewed.is_ok() { "renewed" } else { "failed" });
        let new = match renewed {
            Ok(new) => new,
            Err(error) => {
                // Without a response the platform may have rotated it all the same, and the sooner it is retried the
                // better.
                if !matches!(error, TokenError::NoAnswer(_))
                    && let Err(error) = self.core.store().end_renewal(workspace, channel.id).await
                {
                    tracing::warn!(channel.id = %channel.id, "The end of a renewal was not stored, so it is retried: {error}");
                }
                return Err(error.into());
            }
        };
        Ok(match self.credentials.keep_renewed(channel, old, new).await {
            Ok(()) => {
                kill_point("refresh.written");
                tracing::info!(channel.id = %channel.id, "The credential of the channel {} was renewed", channel.id);
                Renewed::Written
            }
            Err(_) => Renewed::Unwritten,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;

    use super::*;

    fn credential(life: Duration) -> Credential {
        let renewed_at = Timestamp::from_millis(0);
        Credential {
            access_token: Secret::new("a"),
            refresh_token: None,
            expires_at: Some(renewed_at.after(life)),
            refresh_expires_at: None,
            renewed_at,
        }
    }

    #[test]
    fn a_day_long_token_is_renewed_six_hours_before_its_end() {
        let hour = Duration::from_secs(3_600);
        let credential = credential(24 * hour);
        let start = credential.renewed_at;
        assert!(!is_due(&credential, start.after(18 * hour - Duration::from_secs(1))));
        assert!(is_due(&credential, start.after(18 * hour)));
        assert!(is_due(&credential, start.after(48 * hour)));
    }

    #[test]
    fn a_short_token_is_not_renewed_at_once_after_it_was() {
        let minute = Duration::from_secs(60);
        let credential = credential(60 * minute);
        assert!(!is_due(&credential, credential.renewed_at.after(44 * minute)));
        assert!(is_due(&credential, credential.renewed_at.after(45 * minute)));
    }

    #[tokio::test]
    async fn an_account_is_renewed_by_one_at_a_time_and_then_forgotten() {
        let locks = RenewalLocks::default();
        let first = locks.take("app", "one").await;
        // Another account does not wait.
        drop(locks.take("app", "other").await);
        let mut second = std::pin::pin!(locks.take("app", "one"));
        let polled = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(polled.await, "the first still has its turn");
        drop(first);
        drop(second.await);
        assert!(locks.0.lock().expect("not poisoned").is_empty());
    }
}
