//! Keeps credentials alive: renews them well before they die, one renewal at a time for each account.
//!
//! A platform may end the old credential at the moment it gives the new one, so a renewal runs in a task of its own, which ends
//! whoever asked for it, and its result is written until it is written ([`crate::accounts::credentials`]). When the platform says that
//! the grant is gone, the channel waits for a person; any other failure is tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::{Credential, Secret};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::manifest::Authorization;
use weir_domain::policy::Refusal;
use weir_domain::time::Timestamp;
use weir_store::{StoreError, kill_point};

use crate::accounts::calls::{ActError, CallFailure, ConnectorError, NotServed};
use crate::accounts::oauth::{self, TokenError, Values};
use crate::core::persist::persist;
use crate::host::Host;

/// Credentials looked at in one round.
const ROUND: u32 = 64;

/// Whose credential is at work now, by app and the platform's id of the account: two renewals would each spend the rotating
/// refresh token, and one beside a new consent could write the old grant's token over the new one's.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Account, Arc<tokio::sync::Mutex<()>>>>);

/// An account of an app.
type Account = (String, String);

/// The turn of one account, until it is dropped.
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    account: Account,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(crate) async fn take(&self, app: &str, platform_id: &str) -> Turn<'_> {
        let account = (app.to_owned(), platform_id.to_owned());
        let lock = Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(account.clone())
                .or_default(),
        );
        Turn {
            turns: self,
            account,
            guard: Some(lock.lock_owned().await),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        // Kept while somebody waits for it, so that the map holds only accounts at work.
        if turns
            .get(&self.account)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            turns.remove(&self.account);
        }
    }
}

/// Why a credential is to be renewed.
#[derive(Clone, Debug)]
enum Cause {
    /// It dies soon, or an earlier renewal was cut off.
    Due(Timestamp),
    /// The platform refused this token.
    Refused(Secret),
    /// Somebody asked for it.
    Asked,
}

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewed {
    /// There is another credential, made by this renewal or by somebody meanwhile.
    Written,
    /// There is another one, and it is in memory only until the record takes it.
    Unwritten,
    /// It was not due.
    NotDue,
}

/// What came of renewing a credential that the platform refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There is another one.
    Renewed,
    /// The platform could not be asked now: no reason to call a person.
    Later,
    /// Only a person can help.
    NeedsPerson,
}

/// Why a credential was not renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// Nothing serves the app.
    #[error(transparent)]
    NotServed(#[from] NotServed),
    /// The channel has no credential.
    #[error("the channel has no credential; authorize it again")]
    NoCredential,
    /// A person entered it.
    #[error("the connector's accounts are connected with a token that a person enters, so there is nothing to renew")]
    Entered,
    /// The platform gave nothing to renew it with.
    #[error(
        "the platform gave no refresh token, so there is nothing to renew; authorize the channel again before its token ends"
    )]
    NoRefreshToken,
    /// The one that was renewed before is not on the disk yet.
    #[error(
        "the credential was renewed, and is in memory only until the record takes it; it is not renewed again before"
    )]
    Unwritten,
    /// The platform.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RenewError {
    /// Whether only a person can help once the credential is of no use any more.
    fn needs_a_person(&self) -> bool {
        match self {
            Self::NoCredential | Self::Entered | Self::NoRefreshToken => true,
            Self::Token(TokenError::OtherAccount(_)) => true,
            Self::Token(error) => error.is_gone(),
            Self::NotServed(_) | Self::Unwritten | Self::Store(_) => false,
        }
    }

    /// Whether the grant itself is gone, whatever the access token's end says.
    fn is_gone(&self) -> bool {
        matches!(self, Self::NoCredential) || matches!(self, Self::Token(error) if error.is_gone())
    }
}

/// Whether a credential is renewed at `now`: [`limits::REFRESH_AHEAD`] before it dies, or in the last quarter of a life so short
/// that this would be at once.
fn is_due(credential: &Credential, now: Timestamp) -> bool {
    credential.expires_at.is_some_and(|end| {
        let life = end.since(credential.renewed_at);
        end.since(now) <= limits::REFRESH_AHEAD.min(life / 4)
    })
}

