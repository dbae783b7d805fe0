//! Contacts, in the API's format.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ContactId};
use weir_domain::time::Timestamp;
use weir_domain::{conversation, erasure};

/// A person who exchanges messages with a channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Contact {
    /// Its id.
    pub(crate) id: ContactId,
    /// The account that they write to.
    pub(crate) channel_id: ChannelId,
    /// The platform's id of the person.
    pub(crate) platform_id: String,
    /// The handle, without @.
    pub(crate) username: Option<String>,
    /// The display name.
    pub(crate) display_name: Option<String>,
    /// A picture; most platforms' links expire.
    pub(crate) avatar_url: Option<String>,
    /// When the first event about them arrived.
    pub(crate) created_at: Timestamp,
}

/// The objects that were removed with a contact.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Removed {
    /// Conversations that were only with this contact.
    pub(crate) conversations: u32,
    /// Messages, of the contact and to it.
    pub(crate) messages: u32,
    /// Events, with their deliveries.
    pub(crate) events: u32,
    /// Attachments, with their files.
    pub(crate) files: u32,
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
