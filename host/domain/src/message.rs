//! Messages: what they carry, where they stand, and what an unjudged one looks like.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{ChannelId, ContactId, ConversationId, MediaId, MessageId, ReferralId};
use crate::problem::Fault;
use crate::time::Timestamp;

/// What one message carries. `A` is how its bytes are named: stored with us ([`Attachment`]), or still with the platform
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
        /// Its bytes.
        media: A,
        /// What is written with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A film.
    Video {
        /// Its bytes.
        media: A,
        /// What is written with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// Sound.
    Audio {
        /// Its bytes.
        media: A,
    },
    /// Any other file.
    File {
        /// Its bytes.
        media: A,
        /// What is written with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
    },
    /// A sticker.
    Sticker {
        /// Its bytes.
        media: A,
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
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        media: Option<A>,
    },
    /// A kind that the connector knows and we do not.
    Custom {
        /// The kind.
        kind: String,
        /// Its document.
        document: serde_json::Value,
    },
}

// `#[serde(default)]` alone would ask `A` for a default.
fn none<A>() -> Option<A> {
    None
}

/// Something to tap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// Comes back when it is tapped.
    pub id: String,
    /// What it says.
    pub title: String,
    /// The page it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Stored bytes, as a message names them. A sender gives the `id`; the rest is filled in by the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What `POST /v1/media` returned, or what the host gave to inbound bytes.
    pub id: MediaId,
    /// As sniffed from the bytes.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// In bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// A signed link that works for a day.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether the bytes are here.
    #[serde(default)]
    pub status: Option<MediaStatus>,
}

/// Where stored bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaStatus {
    /// Still to be fetched from the platform.
    Pending,
    /// Here.
    Stored,
    /// Cannot be had.
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
    /// A film.
    Video,
    /// Sound.
    Audio,
    /// Any other file.
    File,
    /// A sticker.
    Sticker,
    /// A question with things to tap.
    Card,
    /// A post of the platform.
    SharedPost,
    /// A place.
    Location,
    /// A text approved beforehand.
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
    /// Whether a message that a platform shows can be this one as it was sent: the same text but for blanks, which some
    /// platforms trim, and otherwise the same kind.
    pub fn looks_like<B>(&self, shown: &Content<B>) -> bool {
        match (self, shown) {
            (Self::Text { text: ours }, Content::Text { text: theirs }) => {
                ours.split_whitespace().eq(theirs.split_whitespace())
            }
            _ => self.kind().is_some() && self.kind() == shown.kind(),
        }
    }

    /// What a person reads of it.
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

    /// Its kind; none for what can only arrive (fallback, custom).
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

    /// Its bytes, if it has any.
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

    /// The same content with its bytes named in another way.
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

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the contact.
    Inbound,
    /// To the contact.
    Outbound,
}

/// Which surface made a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The person on the other side.
    Contact,
    /// Our API, or another program through the platform's API.
    Api,
    /// Our console.
    Console,
    /// The platform's own app.
    App,
    /// The platform's own web page.
    Web,
    /// The platform itself.
    Automation,
}

/// Where a message stands. Ordered: it only moves forward, and a later word never takes back a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Inbound, stored.
    Received,
    /// In the outbox.
    Queued,
    /// Leased by a worker; a request may be on its way.
    Sending,
    /// The request left and no answer came.
    Uncertain,
    /// The platform took it.
    Sent,
    /// It reached the phone.
    Delivered,
    /// It was read.
    Read,
    /// It will not be sent.
    Failed,
    /// Taken back before it left.
    Cancelled,
}

