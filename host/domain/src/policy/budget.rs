//! The message budget: how many messages the business may send until the contact writes again.

use crate::conversation::Conversation;
use crate::policy::{Refusal, Rules, Stage};

/// How many messages the business may send until the contact writes again; `None` without a bound, or once the bound
/// has ended.
pub fn limit(rules: &Rules, conversation: &Conversation) -> Option<u32> {
    rules
        .budget
        .filter(|_| !(rules.budget_until_reply && conversation.replied))
}

/// Whether the budget has one left. At dispatch the message's own share is among the used, so the last one may still be
/// sent.
///
/// # Errors
/// The budget is used up.
pub fn admit(rules: &Rules, conversation: &Conversation, stage: Stage) -> Result<(), Refusal> {
    let Some(limit) = limit(rules, conversation) else {
        return Ok(());
    };
    let used = conversation.budget_used;
    let full = match stage {
        Stage::Accept => used >= limit,
        Stage::Dispatch => used > limit,
    };
    if full {
        Err(Refusal::MessageBudgetExhausted { limit, used })
    } else {
        Ok(())
    }
}
