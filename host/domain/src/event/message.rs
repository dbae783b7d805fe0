//! Messages, as their events carry them.
//!
//! The database stores these documents and reads them back: a new member has a default.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{EventData, Referral};
use crate::id::{ChannelId, ContactId, ConversationId, MediaId, MessageId};
use crate::message::{self, Direction, MediaStatus, Origin, Status};
use crate::problem::Fault;
use crate::time::Timestamp;

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Message)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The contact.
    pub contact_id: ContactId,
    /// The direction.
    pub direction: Direction,
    /// The surface that created it.
    pub origin: Origin,
    /// The status.
    pub status: Status,
    /// The content.
    pub content: Content,
    /// The platform's id, once known.
    pub platform_id: Option<String>,
    /// The message that it quotes; null without a quote.
    pub reply_to: Option<MessageId>,
    /// How the contact arrived, on their first message after that.
    pub referral: Option<Referral>,
    /// The caller's own reference, unique in the channel.
    pub client_ref: Option<String>,
    /// Why it failed or is uncertain.
    pub error: Option<MessageError>,
    /// Warnings for the sender: `links_not_clickable`.
    pub warnings: Vec<String>,
    /// The button of a card that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// Platform fields that have no member here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_data: Option<serde_json::Value>,
    /// The platform's time of it, or the host's until then.
    pub sent_at: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// The order in which the conversation's messages were stored. The conversation itself is ordered by `sent_at`, and
    /// by this for equal times.
    pub sequence: i64,
}

impl EventData for Message {}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = event::Content)]
pub enum Content {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// The attachment.
        media: Attachment,
        /// The text that accompanies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A video.
    Video {
        /// The attachment.
        media: Attachment,
        /// The text that accompanies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// An audio recording.
    Audio {
        /// The attachment.
        media: Attachment,
    },
    /// Any other file.
    File {
        /// The attachment.
        media: Attachment,
        /// The text that accompanies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// The attachment.
        media: Attachment,
    },
    /// A post of the platform.
    SharedPost {
        /// The platform's id of it.
        post_id: Option<String>,
        /// Its URL.
        url: Option<String>,
    },
    /// A message with buttons.
    Card {
        /// `buttons`, `links`, `list`, `quick_replies`.
        card: String,
        /// The title.
        title: String,
        /// More text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// The buttons.
        buttons: Vec<Button>,
    },
    /// A location.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// Its name.
        name: Option<String>,
        /// Its address.
        address: Option<String>,
    },
    /// A template that the platform approved.
    Template {
        /// Its name at the platform.
        name: String,
        /// Its language.
        language: Option<String>,
        /// The values of its parameters.
        parameters: serde_json::Value,
    },
    /// A replacement for content that cannot be shown.
    Fallback {
        /// The platform's name of the content's type.
        original_type: String,
        /// The text that is shown instead.
        text: String,
        /// A URL where it may be seen.
        url: Option<String>,
        /// The reason: `type_unsupported`, `too_large`, `region_blocked`, `deleted`, `download_failed`, `malformed`.
        reason: String,
        /// The original attachment, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<Attachment>,
    },
    /// A kind of content that only the connector knows.
    Custom {
        /// The kind.
        kind: String,
        /// Its document.
        document: serde_json::Value,
    },
}

