//! A conversation as the rules evaluate it now, with its stored facts.

use crate::channel::Channel;
use crate::conversation::{Contact, Conversation, ConversationStatus, OpenedBy};
use crate::id::{ChannelId, ContactId, ConversationId};
use crate::message::Referral;
use crate::policy::{Refusal, Rules, Stage, budget, may_use, may_write};
use crate::time::Timestamp;

/// A conversation, and whether the business can write in it now.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationView {
    /// Its id.
    pub id: ConversationId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The contact.
    pub contact: ContactView,
    /// The platform's id of the thread.
    pub platform_id: String,
    /// Open, unless its channel was deleted.
    pub status: ConversationStatus,
    /// What opened it.
    pub opened_by: OpenedBy,
    /// Whether a message would be accepted now.
    pub can_reply: bool,
    /// Why not.
    pub refusal: Option<RefusalView>,
    /// The messaging window; null until the contact writes, or if the platform has none.
    pub window: Option<WindowView>,
    /// The message budget; null if the platform has none, or none after the contact's first answer.
    pub budget: Option<BudgetView>,
    /// The newest message's time.
    pub last_message_at: Option<Timestamp>,
    /// Messages of the contact since the business answered or marked them read.
    pub unread: u32,
    /// How the contact last arrived, by an ad or a link; null if they wrote on their own.
    pub referral: Option<Referral>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The contact of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactView {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalView {
    /// The stable code.
    pub code: String,
    /// One sentence for a person.
    pub detail: String,
}

/// The messaging window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowView {
    /// When the contact last wrote.
    pub opened_at: Timestamp,
    /// The window is closed from this moment on.
    pub closes_at: Timestamp,
}

/// The message budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetView {
    /// Messages until the contact writes again.
    pub limit: u32,
    /// Messages counted so far, including those in the outbox.
    pub used: u32,
    /// The number left.
    pub left: u32,
    /// What resets it: `contact_message`.
    pub resets_on: String,
}

impl ConversationView {
    /// The view of `conversation` by `rules` at `now`.
    pub fn of(conversation: &Conversation, channel: &Channel, rules: &Rules, now: Timestamp) -> Self {
        let refusal = may_use(rules, channel)
            .and_then(|()| may_write(rules, conversation, Stage::Accept, now))
            .err();
        Self {
            id: conversation.id,
            channel_id: conversation.channel_id,
            contact: ContactView::of(&conversation.contact),
            platform_id: conversation.platform_id.clone(),
            status: conversation.status,
            opened_by: conversation.opened_by,
            can_reply: refusal.is_none(),
            refusal: refusal.as_ref().map(RefusalView::of),
            window: window(rules, conversation),
            budget: budget::limit(rules, conversation).map(|limit| BudgetView {
                limit,
                used: conversation.budget_used,
                left: limit.saturating_sub(conversation.budget_used),
                resets_on: "contact_message".to_owned(),
            }),
            last_message_at: conversation.last_message_at,
            unread: conversation.unread,
            referral: conversation.referral.clone(),
            created_at: conversation.created_at,
        }
    }
}

fn window(rules: &Rules, conversation: &Conversation) -> Option<WindowView> {
    let opened_at = conversation.contact_wrote_at?;
    Some(WindowView {
        opened_at,
        closes_at: opened_at.after(rules.window?),
    })
}

impl ContactView {
    /// The view of a contact inside a conversation.
    pub fn of(contact: &Contact) -> Self {
        Self {
            id: contact.id,
            platform_id: contact.platform_id.clone(),
            username: contact.username.clone(),
            display_name: contact.display_name.clone(),
            avatar_url: contact.avatar_url.clone(),
        }
    }
}

impl RefusalView {
    /// The view of a refusal.
    pub fn of(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code().to_owned(),
            detail: refusal.to_string(),
        }
    }
}
