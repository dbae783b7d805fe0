//! Conversations, as events carry them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::conversation::{ConversationStatus, OpenedBy};
use crate::event::{EventData, Referral};
use crate::id::{ChannelId, ContactId, ConversationId};
use crate::policy;
use crate::time::Timestamp;

/// A conversation, and whether the business can write in it now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::ConversationView)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The contact.
    pub contact: ConversationContact,
    /// The platform's id of the thread.
    pub platform_id: String,
    /// Open, unless its channel was deleted.
    pub status: ConversationStatus,
    /// What opened it.
    pub opened_by: OpenedBy,
    /// Whether a message would be accepted now.
    pub can_reply: bool,
    /// Why not; null if it would.
    pub refusal: Option<Refusal>,
    /// The messaging window; null until the contact writes, or if the platform has none.
    pub window: Option<Window>,
    /// The message budget; null if the platform has none, or none after the contact's first answer.
    pub budget: Option<Budget>,
    /// The newest message's time.
    pub last_message_at: Option<Timestamp>,
    /// Messages of the contact since the business answered or marked them read.
    #[serde(default)]
    pub unread: u32,
    /// How the contact last arrived, by an ad or a link; null if they wrote on their own.
    #[serde(default)]
    pub referral: Option<Referral>,
    /// When it was created.
    pub created_at: Timestamp,
}

impl EventData for Conversation {}

/// The contact of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::ContactView)]
pub struct ConversationContact {
    /// Its id.
    pub id: ContactId,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture.
    pub avatar_url: Option<String>,
}

/// Why the business cannot write now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::RefusalView)]
pub struct Refusal {
    /// The stable code.
    pub code: String,
    /// One sentence for a person.
    pub detail: String,
}

/// The messaging window.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::WindowView)]
pub struct Window {
    /// When the contact last wrote.
    pub opened_at: Timestamp,
    /// The window is closed from this moment on.
    pub closes_at: Timestamp,
}

/// The message budget.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = event::BudgetView)]
pub struct Budget {
    /// Messages until the contact writes again.
    pub limit: u32,
    /// Messages counted so far, including those in the outbox.
    pub used: u32,
    /// The number left.
    pub left: u32,
    /// What resets it: `contact_message`.
    pub resets_on: String,
}

/// A conversation, and what opened it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConversationOpened {
    /// The conversation.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// What opened it.
    pub reason: OpenedBy,
}

impl EventData for ConversationOpened {}

/// A conversation that ended.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClosedConversation {
    /// Its id.
    pub id: ConversationId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The contact.
    pub contact_id: ContactId,
    /// What ended it.
    pub reason: ClosedBy,
}

impl EventData for ClosedConversation {}

/// What ended a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// Its channel was deleted. The history stays; after the channel is connected again, the next message reopens it.
    ChannelDeleted,
    /// Its contact was erased, together with the conversation.
    ContactErased,
}

impl From<policy::ConversationView> for Conversation {
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

impl From<policy::ContactView> for ConversationContact {
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

impl From<policy::RefusalView> for Refusal {
    fn from(given: policy::RefusalView) -> Self {
        Self {
            code: given.code,
            detail: given.detail,
        }
    }
}

impl From<policy::WindowView> for Window {
    fn from(given: policy::WindowView) -> Self {
        Self {
            opened_at: given.opened_at,
            closes_at: given.closes_at,
        }
    }
}

impl From<policy::BudgetView> for Budget {
    fn from(given: policy::BudgetView) -> Self {
        Self {
            limit: given.limit,
            used: given.used,
            left: given.left,
            resets_on: given.resets_on,
        }
    }
}
