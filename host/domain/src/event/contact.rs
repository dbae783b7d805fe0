//! Contacts, as events carry them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::conversation::{self, OpenedBy};
use crate::erasure;
use crate::event::EventData;
use crate::id::{ChannelId, ContactId};
use crate::time::Timestamp;

/// A person who exchanges messages with a channel.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::Contact)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// The channel that they write to.
    pub channel_id: ChannelId,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture; most platforms' links expire.
    pub avatar_url: Option<String>,
    /// When the contact was created.
    pub created_at: Timestamp,
}

impl EventData for Contact {}

/// A new contact, and the reason of its creation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ContactCreated {
    /// The contact.
    #[serde(flatten)]
    pub contact: Contact,
    /// The reason: a click on an ad is `referral`, without a message.
    pub reason: OpenedBy,
}

impl EventData for ContactCreated {}

/// An erased contact.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ErasedContact {
    /// Its id.
    pub id: ContactId,
    /// The channel that they wrote to.
    pub channel_id: ChannelId,
    /// What was deleted with it.
    #[serde(default)]
    pub removed: Removed,
}

impl EventData for ErasedContact {}

/// The numbers of rows deleted with a contact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = event::Removed)]
pub struct Removed {
    /// Conversations that were only with this contact.
    pub conversations: u32,
    /// Messages, from and to the contact.
    pub messages: u32,
    /// Events, with their deliveries.
    pub events: u32,
    /// Attachments, with their files.
    pub files: u32,
}

impl From<conversation::Contact> for Contact {
    fn from(given: conversation::Contact) -> Self {
        Self {
            id: given.id,
            channel_id: given.channel_id,
            platform_id: given.platform_id,
            username: given.username,
            display_name: given.display_name,
            avatar_url: given.avatar_url,
            created_at: given.created_at,
        }
    }
}

impl From<erasure::Removed> for Removed {
    fn from(given: erasure::Removed) -> Self {
        Self {
            conversations: given.conversations,
            messages: given.messages,
            events: given.events,
            files: given.files,
        }
    }
}
