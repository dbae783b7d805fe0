//! Messages that the platform sends automatically: welcome messages, suggested questions, chat prompts, and answers to
//! comments.
//!
//! The platform stores them; the host forwards requests and stores nothing. Later reports of the platform (a review
//! ended, or they were changed in its app) arrive as `channel.updated` with a `notice`.

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::policy::Refusal;
use weir_runtime::Automation;

use crate::accounts::Accounts;
use crate::accounts::calls::ActError;

impl Accounts {
    /// The automatic messages of a kind, as the platform has them now.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn automations(&self, channel: &Channel, kind: &str) -> Result<Vec<Automation>, ActError> {
        is_there(channel)?;
        let kind = kind.to_owned();
        Ok(self
            .call(channel, |connector, context| {
                let kind = kind.clone();
                Box::pin(async move { connector.automations(context, &kind).await })
            })
            .await?)
    }

    /// Creates an automatic message, or replaces the one with its id; returns the platform's id.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn put_automation(&self, channel: &Channel, automation: &Automation) -> Result<Option<String>, ActError> {
        is_there(channel)?;
        Ok(self
            .call(channel, |connector, context| {
                let automation = automation.clone();
                Box::pin(async move { connector.put_automation(context, &automation).await })
            })
            .await?)
    }

    /// Deletes an automatic message; one that the platform does not delete is switched off.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn remove_automation(&self, channel: &Channel, kind: &str, id: &str) -> Result<(), ActError> {
        is_there(channel)?;
        let named = (kind.to_owned(), id.to_owned());
        Ok(self
            .call(channel, |connector, context| {
                let (kind, id) = named.clone();
                Box::pin(async move { connector.remove_automation(context, &kind, &id).await })
            })
            .await?)
    }
}

fn is_there(channel: &Channel) -> Result<(), ActError> {
    if channel.status == ChannelStatus::Deleted {
        return Err(Refusal::ChannelDeleted.into());
    }
    Ok(())
}
