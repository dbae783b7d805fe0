//! The thread between one channel and one contact: who it is with, and how the platform lets the business write in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{ChannelId, ContactId, ConversationId};
use crate::time::Timestamp;

/// A person that a channel talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// The account it writes to.
    pub channel_id: ChannelId,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture; most platforms' links expire.
    pub avatar_url: Option<String>,
    /// When we first heard of them.
    pub created_at: Timestamp,
}

/// What the record knows of a conversation. What may be done in it now follows from this and the rules:
/// [`crate::policy::Rules`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The account it goes through.
    pub channel_id: ChannelId,
    /// The person on the other side.
    pub contact: Contact,
    /// The platform's id of the thread.
    pub platform_id: String,
    /// Open until somebody closes it.
    pub status: ConversationStatus,
    /// What brought it about.
    pub opened_by: OpenedBy,
    /// Whether the business has written in it.
    pub answered: bool,
    /// Whether the contact has written after that.
    pub replied: bool,
    /// When the contact last wrote, by the platform's clock; none if they never did.
    pub contact_wrote_at: Option<Timestamp>,
    /// Messages counted against the budget since then, those in the outbox among them.
    pub budget_used: u32,
    /// Whether the platform said, when last asked, that pictures may go both ways here.
    pub images_allowed: Option<bool>,
    /// The newest message's time.
    pub last_message_at: Option<Timestamp>,
    /// Messages of the contact since the business answered or marked them read.
    pub unread: u32,
    /// When it entered the record.
    pub created_at: Timestamp,
}

/// Whether a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConversationStatus {
    /// It does.
    Open,
    /// Its channel was deleted: it does not, until somebody writes in it again.
    Closed,
}

/// What brought a conversation about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenedBy {
    /// The contact wrote.
    Message,
    /// The contact came by an ad or a link, and wrote nothing.
    Referral,
    /// The business wrote from the platform's own app.
    Echo,
    /// It was found in the platform's history.
    History,
}
