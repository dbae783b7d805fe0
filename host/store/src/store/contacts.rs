//! Contacts, and their erasure.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::conversation::{Contact, Conversation};
use weir_domain::id::{ChannelId, ContactId};
use weir_domain::inbound::Person;
use weir_domain::time::Timestamp;

use crate::acts::erasure;
use crate::engine::Engine;
use crate::tables::conversations;
use crate::{Erased, Erasing, Listed, Page, Result, acts, kill_point};

/// Contacts, and their erasure.
#[async_trait]
pub trait Contacts: Send + Sync {
    /// One contact.
    async fn contact(&self, workspace: &str, id: ContactId) -> Result<Option<Contact>>;
    /// Contacts of these channels, of all if none is given; newest first.
    async fn contacts(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<Contact>>;
    /// The conversation with a contact that was active last; `None` before the first.
    async fn conversation_with(&self, workspace: &str, id: ContactId) -> Result<Option<Conversation>>;
    /// Stores what the platform reports about a person who writes with a channel, with an event if that changed. `None`
    /// if the channel does not exist.
    async fn update_contact(
        &self,
        workspace: &str,
        channel: ChannelId,
        person: Person,
        now: Timestamp,
    ) -> Result<Option<Contact>>;
    /// Erases a contact: every conversation that is only theirs, their messages in others, the events and deliveries
    /// about them, and their data in a connector's state, with an event that reports only that it happened. Their next
    /// message creates a new contact. Documents that may name them are left to [`Self::erase_on`]. `None` if the
    /// contact does not exist.
    async fn erase_contact(&self, workspace: &str, id: ContactId, now: Timestamp) -> Result<Option<Erased>>;
    /// Continues the erasures in progress, by a step of bounded duration: reads dead letters, transcripts, refusals,
    /// stored responses and events of no conversation, and deletes those that name an erased person; at the end
    /// truncates the log. Two concurrent callers do the same work twice, without harm.
    async fn erase_on(&self) -> Result<Erasing>;
}

#[async_trait]
impl<E: Engine> Contacts for E {
    async fn contact(&self, workspace: &str, id: ContactId) -> Result<Option<Contact>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| conversations::contact(db, &workspace, id)).await
    }
    async fn contacts(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<Contact>> {
        let workspace = workspace.to_owned();
        self.read(move |db| conversations::contacts(db, &workspace, &of, &page))
            .await
    }
    async fn conversation_with(&self, workspace: &str, id: ContactId) -> Result<Option<Conversation>> {
        let workspace = workspace.to_owned();
        self.read(move |db| conversations::with(db, &workspace, id)).await
    }
    async fn update_contact(
        &self,
        workspace: &str,
        channel: ChannelId,
        person: Person,
        now: Timestamp,
    ) -> Result<Option<Contact>> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::contacts::name(db, &workspace, channel, &person, now))
            .await
    }
    async fn erase_contact(&self, workspace: &str, id: ContactId, now: Timestamp) -> Result<Option<Erased>> {
        let workspace = workspace.to_owned();
        self.write(move |db| erasure::erase(db, &workspace, id, now)).await
    }
    async fn erase_on(&self) -> Result<Erasing> {
        let Some(search) = self.read(erasure::oldest).await? else {
            return Ok(Erasing::Over);
        };
        if search.is_over() {
            if !self.empty_log().await? {
                return Ok(Erasing::Waits);
            }
            kill_point("erase.log_emptied");
            self.write(move |db| search.end(db)).await?;
            return Ok(Erasing::More);
        }
        let (search, found) = self
            .read(move |db| {
                let found = search.find(db)?;
                Ok((search, found))
            })
            .await?;
        self.write(move |db| search.remove(db, &found)).await?;
        Ok(Erasing::More)
    }
}
