//! Keeps credentials alive: renews them well before they die, one renewal at a time for each channel.
//!
//! A renewed credential is committed before it is used, since a platform may end the old one at that moment. When the
//! platform says that the grant is gone, the channel waits for a person; any other failure is tried again.

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
use weir_store::StoreError;

use crate::calls::NotServed;
use crate::calls::{ActError, ConnectorError};
use crate::host::Host;
use crate::oauth::{self, TokenError, Values};

/// Credentials looked at in one round.
const ROUND: u32 = 64;

/// Who renews a channel's credential now: two would each spend the rotating refresh token, and one of them would lose it.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<ChannelId, Arc<tokio::sync::Mutex<()>>>>);

/// The turn of one channel, until it is dropped.
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    channel: ChannelId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(crate) async fn take(&self, channel: ChannelId) -> Turn<'_> {
        let lock = Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(channel)
                .or_default(),
        );
        Turn {
            turns: self,
            channel,
            guard: Some(lock.lock_owned().await),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.guard.take());
        // Kept while somebody waits for it, so that the map holds only channels in renewal.
        if turns
            .get(&self.channel)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            turns.remove(&self.channel);
        }
    }
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
    /// There is nothing to renew with: no refresh token, or no OAuth at all.
    #[error("this credential cannot be renewed; authorise the channel again")]
    NotRenewable,
    /// The platform.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RenewError {
    /// Whether only a person can help.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Self::NotRenewable => true,
            Self::Token(error) => error.is_gone(),
            Self::NotServed(_) | Self::Store(_) => false,
        }
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
            let Some(channel) = self.store().channel(id).await? else {
                continue;
            };
            if !matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded) {
                continue;
            }
            match self.renew_due(&channel, now).await {
                Ok(true) => {
                    renewed += 1;
                    // Once in the life of a credential, which is about a day: a webhook that points elsewhere brings nothing
                    // and says nothing.
                    self.set_up(channel).await;
                }
                Ok(false) => {}
                Err(RenewError::Store(error)) => return Err(error),
                Err(error) => self.renewal_failed(&channel, &error).await?,
            }
        }
        Ok(renewed)
    }

    /// The platform refused `token`. Whether there is another one now: renewed by this call, or by somebody meanwhile.
    pub(crate) async fn renew_refused(&self, channel: &Channel, token: &Secret) -> Result<Renewal, StoreError> {
        let _turn = self.0.turns.take(channel.id).await;
        let Some(credential) = self.store().credential(channel.id).await? else {
            return Ok(Renewal::NeedsPerson);
        };
        if credential.access_token != *token {
            return Ok(Renewal::Renewed);
        }
        match self.renew(channel, &credential).await {
            Ok(()) => Ok(Renewal::Renewed),
            Err(RenewError::Store(error)) => Err(error),
            Err(error) => {
                tracing::warn!(channel.id = %channel.id, "The refused credential could not be renewed: {error}");
                Ok(if error.needs_a_person() {
                    Renewal::NeedsPerson
                } else {
                    Renewal::Later
                })
            }
        }
    }

    /// Renews a channel's credential now.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn refresh_now(&self, channel: ChannelId) -> Result<(), ActError> {
        let found = self.0.store.channel(channel).await?;
        let channel = found
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ActError::NotFound)?;
        self.renew_now(&channel).await.map_err(|error| -> ActError {
            match error {
                RenewError::NotServed(error) => error.into(),
                RenewError::Store(error) => error.into(),
                error if error.needs_a_person() => Refusal::ReauthorizationRequired.into(),
                error => ConnectorError::Broken(error.to_string()).into(),
            }
        })?;
        if channel.status == ChannelStatus::ReauthorizationRequired {
            let status = ChannelStatus::Connected;
            let reason = "the credential was renewed";
            self.0
                .store
                .set_channel_status(channel.id, status, reason, self.now())
                .await?;
            self.told();
            self.wake_senders();
        }
        self.set_up(channel).await;
        Ok(())
    }

    /// Renews a channel's credential now, however long it would live.
    pub(crate) async fn renew_now(&self, channel: &Channel) -> Result<(), RenewError> {
        let _turn = self.0.turns.take(channel.id).await;
        let credential = self
            .store()
            .credential(channel.id)
            .await?
            .ok_or(RenewError::NotRenewable)?;
        self.renew(channel, &credential).await
    }

    /// Whether it was due.
    async fn renew_due(&self, channel: &Channel, now: Timestamp) -> Result<bool, RenewError> {
        let _turn = self.0.turns.take(channel.id).await;
        let credential = self
            .store()
            .credential(channel.id)
            .await?
            .ok_or(RenewError::NotRenewable)?;
        // Read under the turn: a send may have renewed it while this one waited.
        if !is_due(&credential, now) {
            return Ok(false);
        }
        self.renew(channel, &credential).await.map(|()| true)
    }

    /// Renews under the channel's turn.
    async fn renew(&self, channel: &Channel, credential: &Credential) -> Result<(), RenewError> {
        let serving = self.serving_of(channel).await?;
        let Authorization::Oauth(oauth) = &serving.book.manifest().authorization else {
            return Err(RenewError::NotRenewable);
        };
        let (Some(call), Some(refresh_token)) = (&oauth.refresh, &credential.refresh_token) else {
            return Err(RenewError::NotRenewable);
        };
        let values = Values {
            refresh_token: Some(refresh_token),
            ..Values::default()
        };
        let tokens = oauth::call(self.egress(), &serving, oauth, call, values, self.now()).await;
        self.metrics()
            .refresh(if tokens.is_ok() { "renewed" } else { "failed" });
        let renewed = tokens?.credential;
        self.store().put_credential(channel.id, renewed).await?;
        tracing::info!(channel.id = %channel.id, "The credential of the channel {} was renewed", channel.id);
        Ok(())
    }

    async fn renewal_failed(&self, channel: &Channel, error: &RenewError) -> Result<(), StoreError> {
        if error.needs_a_person() {
            return self.needs_reauthorization(channel.id, &error.to_string()).await;
        }
        tracing::warn!(channel.id = %channel.id, "The credential of the channel {} is not renewed yet: {error}", channel.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;
    use std::time::Duration;

    use weir_domain::id::Mint;

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
    async fn a_channel_is_renewed_by_one_at_a_time_and_then_forgotten() {
        let turns = Turns::default();
        let mint = Mint::from_seed([5; 32]);
        let (one, other): (ChannelId, ChannelId) = (mint.id(Timestamp::default()), mint.id(Timestamp::default()));
        let first = turns.take(one).await;
        // Another channel does not wait.
        drop(turns.take(other).await);
        let mut second = std::pin::pin!(turns.take(one));
        let polled = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context).is_pending()));
        assert!(polled.await, "the first has its turn still");
        drop(first);
        drop(second.await);
        assert!(turns.0.lock().expect("nobody panics").is_empty());
    }
}
