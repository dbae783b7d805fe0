//! The policy checks of outgoing data: a message to a person, and a connector's request to the network.
//!
//! Only [`may_send`] and [`may_call`] construct a [`SendPermit`] or an [`EgressPermit`]. A permit owns what it permits,
//! so it cannot be used for something else, and it cannot be stored, so a message from the outbox is checked again.
//! Every refusal is a [`Refusal`] or a [`CallRefusal`] that names the rule and its facts.

pub mod address;
pub mod budget;
pub mod content;
mod egress;
pub mod rate;
mod refusal;
pub mod region;
mod rules;
mod settings;
mod view;
pub mod window;

pub use egress::{
    Call, CallKind, CallRefusal, EgressPermit, OriginMap, Part, PartContent, Purpose, Reach, Request, RequestBody,
    may_authorize, may_call, may_deliver, may_fetch, may_follow_clock, may_obtain,
};
pub use refusal::{Finding, Refusal};
pub use rules::{PolicySet, Probed, Rate, Rules};
pub use settings::AppSettings;

pub use view::{BudgetView, ContactView, ConversationView, RefusalView, WindowView};

use crate::channel::{Channel, ChannelStatus};
use crate::conversation::Conversation;
use crate::message::Draft;
use crate::time::Timestamp;

/// When a draft is checked. The budget is spent at acceptance, so that two callers cannot both spend the last message;
/// at dispatch the message's own share is already counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before it enters the outbox.
    Accept,
    /// Before it is sent.
    Dispatch,
}

/// A checked message. Constructed by [`may_send`], consumed by one send call of a connector.
#[derive(Debug)]
pub struct SendPermit {
    conversation: Conversation,
    draft: Draft,
}

impl SendPermit {
    /// The conversation.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// The draft.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }
}

/// Whether this draft may be sent in this conversation at `now`.
///
/// # Errors
/// The first rule that refuses, in the order in which a person can act on it: the channel, the kind of content, who may
/// write first, the window, the budget.
pub fn may_send(
    rules: &Rules,
    channel: &Channel,
    conversation: &Conversation,
    draft: Draft,
    stage: Stage,
    now: Timestamp,
) -> Result<SendPermit, Refusal> {
    may_use(rules, channel)?;
    content::admit(rules, channel, conversation.images_allowed, &draft)?;
    may_write(rules, conversation, stage, now)?;
    Ok(SendPermit {
        conversation: conversation.clone(),
        draft,
    })
}

/// Whether the channel may be used at all. A channel that waits for authorization accepts messages and holds them.
///
/// # Errors
/// Deleted, paused by the operator, or in a country that the platform excludes.
pub fn may_use(rules: &Rules, channel: &Channel) -> Result<(), Refusal> {
    if channel.status == ChannelStatus::Deleted {
        return Err(Refusal::ChannelDeleted);
    }
    if channel.paused {
        return Err(Refusal::ChannelPaused);
    }
    region::admit(rules, channel.country.as_deref())
}

/// Whether the business may write in this conversation at `now`, whatever the content.
///
/// # Errors
/// The contact never wrote, the window is closed, or the budget is used up.
pub fn may_write(rules: &Rules, conversation: &Conversation, stage: Stage, now: Timestamp) -> Result<(), Refusal> {
    window::admit(rules, conversation.contact_wrote_at, now)?;
    budget::admit(rules, conversation, stage)
}

#[cfg(test)]
pub(crate) mod tests;
