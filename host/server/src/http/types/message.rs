//! Messages, as the API takes and shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ContactId, ConversationId, MediaId, MessageId};
use weir_domain::message::{self, Direction, MediaStatus, Origin, Status};
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;

use super::referral::Referral;
use crate::messages::media::Media;

/// A message as the record holds it and the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    /// Its id.
    pub(crate) id: MessageId,
    /// The account it went through.
    pub(crate) channel_id: ChannelId,
    /// The thread it belongs to.
    pub(crate) conversation_id: ConversationId,
    /// The person on the other side.
    pub(crate) contact_id: ContactId,
    /// Which way it went.
    pub(crate) direction: Direction,
    /// Which surface made it.
    pub(crate) origin: Origin,
    /// Where it stands.
    pub(crate) status: Status,
    /// What it carries.
    pub(crate) content: Content,
    /// The platform's id, once known.
    pub(crate) platform_id: Option<String>,
    /// The message that it quotes.
    pub(crate) reply_to: Option<MessageId>,
    /// How the contact came, on the first message after they did.
    pub(crate) referral: Option<Referral>,
    /// The caller's own reference, unique in the channel.
    pub(crate) client_ref: Option<String>,
    /// Why it failed or is uncertain.
    pub(crate) error: Option<MessageError>,
    /// What the sender should know: `links_not_clickable`.
    pub(crate) warnings: Vec<String>,
    /// Which button of a card it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<String>,
    /// Platform fields without a place here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform_data: Option<serde_json::Value>,
    /// The platform's time of it, or ours until then.
    pub(crate) sent_at: Timestamp,
    /// When it entered the record.
    pub(crate) created_at: Timestamp,
    /// The order in which the messages of the conversation entered the record. The conversation itself is in the order of
    /// `sent_at`, and of this where two are of the same moment.
    pub(crate) sequence: i64,
}

/// What one message carries.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Content {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Its bytes.
        media: Attachment,
        /// What is written with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A film.
    Video {
        /// Its bytes.
        media: Attachment,
        /// What is written with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// Sound.
    Audio {
        /// Its bytes.
        media: Attachment,
    },
    /// Any other file.
    File {
        /// Its bytes.
        media: Attachment,
        /// What is written with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// Its bytes.
        media: Attachment,
    },
    /// A post of the platform.
    SharedPost {
        /// The platform's id of it.
        post_id: Option<String>,
        /// Where it can be seen.
        url: Option<String>,
    },
    /// A question with things to tap.
    Card {
        /// `buttons`, `links`, `list`, `quick_replies`.
        card: String,
        /// The question.
        title: String,
        /// More text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// What can be tapped.
        buttons: Vec<Button>,
    },
    /// A place.
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
    /// A text that the platform approved beforehand.
    Template {
        /// Its name at the platform.
        name: String,
        /// Its language.
        language: Option<String>,
        /// What is filled in.
        parameters: serde_json::Value,
    },
    /// What stands in for something that cannot be shown.
    Fallback {
        /// The platform's own word for it.
        original_type: String,
        /// What a person reads instead.
        text: String,
        /// Where it may be seen.
        url: Option<String>,
        /// Why: `type_unsupported`, `too_large`, `region_blocked`, `deleted`, `download_failed`, `malformed`.
        reason: String,
        /// The bytes behind it, where there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media: Option<Attachment>,
    },
    /// A kind that the connector knows and we do not.
    Custom {
        /// The kind.
        kind: String,
        /// Its document.
        document: serde_json::Value,
    },
}

/// Something to tap.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Button {
    /// Comes back when it is tapped.
    pub(crate) id: String,
    /// What it says.
    pub(crate) title: String,
    /// The page it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

/// Stored bytes, as a message names them. A sender gives the `id`; the rest is filled in by the host.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Attachment {
    /// What `POST /v1/media` returned, or what the host gave to inbound bytes.
    pub(crate) id: MediaId,
    /// As sniffed from the bytes.
    #[serde(default)]
    pub(crate) mime_type: Option<String>,
    /// In bytes.
    #[serde(default)]
    pub(crate) size: Option<u64>,
    /// A signed link that works for a day.
    #[serde(default)]
    pub(crate) url: Option<String>,
    /// Whether the bytes are here.
    #[serde(default)]
    pub(crate) status: Option<MediaStatus>,
}

/// Why a message did not, or may not have, arrived.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MessageError {
    /// Our stable code.
    pub(crate) code: String,
    /// One sentence for a person.
    pub(crate) detail: String,
    /// Whose fault it is.
    pub(crate) fault: Fault,
    /// Whether trying again can help.
    pub(crate) retryable: bool,
    /// The platform's own words.
    pub(crate) platform: Option<PlatformWords>,
}

/// What the platform said, verbatim.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PlatformWords {
    /// Its code.
    pub(crate) code: Option<String>,
    /// Its message.
    pub(crate) message: Option<String>,
    /// What its support asks for.
    pub(crate) request_id: Option<String>,
}

impl Message {
    /// A message with a link to its bytes.
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

impl From<message::PlatformWords> for PlatformWords {
    fn from(given: message::PlatformWords) -> Self {
        Self {
            code: given.code,
            message: given.message,
            request_id: given.request_id,
        }
    }
}
