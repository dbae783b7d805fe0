//! Reactions to messages.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::EventData;
use crate::id::{ContactId, ConversationId, MessageId};
use crate::message::Direction;
use crate::time::Timestamp;

/// Somebody reacted to a message, or took that back.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reaction {
    /// The conversation; none if the record does not have it.
    pub conversation_id: Option<ConversationId>,
    /// The platform's id of it.
    pub conversation_platform_id: String,
    /// The message; none if the record does not have it.
    pub message_id: Option<MessageId>,
    /// The platform's id of it.
    pub message_platform_id: String,
    /// The reaction; none if it is a picture.
    pub emoji: Option<String>,
    /// The picture.
    pub url: Option<String>,
    /// Who reacted: `inbound` is the contact.
    pub direction: Direction,
    /// The person on the other side.
    pub contact: ReactionContact,
    /// The platform's time of it.
    pub at: Timestamp,
}

impl EventData for Reaction {}

/// The person on the other side of a reaction.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReactionContact {
    /// Its id; none if the record does not have them.
    pub id: Option<ContactId>,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
}
