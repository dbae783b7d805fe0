//! Conversations, in the API's format.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::conversation::{ConversationStatus, OpenedBy};
use weir_domain::id::{ChannelId, ContactId, ConversationId};
use weir_domain::manifest::Statuses;
use weir_domain::policy;
use weir_domain::time::Timestamp;

use super::referral::Referral;
use crate::accounts::features::{self, ContentFeature, Signal};

/// A conversation, and whether a message can be sent in it now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ConversationView {
    /// Its id.
    pub(crate) id: ConversationId,
    /// The account of the conversation.
    pub(crate) channel_id: ChannelId,
    /// The contact.
    pub(crate) contact: ContactView,
    /// The platform's id of the thread.
    pub(crate) platform_id: String,
    /// Open, unless its channel was deleted.
    pub(crate) status: ConversationStatus,
    /// The event that opened it.
    pub(crate) opened_by: OpenedBy,
    /// Whether a message would be accepted now.
    pub(crate) can_reply: bool,
    /// The reason if not.
    pub(crate) refusal: Option<RefusalView>,
    /// The messaging window; null until the contact writes, or if the platform has none.
    pub(crate) window: Option<WindowView>,
    /// The message budget; null if the platform has none, or none after the contact's first reply.
    pub(crate) budget: Option<BudgetView>,
    /// The newest message's time.
    pub(crate) last_message_at: Option<Timestamp>,
    /// Messages of the contact since the business answered or marked them read.
    #[serde(default)]
    pub(crate) unread: u32,
    /// The ad or link through which the contact last came; null if there was none.
    #[serde(default)]
    pub(crate) referral: Option<Referral>,
    /// When it was stored.
    pub(crate) created_at: Timestamp,
}

/// The contact.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ContactView {
    /// Its id.
    pub(crate) id: ContactId,
    /// The platform's id of the person.
    pub(crate) platform_id: String,
    /// The handle, without @.
    pub(crate) username: Option<String>,
    /// The display name.
    pub(crate) display_name: Option<String>,
    /// A picture.
    pub(crate) avatar_url: Option<String>,
}

/// Why no message can be sent now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// The stable code.
    pub(crate) code: String,
    /// One sentence for a person.
    pub(crate) detail: String,
}

/// The messaging window.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct WindowView {
    /// When the contact last wrote.
    pub(crate) opened_at: Timestamp,
    /// The time at which it closes.
    pub(crate) closes_at: Timestamp,
}

/// The message budget.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BudgetView {
    /// Messages until the contact writes again.
    pub(crate) limit: u32,
    /// Messages counted already, including those in the outbox.
    pub(crate) used: u32,
    /// The remaining messages.
    pub(crate) left: u32,
    /// What replenishes it: `contact_message`.
    pub(crate) resets_on: String,
}

/// What a conversation can carry now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Features {
    /// Whether a message would be accepted now.
    pub(crate) can_reply: bool,
    /// The reason if not.
    pub(crate) refusal: Option<RefusalView>,
    /// The messaging window.
    pub(crate) window: Option<WindowView>,
    /// The message budget.
    pub(crate) budget: Option<BudgetView>,
    /// Each kind of content, with its limits.
    pub(crate) contents: Vec<ContentFeature>,
    /// The statuses that can be known.
    pub(crate) statuses: Statuses,
    /// What can be shown besides messages.
    pub(crate) signals: Vec<Signal>,
    /// When this was determined.
    pub(crate) at: Timestamp,
}

impl From<policy::ConversationView> for ConversationView {
    fn from(given: policy::ConversationView) -> Self {
        Self {
            id: given.id,
            channel_id: given.channel_id,
            contact: given.contact.into(),
            platform_id: given.platform_id,
            status: given.status,
            opened_by: given.opened_by,
            can_reply: given.can_reply,
            refusal: given.refusal.map(Into::into),
            window: given.window.map(Into::into),
            budget: given.budget.map(Into::into),
            last_message_at: given.last_message_at,
            unread: given.unread,
            referral: given.referral.map(Into::into),
            created_at: given.created_at,
        }
    }
}

impl From<policy::ContactView> for ContactView {
    fn from(given: policy::ContactView) -> Self {
        Self {
            id: given.id,
            platform_id: given.platform_id,
            username: given.username,
            display_name: given.display_name,
            avatar_url: given.avatar_url,
        }
    }
}

impl From<policy::RefusalView> for RefusalView {
    fn from(given: policy::RefusalView) -> Self {
        Self {
            code: given.code,
            detail: given.detail,
        }
    }
}

impl From<policy::WindowView> for WindowView {
    fn from(given: policy::WindowView) -> Self {
        Self {
            opened_at: given.opened_at,
            closes_at: given.closes_at,
        }
    }
}

impl From<policy::BudgetView> for BudgetView {
    fn from(given: policy::BudgetView) -> Self {
        Self {
            limit: given.limit,
            used: given.used,
            left: given.left,
            resets_on: given.resets_on,
        }
    }
}

impl From<features::Features> for Features {
    fn from(given: features::Features) -> Self {
        Self {
            can_reply: given.can_reply,
            refusal: given.refusal.map(Into::into),
            window: given.window.map(Into::into),
            budget: given.budget.map(Into::into),
            contents: given.contents,
            statuses: given.statuses,
            signals: given.signals,
            at: given.at,
        }
    }
}
