//! What became of attachments, as events tell it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::{Attachment, EventData};
use crate::id::{ConversationId, MessageId};

/// What became of an attachment that was with the platform.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MediaFetched {
    /// The attachment, as the message has it now.
    #[serde(flatten)]
    pub media: Attachment,
    /// The message that carries it.
    pub message_id: MessageId,
    /// The conversation of the message.
    pub conversation_id: ConversationId,
    /// Why the bytes cannot be had, in the words of fallback content; only `media.failed` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl EventData for MediaFetched {}
