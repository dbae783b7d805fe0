//! The judges of what goes out: a message to a person, and a connector's request to the network.
//!
//! [`may_send`] and [`may_call`] are the only makers of [`SendPermit`] and [`EgressPermit`]. A permit owns what it
//! permits, so it cannot be spent on something else, and it cannot be stored, so what comes back out of the outbox is
//! judged anew. Every no is a [`Refusal`] or a [`CallRefusal`] that names the rule and its facts.

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
pub use rules::{Probed, Rate, RuleBook, Rules};
pub use settings::AppSettings;

pub use view::{BudgetView, ContactView, ConversationView, RefusalView, WindowView};

use crate::channel::{Channel, ChannelStatus};
use crate::conversation::Conversation;
use crate::message::Draft;
use crate::time::Timestamp;

/// When a draft is judged. The budget is taken at acceptance, so that two callers cannot both spend the last message; at
/// dispatch the message's own share is already taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before it enters the outbox.
    Accept,
    /// Before it leaves.
    Dispatch,
}

/// One judged message. Made by [`may_send`], spent by one send call of a connector.
#[derive(Debug)]
pub struct SendPermit {
    conversation: Conversation,
    draft: Draft,
}

impl SendPermit {
    /// Where the message goes.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// What goes.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }
}

/// Whether this draft may go into this conversation at `now`.
///
/// # Errors
/// The first rule that says no, in the order in which a person can do something about it: the channel, the kind of content,
/// the conversation's beginning, the window, the budget.
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

/// Whether the channel may be used at all. A channel that waits for authorization takes messages and holds them.
///
/// # Errors
/// Deleted, held by the operator, or in a country that the platform excludes.
pub fn may_use(rules: &Rules, channel: &Channel) -> Result<(), Refusal> {
    if channel.status == ChannelStatus::Deleted {
        return Err(Refusal::ChannelDeleted);
    }
    if channel.paused {
        return Err(Refusal::ChannelPaused);
    }
    region::admit(rules, channel.country.as_deref())
}

/// Whether the business may write in this conversation at `now`, whatever it writes.
///
/// # Errors
/// The contact never wrote, the window is closed, or the budget is used up.
pub fn may_write(rules: &Rules, conversation: &Conversation, stage: Stage, now: Timestamp) -> Result<(), Refusal> {
    window::admit(rules, conversation.contact_wrote_at, now)?;
    budget::admit(rules, conversation, stage)
}

#[cfg(test)]
pub(crate) mod tests;