/// A button.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Button)]
pub struct Button {
    /// Returned when it is tapped.
    pub id: String,
    /// Its label.
    pub title: String,
    /// The URL that it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Stored media, as a message references them. The URL is added when an event is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Attachment)]
pub struct Attachment {
    /// The id that `POST /v1/media` returned, or that the host assigned to inbound media.
    pub id: MediaId,
    /// As sniffed from the bytes.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// In bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// A signed URL, valid for a day.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether the media are stored.
    #[serde(default)]
    pub status: Option<MediaStatus>,
}

/// Why a message was not, or may not have been, delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::MessageError)]
pub struct MessageError {
    /// Weir's stable code.
    pub code: String,
    /// One sentence for a person.
    pub detail: String,
    /// Who is at fault.
    pub fault: Fault,
    /// Whether a retry can help.
    pub retryable: bool,
    /// The platform's own error.
    pub platform: Option<PlatformError>,
}

/// The platform's error, verbatim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::PlatformWords)]
pub struct PlatformError {
    /// Its code.
    pub code: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// The id that its support asks for.
    pub request_id: Option<String>,
}

impl Content {
    /// Its attachment, if it has one.
    pub fn media_mut(&mut self) -> Option<&mut Attachment> {
        match self {
            Self::Image { media, .. }
            | Self::Video { media, .. }
            | Self::Audio { media }
            | Self::File { media, .. }
            | Self::Sticker { media } => Some(media),
            Self::Fallback { media, .. } => media.as_mut(),
            _ => None,
        }
    }
}

impl From<message::Message> for Message {
    fn from(given: message::Message) -> Self {
        Self {
            id: given.id,
            channel_id: given.channel_id,
            conversation_id: given.conversation_id,
            contact_id: given.contact_id,
            direction: given.direction,
            origin: given.origin,
            status: given.status,
            content: given.content.into(),
            platform_id: given.platform_id,
            reply_to: given.reply_to,
            referral: given.referral.map(Into::into),
            client_ref: given.client_ref,
            error: given.error.map(Into::into),
            warnings: given.warnings,
            answers: given.answers,
            platform_data: given.platform_data,
            sent_at: given.sent_at,
            created_at: given.created_at,
            sequence: given.sequence,
        }
    }
}

impl From<Message> for message::Message {
    fn from(given: Message) -> Self {
        Self {
            id: given.id,
            channel_id: given.channel_id,
            conversation_id: given.conversation_id,
            contact_id: given.contact_id,
            direction: given.direction,
            origin: given.origin,
            status: given.status,
            content: given.content.into(),
            platform_id: given.platform_id,
            reply_to: given.reply_to,
            referral: given.referral.map(Into::into),
            client_ref: given.client_ref,
            error: given.error.map(Into::into),
            warnings: given.warnings,
            answers: given.answers,
            platform_data: given.platform_data,
            sent_at: given.sent_at,
            created_at: given.created_at,
            sequence: given.sequence,
        }
    }
}

impl From<message::Content> for Content {
    fn from(content: message::Content) -> Self {
        use message::Content as Given;
        match content {
            Given::Text { text } => Self::Text { text },
            Given::Image { media, caption } => Self::Image {
                media: media.into(),
                caption,
            },
            Given::Video { media, caption } => Self::Video {
                media: media.into(),
                caption,
            },
            Given::Audio { media } => Self::Audio { media: media.into() },
            Given::File { media, caption } => Self::File {
                media: media.into(),
                caption,
            },
            Given::Sticker { media } => Self::Sticker { media: media.into() },
            Given::SharedPost { post_id, url } => Self::SharedPost { post_id, url },
            Given::Card {
                card,
                title,
                body,
                buttons,
            } => Self::Card {
                card,
                title,
                body,
                buttons: buttons.into_iter().map(Into::into).collect(),
            },
            Given::Location {
                latitude,
                longitude,
                name,
                address,
            } => Self::Location {
                latitude,
                longitude,
                name,
                address,
            },
            Given::Template {
                name,
                language,
                parameters,
            } => Self::Template {
                name,
                language,
                parameters,
            },
            Given::Fallback {
                original_type,
                text,
                url,
                reason,
                media,
            } => Self::Fallback {
                original_type,
                text,
                url,
                reason,
                media: media.map(Into::into),
            },
            Given::Custom { kind, document } => Self::Custom { kind, document },
        }
    }
}

impl From<Content> for message::Content {
    fn from(content: Content) -> Self {
        use Content as Given;
        match content {
            Given::Text { text } => Self::Text { text },
            Given::Image { media, caption } => Self::Image {
                media: media.into(),
                caption,
            },
            Given::Video { media, caption } => Self::Video {
                media: media.into(),
                caption,
            },
            Given::Audio { media } => Self::Audio { media: media.into() },
            Given::File { media, caption } => Self::File {
                media: media.into(),
                caption,
            },
            Given::Sticker { media } => Self::Sticker { media: media.into() },
            Given::SharedPost { post_id, url } => Self::SharedPost { post_id, url },
            Given::Card {
                card,
                title,
                body,
                buttons,
            } => Self::Card {
                card,
                title,
                body,
                buttons: buttons.into_iter().map(Into::into).collect(),
            },
            Given::Location {
                latitude,
                longitude,
                name,
                address,
            } => Self::Location {
                latitude,
                longitude,
                name,
                address,
            },
            Given::Template {
                name,
                language,
                parameters,
            } => Self::Template {
                name,
                language,
                parameters,
            },
            Given::Fallback {
                original_type,
                text,
                url,
                reason,
                media,
            } => Self::Fallback {
                original_type,
                text,
                url,
                reason,
                media: media.map(Into::into),
            },
            Given::Custom { kind, document } => Self::Custom { kind, document },
        }
    }
}

impl From<message::Button> for Button {
    fn from(given: message::Button) -> Self {
        Self {
            id: given.id,
            title: given.title,
            url: given.url,
        }
    }
}

impl From<Button> for message::Button {
    fn from(given: Button) -> Self {
        Self {
            id: given.id,
            title: given.title,
            url: given.url,
        }
    }
}

impl From<message::Attachment> for Attachment {
    fn from(given: message::Attachment) -> Self {
        Self {
            id: given.id,
            mime_type: given.mime_type,
            size: given.size,
            url: given.url,
            status: given.status,
        }
    }
}

impl From<Attachment> for message::Attachment {
    fn from(given: Attachment) -> Self {
        Self {
            id: given.id,
            mime_type: given.mime_type,
            size: given.size,
            url: given.url,
            status: given.status,
        }
    }
}

impl From<message::MessageError> for MessageError {
    fn from(given: message::MessageError) -> Self {
        Self {
            code: given.code,
            detail: given.detail,
            fault: given.fault,
            retryable: given.retryable,
            platform: given.platform.map(Into::into),
        }
    }
}

impl From<MessageError> for message::MessageError {
    fn from(given: MessageError) -> Self {
        Self {
            code: given.code,
            detail: given.detail,
            fault: given.fault,
            retryable: given.retryable,
            platform: given.platform.map(Into::into),
        }
    }
}

impl From<message::PlatformError> for PlatformError {
    fn from(given: message::PlatformError) -> Self {
        Self {
            code: given.code,
            message: given.message,
            request_id: given.request_id,
        }
    }
}

impl From<PlatformError> for message::PlatformError {
    fn from(given: PlatformError) -> Self {
        Self {
            code: given.code,
            message: given.message,
            request_id: given.request_id,
        }
    }
}
