//! The messaging window: how long after the contact's last message the business may write.
//!
//! A contact's message is dated by the platform, and so is the window's end that follows from it; `now` is the host's.
//! [`Rules::clock`] brings the two together.

use std::time::Duration;

use crate::limits;
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
        Some(length) if rules.clock.platform(now) >= wrote_at.after(length) => Err(Refusal::ReplyWindowClosed {
            closed_at: wrote_at.after(length),
        }),
        _ => Ok(()),
    }
}

/// Where a window stands at a moment. Its moments are the host's: they say when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Open; this is the moment from which on it is closing.
    Open {
        /// When that is news.
        closing_at: Timestamp,
    },
    /// Open, and not for much longer.
    Closing {
        /// From this moment on it is closed.
        closes_at: Timestamp,
    },
    /// Closed.
    Closed,
}

/// Where the window stands that the contact's last message opened; none if the platform has none, or they never wrote.
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

/// How long before its end a window is told of as closing: a short one, when half of it is over.
fn ahead(length: Duration) -> Duration {
    limits::WINDOW_CLOSING.min(length / 2)
}

/// When a window opens that a message of this time opens: the message's own time, and no later than the platform's clock can
/// show now, so that a time from the future cannot lengthen it.
pub fn opened_at(rules: &Rules, sent_at: Timestamp, now: Timestamp) -> Timestamp {
    sent_at.min(rules.clock.platform(now))
}
