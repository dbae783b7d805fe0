//! Messages: content, status, and drafts that are not checked yet.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{ChannelId, ContactId, ConversationId, MediaId, MessageId, ReferralId};
use crate::problem::Fault;
use crate::time::Timestamp;

/// The content of one message. `A` is the reference to media: stored by Weir ([`Attachment`]), or still at the platform
/// ([`crate::inbound::RemoteMedia`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content<A = Attachment> {
    /// Plain text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// The attachment.
        media: A,
        /// The text that accompanies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A video.
    Video {
        /// The attachment.
        media: A,
        /// The text that accompanies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// An audio recording.
    Audio {
        /// The attachment.
        media: A,
    },
    /// Any other file.
    File {
        /// The attachment.
        media: A,
        /// The text that accompanies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// The attachment.
        media: A,
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
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        media: Option<A>,
    },
    /// A kind of content that only the connector knows.
    Custom {
        /// The kind.
        kind: String,
        /// Its document.
        document: serde_json::Value,
    },
}

// `#[serde(default)]` alone would require a default of `A`.
fn none<A>() -> Option<A> {
    None
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// Returned when it is tapped.
    pub id: String,
    /// Its label.
    pub title: String,
    /// The URL that it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Stored media, as a message references them. A sender provides the `id`; the host fills in the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// The status of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaStatus {
    /// Still to be fetched from the platform.
    Pending,
    /// Stored.
    Stored,
    /// Could not be fetched.
    Failed,
}

/// The kind of a content, by which features and rules are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// Plain text.
    Text,
    /// A picture.
    Image,
    /// A video.
    Video,
    /// An audio recording.
    Audio,
    /// Any other file.
    File,
    /// A sticker.
    Sticker,
    /// A message with buttons.
    Card,
    /// A post of the platform.
    SharedPost,
    /// A location.
    Location,
    /// A template that the platform approved.
    Template,
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::File => "file",
            Self::Sticker => "sticker",
            Self::Card => "card",
            Self::SharedPost => "shared_post",
            Self::Location => "location",
            Self::Template => "template",
        })
    }
}

impl<A> Content<A> {
    /// Whether a message that a platform reports can be this one as it was sent: the same text except for surrounding
    /// white space, which some platforms trim, and otherwise the same kind.
    pub fn looks_like<B>(&self, shown: &Content<B>) -> bool {
        match (self, shown) {
            (Self::Text { text: ours }, Content::Text { text: theirs }) => {
                ours.split_whitespace().eq(theirs.split_whitespace())
            }
            _ => self.kind().is_some() && self.kind() == shown.kind(),
        }
    }

    /// Its readable text.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Text { text } | Self::Fallback { text, .. } => (Some(text), None),
            Self::Image { caption, .. } | Self::Video { caption, .. } | Self::File { caption, .. } => {
                (caption.as_ref(), None)
            }
            Self::Card { title, body, .. } => (Some(title), body.as_ref()),
            Self::Location { name, address, .. } => (name.as_ref(), address.as_ref()),
            Self::Template { name, .. } => (Some(name), None),
            Self::Audio { .. } | Self::Sticker { .. } | Self::SharedPost { .. } | Self::Custom { .. } => (None, None),
        };
        first.into_iter().chain(second).map(String::as_str)
    }

    /// Its kind; `None` for content that can only be received (fallback, custom).
    pub fn kind(&self) -> Option<ContentKind> {
        Some(match self {
            Self::Text { .. } => ContentKind::Text,
            Self::Image { .. } => ContentKind::Image,
            Self::Video { .. } => ContentKind::Video,
            Self::Audio { .. } => ContentKind::Audio,
            Self::File { .. } => ContentKind::File,
            Self::Sticker { .. } => ContentKind::Sticker,
            Self::SharedPost { .. } => ContentKind::SharedPost,
            Self::Card { .. } => ContentKind::Card,
            Self::Location { .. } => ContentKind::Location,
            Self::Template { .. } => ContentKind::Template,
            Self::Fallback { .. } | Self::Custom { .. } => return None,
        })
    }

    /// Its attachment, if it has one.
    pub fn media(&self) -> Option<&A> {
        match self {
            Self::Image { media, .. }
            | Self::Video { media, .. }
            | Self::Audio { media }
            | Self::File { media, .. }
            | Self::Sticker { media } => Some(media),
            Self::Fallback { media, .. } => media.as_ref(),
            _ => None,
        }
    }

    /// The same content with another reference to its media.
    pub fn map_media<B>(self, name: impl FnOnce(A) -> B) -> Content<B> {
        match self {
            Self::Text { text } => Content::Text { text },
            Self::Image { media, caption } => Content::Image {
                media: name(media),
                caption,
            },
            Self::Video { media, caption } => Content::Video {
                media: name(media),
                caption,
            },
            Self::Audio { media } => Content::Audio { media: name(media) },
            Self::File { media, caption } => Content::File {
                media: name(media),
                caption,
            },
            Self::Sticker { media } => Content::Sticker { media: name(media) },
            Self::SharedPost { post_id, url } => Content::SharedPost { post_id, url },
            Self::Card {
                card,
                title,
                body,
                buttons,
            } => Content::Card {
                card,
                title,
                body,
                buttons,
            },
            Self::Location {
                latitude,
                longitude,
                name,
                address,
            } => Content::Location {
                latitude,
                longitude,
                name,
                address,
            },
            Self::Template {
                name,
                language,
                parameters,
            } => Content::Template {
                name,
                language,
                parameters,
            },
            Self::Fallback {
                original_type,
                text,
                url,
                reason,
                media,
            } => Content::Fallback {
                original_type,
                text,
                url,
                reason,
                media: media.map(name),
            },
            Self::Custom { kind, document } => Content::Custom { kind, document },
        }
    }
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the contact.
    Inbound,
    /// To the contact.
    Outbound,
}

