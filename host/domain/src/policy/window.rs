//! The messaging window: how long after the contact's last message the business may write.

use crate::policy::{Refusal, Rules};
use crate::time::Timestamp;

/// Whether the window is open at `now`. It is closed from the very moment it closes; a contact who never wrote has opened
/// none, whatever brought them.
///
/// # Errors
/// The contact never wrote and may not be written to first, or the window is closed.
pub fn admit(rules: &Rules, contact_wrote_at: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    let Some(wrote_at) = contact_wrote_at else {
        return if rules.initiation {
            Ok(())
        } else {
            Err(Refusal::ConversationInitiationNotAllowed)
        };
    };
    match rules.window {
        Some(length) if now >= wrote_at.after(length) => Err(Refusal::ReplyWindowClosed {
            closed_at: wrote_at.after(length),
        }),
        _ => Ok(()),
    }
}

/// When a window opens that a message of this time opens: the platform's time when it is earlier than ours, so that a
/// platform's clock ahead of ours cannot lengthen it.
pub fn opened_at(sent_at: Timestamp, now: Timestamp) -> Timestamp {
    sent_at.min(now)
}
