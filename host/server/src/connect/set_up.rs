//! What a connected account needs of its platform: that webhooks come here.

use weir_domain::channel::{Channel, ChannelStatus};

use crate::host::Host;

impl Host {
    /// Subscribes the account to its webhooks, again where the subscription is gone or points elsewhere. A channel whose set-up
    /// fails is there all the same, and says what is amiss.
    pub(crate) async fn set_up(&self, channel: Channel) -> Channel {
        let set_up = self
            .call(&channel, |connector, context| {
                Box::pin(async move { connector.connected(context).await })
            })
            .await;
        match set_up {
            Ok(()) if channel.status == ChannelStatus::Degraded => {
                self.now_is(channel, ChannelStatus::Connected, "the set-up works again")
                    .await
            }
            Ok(()) => channel,
            Err(error) => {
                let reason = format!("the account is connected, but its set-up failed: {error}");
                tracing::warn!(channel.id = %channel.id, "{reason}");
                self.now_is(channel, ChannelStatus::Degraded, &reason).await
            }
        }
    }

    async fn now_is(&self, channel: Channel, status: ChannelStatus, reason: &str) -> Channel {
        let store = &self.0.store;
        if let Err(error) = store.set_channel_status(channel.id, status, reason, self.now()).await {
            tracing::error!(channel.id = %channel.id, "The state of the channel was not written: {error}");
        }
        self.told();
        Channel { status, ..channel }
    }
}