impl Host {
    /// Renews what dies soon after `now`. How many were renewed.
    ///
    /// # Errors
    /// The record. A platform's failure is logged, and tried again in a later round.
    pub(crate) async fn refresh_round(&self, now: Timestamp) -> Result<u32, StoreError> {
        let mut renewed = 0;
        for id in self
            .store()
            .credentials_due(now.after(limits::REFRESH_AHEAD), ROUND)
            .await?
        {
            // A record that takes nothing would lose what is renewed now, and none of it is urgent.
            if self.0.unwritten.count() > 0 {
                return Ok(renewed);
            }
            let Some(channel) = self.store().channel(id).await? else {
                continue;
            };
            if !matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded) {
                continue;
            }
            match self.renew(&channel, Cause::Due(now)).await {
                Ok(Renewed::NotDue) => {}
                Ok(Renewed::Written | Renewed::Unwritten) => {
                    renewed += 1;
                    // Once in the life of a credential, which is about a day: a webhook that points elsewhere brings nothing
                    // and says nothing.
                    self.set_up(channel).await;
                }
                Err(RenewError::Store(error)) => return Err(error),
                Err(error) => self.renewal_failed(&channel, &error, now).await?,
            }
        }
        Ok(renewed)
    }

    /// The platform refused `token`. Whether there is another one now: renewed by this call, or by somebody meanwhile.
    pub(crate) async fn renew_refused(&self, channel: &Channel, token: &Secret) -> Result<Renewal, StoreError> {
        match self.renew(channel, Cause::Refused(token.clone())).await {
            Ok(_) => Ok(Renewal::Renewed),
            Err(RenewError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(channel.id = %channel.id, "The refused credential could not be renewed: {error}");
                if matches!(error, RenewError::Token(TokenError::OtherAccount(_))) {
                    // The caller knows only why the old token was refused.
                    self.needs_reauthorization(channel.id, &error.to_string()).await?;
                }
                Ok(if error.needs_a_person() {
                    Renewal::NeedsPerson
                } else {
                    Renewal::Later
                })
            }
        }
    }

    /// Renews a channel's credential now, and sets its account up again.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh_now(&self, channel: ChannelId) -> Result<(), RefreshError> {
        let found = self.0.store.channel(channel).await?;
        let channel = found
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ActError::NotFound)?;
        match self.renew(&channel, Cause::Asked).await {
            Ok(Renewed::Unwritten) | Err(RenewError::Unwritten) => return Err(RefreshError::Unwritten),
            Ok(Renewed::Written | Renewed::NotDue) => {}
            Err(error @ (RenewError::Entered | RenewError::NoRefreshToken)) => {
                return Err(self.not_renewable(channel, &error).await?);
            }
            Err(RenewError::NotServed(error)) => return Err(ActError::from(error).into()),
            Err(RenewError::Store(error)) => return Err(error.into()),
            Err(error) => {
                self.renewal_failed(&channel, &error, self.now()).await?;
                return Err(RefreshError::of(error));
            }
        }
        self.set_up(channel).await;
        Ok(())
    }

    /// What is said of a credential that nothing renews: whether the platform takes it.
    async fn not_renewable(&self, channel: Channel, why: &RenewError) -> Result<RefreshError, StoreError> {
        let checked = self
            .call(&channel, |connector, context| {
                Box::pin(async move { connector.check(context).await })
            })
            .await;
        let taken = match checked {
            Ok(_) => "The platform accepts the token.".to_owned(),
            Err(CallFailure::Store(error)) => return Err(error),
            Err(CallFailure::Unauthorized) => return Ok(ActError::from(Refusal::ReauthorizationRequired).into()),
            Err(error) => format!("Whether the platform accepts the token is not known now: {error}."),
        };
        Ok(RefreshError::NothingToRenew(format!("{why}. {taken}")))
    }

    /// Renews in a task of its own: what it begins ends, whoever asked for it.
    async fn renew(&self, channel: &Channel, cause: Cause) -> Result<Renewed, RenewError> {
        let (host, channel) = (self.clone(), channel.clone());
        self.detached((), async move { host.renew_in_turn(&channel, cause).await })
            .await
    }

    async fn renew_in_turn(&self, channel: &Channel, cause: Cause) -> Result<Renewed, RenewError> {
        let _turn = self.0.turns.take(&channel.app, &channel.platform_id).await;
        // Read under the turn: somebody may have renewed it while this one waited.
        let old = self.credential(channel.id).await?.ok_or(RenewError::NoCredential)?;
        match &cause {
            Cause::Refused(token) if old.access_token != *token => return Ok(Renewed::Written),
            Cause::Due(now) if !is_due(&old, *now) && self.store().renewal_begun(channel.id).await?.is_none() => {
                return Ok(Renewed::NotDue);
            }
            _ => {}
        }
        if self.0.unwritten.holds(channel.id) && self.write_renewed(channel.id).await.is_err() {
            return Err(RenewError::Unwritten);
        }
        let serving = self.serving_of(channel).await?;
        let Authorization::Oauth(oauth) = &serving.book.manifest().authorization else {
            return Err(RenewError::Entered);
        };
        let (Some(call), Some(refresh_token)) = (&oauth.refresh, &old.refresh_token) else {
            return Err(RenewError::NoRefreshToken);
        };
        // A record that cannot take this could not take the new credential either, and nothing is spent yet.
        persist(|| self.store().begin_renewal(channel.id, self.now())).await?;
        kill_point("refresh.begun");
        let values = Values {
            refresh_token: Some(refresh_token),
            ..Values::default()
        };
        let answered = oauth::call(self.egress(), &serving, oauth, call, values, self.now()).await;
        kill_point("refresh.answered");
        let renewed = answered.and_then(|tokens| Ok(tokens.renew(&old, &channel.platform_id)?));
        self.metrics()
            .refresh(if renewed.is_ok() { "renewed" } else { "failed" });
        let new = match renewed {
            Ok(new) => new,
            Err(error) => {
                // Without an answer the platform may have rotated it all the same, and the sooner it is asked again the better.
                if !matches!(error, TokenError::NoAnswer(_))
                    && let Err(error) = self.store().end_renewal(channel.id).await
                {
                    tracing::warn!(channel.id = %channel.id, "The end of a renewal was not written, so it is tried again: {error}");
                }
                return Err(error.into());
            }
        };
        Ok(match self.keep_renewed(channel.id, old, new).await {
            Ok(()) => {
                kill_point("refresh.written");
                tracing::info!(channel.id = %channel.id, "The credential of the channel {} was renewed", channel.id);
                Renewed::Written
            }
            Err(_) => Renewed::Unwritten,
        })
    }

    /// What the channel says of a renewal that failed.
    async fn renewal_failed(&self, channel: &Channel, error: &RenewError, now: Timestamp) -> Result<(), StoreError> {
        let is_over = async || {
            let credential = self.credential(channel.id).await?;
            let end = credential.and_then(|credential| credential.expires_at);
            Ok::<_, StoreError>(end.is_some_and(|end| now >= end))
        };
        if error.is_gone() || (error.needs_a_person() && is_over().await?) {
            return self.needs_reauthorization(channel.id, &error.to_string()).await;
        }
        if matches!(error, RenewError::Token(TokenError::OtherAccount(_))) {
            let status = ChannelStatus::Degraded;
            self.store()
                .set_channel_status(channel.id, status, &error.to_string(), now)
                .await?;
        }
        tracing::warn!(channel.id = %channel.id, "The credential of the channel {} is not renewed yet: {error}", channel.id);
        Ok(())
    }
}

