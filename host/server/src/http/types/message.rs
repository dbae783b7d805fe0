//! Messages, in the API's format.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ContactId, ConversationId, MediaId, MessageId};
use weir_domain::message::{self, Direction, MediaStatus, Origin, Status};
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;

use super::referral::Referral;
use crate::messages::media::Media;

/// A message, as stored and as the API returns it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    /// Its id.
    pub(crate) id: MessageId,
    /// The account of the message.
    pub(crate) channel_id: ChannelId,
    /// The conversation.
    pub(crate) conversation_id: ConversationId,
    /// The contact.
    pub(crate) contact_id: ContactId,
    /// The direction.
    pub(crate) direction: Direction,
    /// Its origin.
    pub(crate) origin: Origin,
    /// Its status.
    pub(crate) status: Status,
    /// Its content.
    pub(crate) content: Content,
    /// The platform's id, once known.
    pub(crate) platform_id: Option<String>,
    /// The message that it quotes.
    pub(crate) reply_to: Option<MessageId>,
    /// The contact's referral, on the first message after it.
    pub(crate) referral: Option<Referral>,
    /// The caller's own reference, unique in the channel.
    pub(crate) client_ref: Option<String>,
    /// Why it failed or is uncertain.
    pub(crate) error: Option<MessageError>,
    /// A notice to the sender: `links_not_clickable`.
    pub(crate) warnings: Vec<String>,
    /// The button of a card that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<String>,
    /// Platform fields without a counterpart here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform_data: Option<serde_json::Value>,
    /// The platform's time of the message, or ours until it is known.
    pub(crate) sent_at: Timestamp,
    /// When it was stored.
    pub(crate) created_at: Timestamp,
    /// The order in which the messages of the conversation were stored. The conversation itself is ordered by
    /// `sent_at`, and by this for equal times.
    pub(crate) sequence: i64,
}

/// The content of one message.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Content {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// The attachment.
        media: Attachment,
        /// The caption.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A video.
    Video {
        /// The attachment.
        media: Attachment,
        /// The caption.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// An audio file.
    Audio {
        /// The attachment.
        media: Attachment,
    },
    /// Any other file.
    File {
        /// The attachment.
        media: Attachment,
        /// The caption.
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
        /// The URL where it can be seen.
        url: Option<String>,
    },
    /// A question with options to tap.
    Card {
        /// `buttons`, `links`, `list`, `quick_replies`.
        card: String,
        /// The question.
        title: String,
        /// Additional text.
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
        /// The template's parameters.
        parameters: serde_json::Value,
    },
    /// A placeholder for content that cannot be shown.
    Fallback {
        /// The platform's own name for it.
        original_type: String,
        /// A text for people in its place.
        text: String,
        /// The URL where it may be seen.
        url: Option<String>,
        /// The reason: `type_unsupported`, `too_large`, `region_blocked`, `deleted`, `download_failed`, `malformed`.
        reason: String,
        /// The attachment, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<Attachment>,
    },
    /// A kind that the connector knows and Weir does not.
    Custom {
        /// The kind.
        kind: String,
        /// Its document.
        document: serde_json::Value,
    },
}

/// An option to tap.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Button {
    /// Returned when the button is tapped.
    pub(crate) id: String,
    /// The button's label.
    pub(crate) title: String,
    /// The page it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

/// An attachment, as a message refers to it. A sender gives the `id`; the host fills in the rest.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Attachment {
    /// The id that `POST /v1/media` returned, or that the host assigned to an inbound file.
    pub(crate) id: MediaId,
    /// As sniffed from the bytes.
    #[serde(default)]
    pub(crate) mime_type: Option<String>,
    /// In bytes.
    #[serde(default)]
    pub(crate) size: Option<u64>,
    /// A signed link that is valid for a day.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Whether the file is stored.
    #[serde(default)]
    pub(crate) status: Option<MediaStatus>,
}

/// Why a message did not, or may not have, arrived.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MessageError {
    /// Weir's stable code.
    pub(crate) code: String,
    /// One sentence for a person.
    pub(crate) detail: String,
    /// The party at fault.
    pub(crate) fault: Fault,
    /// Whether a retry can help.
    pub(crate) retryable: bool,
    /// The platform's own text.
    pub(crate) platform: Option<PlatformError>,
}

/// The platform's message, verbatim.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PlatformWords)]
pub(crate) struct PlatformError {
    /// Its code.
    pub(crate) code: Option<String>,
    /// Its message.
    pub(crate) message: Option<String>,
    /// The id that the platform's support needs.
    pub(crate) request_id: Option<String>,
}

impl Message {
    /// A message with a link to its attachment.
    pub(crate) fn of(message: message::Message, media: &Media) -> Self {
        Self {
            id: message.id,
            channel_id: message.channel_id,
            conversation_id: message.conversation_id,
            contact_id: message.contact_id,
            direction: message.direction,
            origin: message.origin,
            status: message.status,
            content: message
                .content
                .map_media(|attachment| Attachment::of(attachment, media))
                .into(),
            platform_id: message.platform_id,
            reply_to: message.reply_to,
            referral: message.referral.map(Into::into),
            client_ref: message.client_ref,
            error: message.error.map(Into::into),
            warnings: message.warnings,
            answers: message.answers,
            platform_data: message.platform_data,
            sent_at: message.sent_at,
            created_at: message.created_at,
            sequence: message.sequence,
        }
    }
}

impl From<message::Content<Attachment>> for Content {
    fn from(content: message::Content<Attachment>) -> Self {
        use message::Content as Given;
        match content {
            Given::Text { text } => Self::Text { text },
            Given::Image { media, caption } => Self::Image { media, caption },
            Given::Video { media, caption } => Self::Video { media, caption },
            Given::Audio { media } => Self::Audio { media },
            Given::File { media, caption } => Self::File { media, caption },
            Given::Sticker { media } => Self::Sticker { media },
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
                media,
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

impl Attachment {
    fn of(attachment: message::Attachment, media: &Media) -> Self {
        Self {
            url: media.link_of(attachment.id, attachment.status),
            id: attachment.id,
            mime_type: attachment.mime_type,
            size: attachment.size,
            status: attachment.status,
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

impl From<message::PlatformError> for PlatformError {
    fn from(given: message::PlatformError) -> Self {
        Self {
            code: given.code,
            message: given.message,
            request_id: given.request_id,
        }
    }
}
