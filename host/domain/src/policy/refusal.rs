//! Refusals of messages, with the rule that decided and the facts on both sides.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channel::PolicyOverride;
use crate::message::ContentKind;
use crate::time::Timestamp;

/// A fault of a draft that the connector found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// JSON pointer (RFC 6901) into the content.
    pub pointer: String,
    /// A code for programs.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// Why a message may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// The messaging window.
    #[error("the messaging window closed at {closed_at}; it opens again when the contact writes")]
    ReplyWindowClosed {
        /// The end of the window.
        closed_at: Timestamp,
    },
    /// The message budget.
    #[error("{used} of the {limit} messages of this window are used; the contact's next message restores {limit}")]
    MessageBudgetExhausted {
        /// The limit.
        limit: u32,
        /// The number of counted messages.
        used: u32,
    },
    /// The contact has never written, and the business may not write first.
    #[error("the contact has not written yet, and the platform does not let a business write first")]
    ConversationInitiationNotAllowed,
    /// A country that the platform excludes.
    #[error("the account's country {country} is excluded by the platform: {source_note}")]
    RegionNotEligible {
        /// ISO 3166-1 alpha-2.
        country: String,
        /// Where the platform documents it.
        #[serde(rename = "source")]
        source_note: String,
    },
    /// The channel was deleted.
    #[error("the channel was deleted; its history can be read, and nothing can be sent")]
    ChannelDeleted,
    /// The operator paused the channel.
    #[error("the channel is paused; PATCH it with paused: false to resume")]
    ChannelPaused,
    /// A person must reauthorize the channel.
    #[error("the channel's authorization has ended; reauthorize the channel")]
    ReauthorizationRequired,
    /// The text is empty.
    #[error("the text is empty")]
    TextEmpty,
    /// The text is too long.
    #[error("the text has {actual} characters; the platform accepts {max}")]
    TextTooLong {
        /// The limit.
        max: u32,
        /// The length: Unicode scalar values or UTF-16 units, whichever is more.
        actual: u32,
    },
    /// The text has a link, and the operator refuses links.
    #[error("the text has a link that the platform does not make clickable, and the app refuses such texts")]
    LinkNotAllowed,
    /// A kind of content that this platform does not support.
    #[error("the platform does not accept {kind} from a business")]
    ContentTypeNotSupported {
        /// The kind's name.
        kind: String,
    },
    /// A file type that the platform does not support.
    #[error("the platform does not accept {actual}; it accepts {}", allowed.join(", "))]
    MediaTypeNotSupported {
        /// As sniffed from the bytes.
        actual: String,
        /// The supported types.
        allowed: Vec<String>,
    },
    /// The file is too large.
    #[error("the file has {actual} bytes; the platform accepts {max}")]
    MediaTooLarge {
        /// The limit.
        max: u64,
        /// The file's size.
        actual: u64,
    },
    /// The attachment is not stored.
    #[error("the media {id} is not stored here; upload it with POST /v1/media first")]
    MediaNotStored {
        /// The id, as the caller wrote it.
        id: String,
    },
    /// Pictures cannot be sent to this contact.
    #[error("pictures cannot be exchanged in this conversation: {reason}")]
    MediaNotAllowedInRegion {
        /// The reason.
        reason: String,
    },
    /// One message to several recipients.
    #[error("the platform does not support broadcasts; send to each conversation in its own window")]
    BroadcastNotSupported,
    /// The connector found faults.
    #[error("{}", findings.first().map_or("the connector refuses the draft", |f| f.detail.as_str()))]
    DraftInvalid {
        /// Each fault.
        findings: Vec<Finding>,
    },
}

