//! Reactions to messages.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::EventData;
use crate::id::{ContactId, ConversationId, MessageId};
use crate::message::Direction;
use crate::time::Timestamp;

/// A person added or removed a reaction.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reaction {
    /// The conversation; null if it is not stored.
    pub conversation_id: Option<ConversationId>,
    /// The platform's id of it.
    pub conversation_platform_id: String,
    /// The message; null if it is not stored.
    pub message_id: Option<MessageId>,
    /// The platform's id of it.
    pub message_platform_id: String,
    /// The emoji; null if the reaction is a picture.
    pub emoji: Option<String>,
    /// The picture's URL.
    pub url: Option<String>,
    /// Who reacted: `inbound` is the contact.
    pub direction: Direction,
    /// The contact.
    pub contact: ReactionContact,
    /// The platform's time of it.
    pub at: Timestamp,
}

impl EventData for Reaction {}

/// The contact of a reaction.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReactionContact {
    /// Its id; null if they are not stored.
    pub id: Option<ContactId>,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture.
    pub avatar_url: Option<String>,
}
