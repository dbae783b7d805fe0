//! Contacts' profiles, from the platform: webhooks of many platforms contain only a handle.

use weir_domain::caller::Caller;
use weir_domain::conversation::Contact;
use weir_domain::id::ContactId;
use weir_runtime::context::ConversationFacts;

use crate::accounts::Accounts;
use crate::accounts::calls::ActError;

impl Accounts {
    /// Fetches a contact's profile from the platform, and stores its current name and picture.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn look_up(&self, caller: &Caller, contact: ContactId) -> Result<Contact, ActError> {
        let workspace = caller.workspace_id();
        let known = self.core.store().contact(workspace, contact).await?;
        let known = known.filter(|known| caller.sees(Some(known.channel_id)));
        let known = known.ok_or(ActError::NotFound)?;
        let conversation = self.core.store().conversation_with(workspace, contact).await?;
        let channel = self.core.store().channel(workspace, known.channel_id).await?;
        let (Some(conversation), Some(channel)) = (conversation, channel) else {
            return Ok(known);
        };
        let facts = ConversationFacts::from(&conversation);
        let found = self
            .call(&channel, |connector, context| {
                let facts = facts.clone();
                let connector = connector.clone();
                Box::pin(async move { connector.look_up(context, &facts).await })
            })
            .await?;
        // The platform returned a different person than the one requested.
        let Some(person) = found.filter(|person| person.platform_id == known.platform_id) else {
            return Ok(known);
        };
        let contact = self
            .core
            .store()
            .update_contact(workspace, channel.id, person, self.core.now())
            .await?;
        contact.ok_or(ActError::NotFound)
    }
}
