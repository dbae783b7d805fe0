//! Set-up of a connected account at its platform: the webhook subscription.

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::time::Timestamp;
use weir_store::{StoreError, kill_point};

use crate::accounts::Accounts;
use crate::accounts::calls::CallFailure;

/// Channels set up in one round: each needs a call of its connector.
const ROUND: u32 = 16;

impl Accounts {
    /// Subscribes the account to its webhooks, again if the subscription is missing or points elsewhere. A channel
    /// whose set-up fails exists all the same, reports the error, and is set up again later.
    pub(crate) async fn set_up(&self, channel: Channel) -> Channel {
        let set_up = self
            .call(&channel, |connector, context| {
                Box::pin(async move { connector.connected(context).await })
            })
            .await;
        kill_point("connect.set_up");
        let store = &self.core.store;
        let (noted, channel) = match set_up {
            Ok(()) => {
                let channel = if channel.status == ChannelStatus::Degraded {
                    self.now_is(channel, ChannelStatus::Connected, "the set-up works again")
                        .await
                } else {
                    channel
                };
                (store.set_up_done(&channel.workspace_id, channel.id).await, channel)
            }
            Err(error) => {
                let reason = format!("the account is connected, but its setup failed: {error}");
                tracing::warn!(channel.id = %channel.id, "{reason}");
                let noted = store
                    .set_up_failed(&channel.workspace_id, channel.id, self.core.now())
                    .await;
                // A channel that needs a new authorization reports that already, and it must be fixed first.
                let channel = match error {
                    CallFailure::Unauthorized => Channel {
                        status: ChannelStatus::ReauthorizationRequired,
                        ..channel
                    },
                    _ => self.now_is(channel, ChannelStatus::Degraded, &reason).await,
                };
                (noted, channel)
            }
        };
        if let Err(error) = noted {
            tracing::warn!(channel.id = %channel.id, "The result of the set-up was not stored, so it is repeated: {error}");
        }
        channel
    }

    /// Sets channels up whose set-up failed or was interrupted.
    pub(crate) async fn set_up_round(&self, now: Timestamp) -> Result<(), StoreError> {
        for channel in self.core.store.set_ups_due(now, ROUND).await? {
            self.set_up(channel).await;
        }
        Ok(())
    }

    async fn now_is(&self, channel: Channel, status: ChannelStatus, reason: &str) -> Channel {
        let store = &self.core.store;
        if let Err(error) = store
            .set_channel_status(&channel.workspace_id, channel.id, status, reason, self.core.now())
            .await
        {
            tracing::error!(channel.id = %channel.id, "The state of the channel was not stored: {error}");
        }
        Channel { status, ..channel }
    }
}