impl Refusal {
    /// The stable code, as in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ReplyWindowClosed { .. } => "reply_window_closed",
            Self::MessageBudgetExhausted { .. } => "message_budget_exhausted",
            Self::ConversationInitiationNotAllowed => "conversation_initiation_not_allowed",
            Self::RegionNotEligible { .. } => "region_not_eligible",
            Self::ChannelDeleted => "channel_deleted",
            Self::ChannelPaused => "channel_paused",
            Self::ReauthorizationRequired => "reauthorization_required",
            Self::TextEmpty => "text_empty",
            Self::TextTooLong { .. } => "text_too_long",
            Self::LinkNotAllowed => "link_not_allowed",
            Self::ContentTypeNotSupported { .. } => "content_type_not_supported",
            Self::MediaTypeNotSupported { .. } => "media_type_not_supported",
            Self::MediaTooLarge { .. } => "media_too_large",
            Self::MediaNotStored { .. } => "media_not_stored",
            Self::MediaNotAllowedInRegion { .. } => "media_not_allowed_in_region",
            Self::BroadcastNotSupported => "broadcast_not_supported",
            Self::DraftInvalid { .. } => "draft_invalid",
        }
    }

    /// Whether the draft itself is at fault (422), rather than the state of the conversation (409).
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::TextEmpty
            | Self::TextTooLong { .. }
            | Self::LinkNotAllowed
            | Self::ContentTypeNotSupported { .. }
            | Self::MediaTypeNotSupported { .. }
            | Self::MediaTooLarge { .. }
            | Self::MediaNotStored { .. }
            | Self::BroadcastNotSupported
            | Self::DraftInvalid { .. } => true,
            Self::ReplyWindowClosed { .. }
            | Self::MessageBudgetExhausted { .. }
            | Self::ConversationInitiationNotAllowed
            | Self::RegionNotEligible { .. }
            | Self::ChannelDeleted
            | Self::ChannelPaused
            | Self::ReauthorizationRequired
            | Self::MediaNotAllowedInRegion { .. } => false,
        }
    }

    /// Whether a limit that the operator tightened for the channel refused: `policy` never exceeds the platform's own
    /// limits.
    pub fn is_set_by(&self, policy: &PolicyOverride) -> bool {
        match self {
            Self::MessageBudgetExhausted { limit, .. } => policy.budget_limit == Some(*limit),
            Self::ReplyWindowClosed { .. } => policy.window_ms.is_some(),
            Self::TextTooLong { max, .. } => policy.text_max_chars == Some(*max),
            _ => false,
        }
    }

    /// What must happen before the same message may be sent.
    pub fn changes(&self) -> &'static str {
        match self {
            Self::ReplyWindowClosed { .. }
            | Self::MessageBudgetExhausted { .. }
            | Self::ConversationInitiationNotAllowed => "when the contact writes",
            Self::RegionNotEligible { .. } | Self::MediaNotAllowedInRegion { .. } => {
                "when the platform allows the country"
            }
            Self::ChannelDeleted => "when the account is connected again",
            Self::ChannelPaused => "when an operator resumes the channel",
            Self::ReauthorizationRequired => "when the channel is reauthorized",
            Self::MediaNotStored { .. } => "when the file is uploaded",
            Self::BroadcastNotSupported => "never: the platform does not support broadcasts",
            Self::TextEmpty
            | Self::TextTooLong { .. }
            | Self::ContentTypeNotSupported { .. }
            | Self::MediaTypeNotSupported { .. }
            | Self::MediaTooLarge { .. }
            | Self::LinkNotAllowed
            | Self::DraftInvalid { .. } => "not retryable: change the content",
        }
    }

    /// Which members of the send request are at fault.
    pub fn findings(&self) -> Vec<Finding> {
        let at = |pointer: &str| {
            vec![Finding {
                pointer: pointer.to_owned(),
                code: self.code().to_owned(),
                detail: self.to_string(),
            }]
        };
        match self {
            Self::TextEmpty | Self::TextTooLong { .. } | Self::LinkNotAllowed => at("/content/text"),
            Self::ContentTypeNotSupported { .. } => at("/content/type"),
            Self::MediaTypeNotSupported { .. } | Self::MediaTooLarge { .. } | Self::MediaNotStored { .. } => {
                at("/content/media/id")
            }
            Self::DraftInvalid { findings } => findings.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn kind_not_supported(kind: Option<ContentKind>, name: &str) -> Self {
        Self::ContentTypeNotSupported {
            kind: kind.map_or_else(|| name.to_owned(), |kind| kind.to_string()),
        }
    }
}
