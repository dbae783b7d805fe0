//! Keeps credentials valid: renews them well before they expire.
//!
//! If the platform reports that the grant was revoked, the channel waits for a person; any other failure is retried.

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::grant::WantedGrant;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::policy::Refusal;
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::accounts::Accounts;
use crate::accounts::calls::{ActError, CallFailure};
use crate::accounts::oauth::TokenError;
use crate::accounts::renewal::{Cause, RenewError, Renewed};
use crate::connectors::serving::ConnectorError;

/// Credentials checked in one round.
const ROUND: u32 = 64;

impl Accounts {
    /// Renews credentials that expire soon after `now`. Returns how many were renewed.
    ///
    /// # Errors
    /// The database failed. A platform's failure is logged, and retried in a later round.
    pub(crate) async fn refresh_round(&self, now: Timestamp) -> Result<u32, StoreError> {
        let mut renewed = 0;
        for (workspace, id) in self
            .core
            .store
            .credentials_due(now.after(limits::REFRESH_AHEAD), ROUND)
            .await?
        {
            // If the database accepts no writes, a renewed credential could be lost, and none is urgent.
            if self.credentials.count() > 0 {
                return Ok(renewed);
            }
            let Some(channel) = self.core.store().channel(&workspace, id).await? else {
                continue;
            };
            if !matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded) {
                continue;
            }
            match self.renewer.renew(&channel, Cause::Due(now)).await {
                Ok(Renewed::NotDue) => {}
                Ok(Renewed::Written | Renewed::Unwritten) => {
                    renewed += 1;
                    // Once in the lifetime of a credential, which is about a day: a webhook subscription that points
                    // elsewhere delivers nothing and reports no error.
                    self.set_up(channel).await;
                }
                Err(RenewError::Store(error)) => return Err(error),
                Err(error) => self.renewal_failed(&channel, &error, now).await?,
            }
        }
        Ok(renewed)
    }

    /// Renews a channel's credential now, and sets its account up again.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh_now(&self, workspace: &str, channel: ChannelId) -> Result<(), RefreshError> {
        let found = self.core.store.channel(workspace, channel).await?;
        let channel = found
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ActError::NotFound)?;
        match self.renewer.renew(&channel, Cause::Requested).await {
            Ok(Renewed::Unwritten) | Err(RenewError::Unwritten) => return Err(RefreshError::Unwritten),
            Ok(Renewed::Written | Renewed::NotDue) => {}
            Err(error @ (RenewError::Entered | RenewError::NoRefreshToken)) => {
                return Err(self.not_renewable(channel, &error).await?);
            }
            Err(RenewError::NotServed(error)) => return Err(ActError::from(error).into()),
            Err(RenewError::Store(error)) => return Err(error.into()),
            Err(error) => {
                self.renewal_failed(&channel, &error, self.core.now()).await?;
                return Err(RefreshError::of(error));
            }
        }
        self.set_up(channel).await;
        Ok(())
    }

    /// The error for a credential that cannot be renewed: whether the platform accepts it.
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

    /// Updates the channel after a failed renewal: it needs a person, is degraded, or stays as it is.
    async fn renewal_failed(&self, channel: &Channel, error: &RenewError, now: Timestamp) -> Result<(), StoreError> {
        let is_over = async || {
            let credential = self.credentials.of(channel).await?;
            let end = credential.and_then(|credential| credential.expires_at);
            Ok::<_, StoreError>(end.is_some_and(|end| now >= end))
        };
        if error.is_gone() || (error.needs_a_person() && is_over().await?) {
            return self
                .credentials
                .needs_reauthorization(channel, &error.to_string())
                .await;
        }
        if matches!(error, RenewError::Token(TokenError::OtherAccount(_))) {
            let status = ChannelStatus::Degraded;
            self.core
                .store()
                .set_channel_status(&channel.workspace_id, channel.id, status, &error.to_string(), now)
                .await?;
        }
        tracing::warn!(channel.id = %channel.id, "The credential of the channel {} is not renewed yet: {error}", channel.id);
        Ok(())
    }
}

/// Why a requested renewal failed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The credential cannot be renewed; the text gives the reason, and whether the platform accepts the credential.
    #[error("{0}")]
    NothingToRenew(String),
    /// It was renewed, and is not in the database yet.
    #[error(
        "the credential is renewed and in use, but not on the disk yet: the database is locked or the disk is full. It is \
         stored as soon as the database accepts it; do not stop the host before"
    )]
    Unwritten,
    /// The platform rejected it, and the authorization is still valid: most often because of the app's secret.
    #[error("{words}")]
    Refused {
        /// The platform's error.
        words: String,
        /// The platform's code.
        code: String,
    },
    /// The platform's response is unusable.
    #[error("{0}")]
    Unanswered(String),
    /// The app lacks a value that the request needs.
    #[error("{0}")]
    AppIncomplete(String),
    /// The connector may not use the app's secrets.
    #[error("{words}")]
    NotGranted {
        /// The reason.
        words: String,
        /// The grants that are missing.
        missing: Vec<WantedGrant>,
    },
    /// Any other error.
    #[error(transparent)]
    Act(#[from] ActError),
}

impl RefreshError {
    /// The error of a failed renewal, by the party at fault.
    fn of(error: RenewError) -> Self {
        let words = error.to_string();
        match error {
            error if error.is_gone() => ActError::from(Refusal::ReauthorizationRequired).into(),
            RenewError::Token(TokenError::Refused { code, .. }) => Self::Refused { words, code },
            RenewError::Token(TokenError::NoAnswer(_) | TokenError::OtherAccount(_)) => Self::Unanswered(words),
            RenewError::Token(TokenError::Missing { .. }) => Self::AppIncomplete(words),
            RenewError::Token(TokenError::NotGranted { missing }) => Self::NotGranted { words, missing },
            RenewError::Elsewhere | RenewError::Fenced(_) => ActError::from(ConnectorError::Busy).into(),
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
    use super::*;

    #[tokio::test]
    async fn entered_token_needs_no_renewal() {
        let folder = tempfile::tempdir().expect("a directory");
        let host = crate::testing::with_echo(&folder).await;
        let channel = crate::testing::with_account(&host, "acme", &[]).await;
        let refused = host
            .accounts
            .refresh_now("default", channel.id)
            .await
            .expect_err("it cannot be renewed");
        assert!(
            matches!(&refused, RefreshError::NothingToRenew(words) if words.contains("a person enters")),
            "{refused}"
        );
        let channel = host.store().channel("default", channel.id).await.expect("a database");
        assert_eq!(channel.map(|channel| channel.status), Some(ChannelStatus::Connected));
    }
}