/// The surface that created a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The contact.
    Contact,
    /// Weir's API, or another program through the platform's API.
    Api,
    /// Weir's console.
    Console,
    /// The platform's own app.
    App,
    /// The platform's own web page.
    Web,
    /// The platform's automation.
    Automation,
}

/// The status of a message. Ordered: it only advances, and a late report never lowers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Inbound, stored.
    Received,
    /// In the outbox.
    Queued,
    /// Leased by a worker; a request may have been sent.
    Sending,
    /// A request was sent, and its result is unknown.
    Uncertain,
    /// The platform accepted the message.
    Sent,
    /// It was delivered to the device.
    Delivered,
    /// It was read.
    Read,
    /// It will not be sent.
    Failed,
    /// Cancelled before it was sent.
    Cancelled,
}

impl Status {
    /// Whether the status may change to `next`. A manual retry (failed or uncertain to queued) is not a transition but
    /// a restart; the store has a separate method for it.
    pub fn may_become(self, next: Self) -> bool {
        use Status::{Cancelled, Delivered, Failed, Queued, Read, Received, Sending, Sent, Uncertain};
        match self {
            // Nothing follows the end, and an inbound message has no later status.
            Received | Read | Cancelled => false,
            Queued => matches!(next, Sending | Failed | Cancelled | Sent | Delivered | Read),
            // Back to queued: the platform did nothing, and it will be retried.
            Sending => matches!(next, Queued | Uncertain | Sent | Delivered | Read | Failed),
            // The platform's report settles what the call could not; if the history proves its absence, it is queued
            // again.
            Uncertain => matches!(next, Queued | Sent | Delivered | Read | Failed),
            Sent => matches!(next, Delivered | Read | Failed),
            Delivered => matches!(next, Read),
            // The response was a refusal, but the echo shows the message: the contact has it.
            Failed => matches!(next, Sent | Delivered | Read),
        }
    }

    /// Whether it is in the outbox, queued or with an open outcome.
    pub fn is_unsettled(self) -> bool {
        matches!(self, Self::Queued | Self::Sending | Self::Uncertain)
    }

    /// The name in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Uncertain => "uncertain",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A message as stored.
#[derive(Clone, Debug, PartialEq)]
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
    /// The message that it quotes.
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
    pub answers: Option<String>,
    /// Platform fields that have no member here.
    pub platform_data: Option<serde_json::Value>,
    /// The platform's time of it, or the host's until then.
    pub sent_at: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// The order in which the conversation's messages were stored. The conversation itself is ordered by `sent_at`, and
    /// by this for equal times.
    pub sequence: i64,
}

/// Why a message was not, or may not have been, delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformError {
    /// Its code.
    pub code: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// The id that its support asks for.
    pub request_id: Option<String>,
}

/// How a contact arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Its id; `None` until it is stored.
    #[serde(default)]
    pub id: Option<ReferralId>,
    /// `ad`, `link`, `post`, `profile`.
    pub source: String,
    /// The ad.
    pub ad_id: Option<String>,
    /// The ad's name.
    pub ad_name: Option<String>,
    /// The advertiser.
    pub advertiser_id: Option<String>,
    /// The creative that was shown; absent for campaigns that mix creatives automatically.
    pub creative_id: Option<String>,
    /// The URL of the ad or post.
    pub url: Option<String>,
    /// The operator's own value.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The link's prefilled text.
    pub prefilled_text: Option<String>,
    /// `pending`, `passed`, `rejected`.
    pub prefill_audit: Option<String>,
    /// When the contact arrived.
    pub at: Option<Timestamp>,
}

/// A message to be sent, not checked yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The content; an attachment's type and size are those of the store.
    pub content: Content,
    /// The platform's id of the message to quote.
    pub reply_to: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 9] = [
        Status::Received,
        Status::Queued,
        Status::Sending,
        Status::Uncertain,
        Status::Sent,
        Status::Delivered,
        Status::Read,
        Status::Failed,
        Status::Cancelled,
    ];

    #[test]
    fn a_read_message_stays_read() {
        assert!(ALL.iter().all(|next| !Status::Read.may_become(*next)));
    }

    #[test]
    fn status_never_moves_back_or_repeats() {
        assert!(Status::Sent.may_become(Status::Read));
        assert!(!Status::Read.may_become(Status::Delivered));
        assert!(ALL.iter().all(|status| !status.may_become(*status)));
    }

    #[test]
    fn sent_message_is_never_requeued() {
        for settled in [Status::Sent, Status::Delivered, Status::Read, Status::Cancelled] {
            assert!(!settled.may_become(Status::Queued), "{settled:?}");
        }
    }

    #[test]
    fn content_has_the_shape_that_other_programs_rely_on() {
        let text: Content = serde_json::from_str(r#"{"type":"text","text":"hi"}"#).expect("text");
        assert_eq!(text, Content::Text { text: "hi".into() });
        let post = serde_json::to_value(Content::<Attachment>::SharedPost {
            post_id: Some("7".into()),
            url: None,
        })
        .expect("json");
        assert_eq!(
            post,
            serde_json::json!({"type": "shared_post", "post_id": "7", "url": null})
        );
    }
}
