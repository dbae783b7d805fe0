//! The message budget: how many messages the business may write until the contact writes again.

use crate::policy::{Refusal, Rules, Stage};

/// Whether the budget has one left. At dispatch the message's own share is among the used, so the last one may still go.
///
/// # Errors
/// The budget is used up.
pub fn admit(rules: &Rules, used: u32, stage: Stage) -> Result<(), Refusal> {
    let Some(limit) = rules.budget else {
        return Ok(());
    };
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