/// Why a credential was not renewed when somebody asked for it.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// There is nothing to renew; in words that say why, and whether the platform accepts what there is.
    #[error("{0}")]
    NothingToRenew(String),
    /// It was renewed, and the record has not taken it yet.
    #[error(
        "the credential is renewed and in use, but not on the disk yet: the record is locked or the disk is full. It is written as \
         soon as the record takes it; do not end the host before"
    )]
    Unwritten,
    /// The platform refused it, and the grant stands: most often for the app's secret.
    #[error("{words}")]
    Refused {
        /// What the platform said.
        words: String,
        /// The platform's code.
        code: String,
    },
    /// The platform's answer is of no use.
    #[error("{0}")]
    Unanswered(String),
    /// The app lacks a value that the request carries.
    #[error("{0}")]
    AppIncomplete(String),
    /// The connector may not use the app's secrets.
    #[error("{0}")]
    NotGranted(String),
    /// Anything else.
    #[error(transparent)]
    Act(#[from] ActError),
}

impl RefreshError {
    /// Whose fault it is that the platform gave nothing.
    fn of(error: RenewError) -> Self {
        let words = error.to_string();
        match error {
            error if error.is_gone() => ActError::from(Refusal::ReauthorizationRequired).into(),
            RenewError::Token(TokenError::Refused { code, .. }) => Self::Refused { words, code },
            RenewError::Token(TokenError::NoAnswer(_) | TokenError::OtherAccount(_)) => Self::Unanswered(words),
            RenewError::Token(TokenError::Missing { .. }) => Self::AppIncomplete(words),
            RenewError::Token(TokenError::NotGranted) => Self::NotGranted(words),
            _ => ActError::from(ConnectorError::Broken(words)).into(),
        }
    }
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        Self::Act(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;
    use std::time::Duration;

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
    async fn an_entered_token_is_said_to_need_no_renewal() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = crate::testing::with_echo(&folder).await;
        let channel = crate::testing::with_account(&host, "acme", &[]).await;
        let said = host.refresh_now(channel.id).await.expect_err("nothing renews it");
        assert!(
            matches!(&said, RefreshError::NothingToRenew(words) if words.contains("a person enters")),
            "{said}"
        );
        let channel = host.store().channel(channel.id).await.expect("a record");
        assert_eq!(channel.map(|channel| channel.status), Some(ChannelStatus::Connected));
    }

    #[tokio::test]
    async fn an_account_is_renewed_by_one_at_a_time_and_then_forgotten() {
        let turns = Turns::default();
        let first = turns.take("app", "one").await;
        // Another account does not wait.
        drop(turns.take("app", "other").await);
        let mut second = std::pin::pin!(turns.take("app", "one"));
        let polled = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(polled.await, "the first has its turn still");
        drop(first);
        drop(second.await);
        assert!(turns.0.lock().expect("nobody panics").is_empty());
    }
}
