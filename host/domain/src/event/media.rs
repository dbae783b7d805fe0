//! The results of fetching attachments, as events carry them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::{Attachment, EventData};
use crate::id::{ConversationId, MessageId};

/// The result of fetching an attachment from the platform.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MediaFetched {
    /// The attachment, as the message has it now.
    #[serde(flatten)]
    pub media: Attachment,
    /// The message that contains it.
    pub message_id: MessageId,
    /// The conversation of the message.
    pub conversation_id: ConversationId,
    /// Why it could not be fetched, as in fallback content; only in `media.failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl EventData for MediaFetched {}
