//! Every no to a message, with the rule that decided and both sides of it.

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
    /// A word for programs.
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
    #[error("{used} of the {limit} messages of this window are used; the contact's next message gives {limit} more")]
    MessageBudgetExhausted {
        /// The rule's number.
        limit: u32,
        /// What was counted.
        used: u32,
    },
    /// The contact has never written.
    #[error("the contact has not written yet, and the platform does not let a business write first")]
    ConversationInitiationNotAllowed,
    /// A country that the platform excludes.
    #[error("the account's country {country} is excluded by the platform: {source_note}")]
    RegionNotEligible {
        /// ISO 3166-1 alpha-2.
        country: String,
        /// Where the platform said so.
        #[serde(rename = "source")]
        source_note: String,
    },
    /// The channel is gone.
    #[error("the channel was deleted; its history can be read, and nothing can be sent")]
    ChannelDeleted,
    /// The operator holds the channel.
    #[error("the channel is paused; PATCH it with paused: false to resume")]
    ChannelPaused,
    /// A person must authorize the channel again.
    #[error("the channel's authorization has ended; reauthorize the channel")]
    ReauthorizationRequired,
    /// Nothing in the text.
    #[error("the text is empty")]
    TextEmpty,
    /// Too much text.
    #[error("the text has {actual} characters; the platform accepts {max}")]
    TextTooLong {
        /// The rule's number.
        max: u32,
        /// What was counted: Unicode scalar values or UTF-16 units, whichever is more.
        actual: u32,
    },
    /// A link, where the operator refuses them.
    #[error("the text has a link that the platform does not make clickable, and the app refuses such texts")]
    LinkNotAllowed,
    /// A kind of content that this platform does not take.
    #[error("the platform does not accept {kind} from a business")]
    ContentTypeNotSupported {
        /// The kind's name.
        kind: String,
    },
    /// A type of file that the platform does not take.
    #[error("the platform does not accept {actual}; it accepts {}", allowed.join(", "))]
    MediaTypeNotSupported {
        /// As sniffed from the bytes.
        actual: String,
        /// What it takes.
        allowed: Vec<String>,
    },
    /// A file too large.
    #[error("the file has {actual} bytes; the platform accepts {max}")]
    MediaTooLarge {
        /// The rule's number.
        max: u64,
        /// The file's.
        actual: u64,
    },
    /// The bytes named by the draft are not here.
    #[error("the media {id} is not stored here; upload it with POST /v1/media first")]
    MediaNotStored {
        /// As the caller wrote it.
        id: String,
    },
    /// Pictures cannot go to this contact.
    #[error("pictures cannot be exchanged in this conversation: {reason}")]
    MediaNotAllowedInRegion {
        /// What decided.
        reason: String,
    },
    /// One message to many.
    #[error("the platform does not carry broadcasts; send to each conversation in its own window")]
    BroadcastNotSupported,
    /// What the connector found.
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

    /// Whether a limit that the operator tightened for the channel decided: what `policy` sets is never looser than the
    /// platform's own.
    pub fn is_set_by(&self, policy: &PolicyOverride) -> bool {
        match self {
            Self::MessageBudgetExhausted { limit, .. } => policy.budget_limit == Some(*limit),
            Self::ReplyWindowClosed { .. } => policy.window_ms.is_some(),
            Self::TextTooLong { max, .. } => policy.text_max_chars == Some(*max),
            _ => false,
        }
    }

    /// What has to happen before the same message may go.
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
            Self::BroadcastNotSupported => "never: the platform has no broadcasts",
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