impl Status {
    /// Whether a message may go from here to `next`. A retry by hand (failed or uncertain to queued) is a new beginning and
    /// not a move; the store does it by name.
    pub fn may_become(self, next: Self) -> bool {
        use Status::{Cancelled, Delivered, Failed, Queued, Read, Received, Sending, Sent, Uncertain};
        match self {
            // Nothing follows the end, and what has arrived has no later status.
            Received | Read | Cancelled => false,
            Queued => matches!(next, Sending | Failed | Cancelled | Sent | Delivered | Read),
            // Back to queued: the platform did nothing, and it will be tried again.
            Sending => matches!(next, Queued | Uncertain | Sent | Delivered | Read | Failed),
            // A platform's word settles what our own call could not; absence proven by history queues it again.
            Uncertain => matches!(next, Queued | Sent | Delivered | Read | Failed),
            Sent => matches!(next, Delivered | Read | Failed),
            Delivered => matches!(next, Read),
            // The answer was a refusal, but the echo shows the message: the contact has it.
            Failed => matches!(next, Sent | Delivered | Read),
        }
    }

    /// Whether it waits in the outbox, to leave or for what became of it.
    pub fn is_unsettled(self) -> bool {
        matches!(self, Self::Queued | Self::Sending | Self::Uncertain)
    }

    /// As it stands in the API and in the database.
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

/// A message as the record holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The account it went through.
    pub channel_id: ChannelId,
    /// The thread it belongs to.
    pub conversation_id: ConversationId,
    /// The person on the other side.
    pub contact_id: ContactId,
    /// Which way it went.
    pub direction: Direction,
    /// Which surface made it.
    pub origin: Origin,
    /// Where it stands.
    pub status: Status,
    /// What it carries.
    pub content: Content,
    /// The platform's id, once known.
    pub platform_id: Option<String>,
    /// The message that it quotes.
    pub reply_to: Option<MessageId>,
    /// How the contact came, on the first message after they did.
    pub referral: Option<Referral>,
    /// The caller's own reference, unique in the channel.
    pub client_ref: Option<String>,
    /// Why it failed or is uncertain.
    pub error: Option<MessageError>,
    /// What the sender should know: `links_not_clickable`.
    pub warnings: Vec<String>,
    /// Which button of a card it answers.
    pub answers: Option<String>,
    /// Platform fields without a place here.
    pub platform_data: Option<serde_json::Value>,
    /// The platform's time of it, or ours until then.
    pub sent_at: Timestamp,
    /// When it entered the record.
    pub created_at: Timestamp,
    /// The order in which the messages of the conversation entered the record. The conversation itself is in the order of
    /// `sent_at`, and of this where two are of the same moment.
    pub sequence: i64,
}

/// Why a message did not, or may not have, arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageError {
    /// Our stable code.
    pub code: String,
    /// One sentence for a person.
    pub detail: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// Whether trying again can help.
    pub retryable: bool,
    /// The platform's own words.
    pub platform: Option<PlatformWords>,
}

/// What the platform said, verbatim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformWords {
    /// Its code.
    pub code: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// What its support asks for.
    pub request_id: Option<String>,
}

/// How a contact came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referral {
    /// Its id; none while it is not yet stored.
    #[serde(default)]
    pub id: Option<ReferralId>,
    /// `ad`, `link`, `post`, `profile`.
    pub source: String,
    /// The ad.
    pub ad_id: Option<String>,
    /// The ad's name.
    pub ad_name: Option<String>,
    /// Who paid for it.
    pub advertiser_id: Option<String>,
    /// The creative that was shown; absent for campaigns that mix creatives by themselves.
    pub creative_id: Option<String>,
    /// Where the ad or post may be seen.
    pub url: Option<String>,
    /// The operator's own value.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The text that the link put into the composer.
    pub prefilled_text: Option<String>,
    /// `pending`, `passed`, `rejected`.
    pub prefill_audit: Option<String>,
    /// When the contact came.
    pub at: Option<Timestamp>,
}

/// A message that somebody wants to send, not yet judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What it carries; an attachment's type and size are as the store knows them.
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
    fn a_late_delivered_never_follows_read_and_nothing_becomes_itself() {
        assert!(Status::Sent.may_become(Status::Read));
        assert!(!Status::Read.may_become(Status::Delivered));
        assert!(ALL.iter().all(|status| !status.may_become(*status)));
    }

    #[test]
    fn a_sent_message_is_never_queued_again() {
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
