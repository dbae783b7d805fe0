//! The messaging window: how long after the contact's last message the business may write.
//!
//! The platform dates a contact's message, and so the window's end; `now` is the host's. [`Rules::clock`] converts
//! between the two.

use std::time::Duration;

use crate::limits;
use crate::policy::{Refusal, Rules};
use crate::time::Timestamp;

/// Whether the window is open at `now`. It is closed at its end itself; a contact who never wrote has opened none,
/// whatever brought them.
///
/// # Errors
/// The contact never wrote and the business may not write first, or the window is closed.
pub fn admit(rules: &Rules, contact_wrote_at: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    let Some(wrote_at) = contact_wrote_at else {
        return if rules.initiation {
            Ok(())
        } else {
            Err(Refusal::ConversationInitiationNotAllowed)
        };
    };
    match rules.window {
        Some(length) if rules.clock.platform(now) >= wrote_at.after(length) => Err(Refusal::ReplyWindowClosed {
            closed_at: wrote_at.after(length),
        }),
        _ => Ok(()),
    }
}

/// The phase of a window at a moment. Its moments are the host's: the time of the next evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Open, and not close to its end.
    Open {
        /// When it becomes `Closing`.
        closing_at: Timestamp,
    },
    /// Open, and close to its end.
    Closing {
        /// It is closed from this moment on.
        closes_at: Timestamp,
    },
    /// Closed.
    Closed,
}

/// The phase of the window that the contact's last message opened; `None` if the platform has none, or they never
/// wrote.
pub fn phase(rules: &Rules, contact_wrote_at: Option<Timestamp>, now: Timestamp) -> Option<Phase> {
    let length = rules.window?;
    let closes_at = rules.clock.ours(contact_wrote_at?.after(length));
    let closing_at = closes_at.before(ahead(length));
    Some(if now < closing_at {
        Phase::Open { closing_at }
    } else if now < closes_at {
        Phase::Closing { closes_at }
    } else {
        Phase::Closed
    })
}

/// How long before its end a window counts as closing: for a short window, half of its length.
fn ahead(length: Duration) -> Duration {
    limits::WINDOW_CLOSING.min(length / 2)
}

/// When a message of this time opens a window: at the message's own time, but no later than the platform's clock can
/// show now, so that a time in the future cannot extend it.
pub fn opened_at(rules: &Rules, sent_at: Timestamp, now: Timestamp) -> Timestamp {
    sent_at.min(rules.clock.platform(now))
}
