//! Changes of conversations by time alone: their window closes, and those of a deleted channel end.
//!
//! A conversation stores the time of its next event, not its type: the caller provides the rules, and the window is
//! evaluated again at that time. So a window that was reopened, or moved by another rule, is reported as it is.

use std::sync::Arc;

use crate::channel::{Channel, ChannelStatus};
use crate::conversation::ConversationStatus;
use crate::event::{self, ClosedBy, ClosedConversation, ConversationOpened, EventType};
use crate::limits;
use crate::policy::window::{Phase, phase};
use crate::policy::{ConversationView, Rules};
use crate::record::{About, Changes, StoredConversation, Tracked};
use crate::time::Timestamp;

/// A conversation whose next event is due.
#[derive(Clone, Debug)]
pub struct DueConversation {
    pub stored: StoredConversation,
    pub channel: Arc<Channel>,
    /// `None` while no version serves the app, so that its rules are unknown.
    pub rules: Option<Arc<Rules>>,
}

/// Appends the due events, and schedules the next ones.
pub fn sweep(due: Vec<DueConversation>, now: Timestamp) -> Changes {
    let mut changes = Changes::default();
    for DueConversation { stored, channel, rules } in due {
        let mut stored = Tracked::loaded(stored);
        stored.edit().window_event_at = match rules {
            _ if channel.status == ChannelStatus::Deleted => {
                end(&mut changes, &mut stored);
                None
            }
            Some(rules) => window(&mut changes, &stored, &channel, &rules, now),
            None => Some(now.after(limits::WINDOW_EVENTS_WAIT)),
        };
        changes.conversations.push(stored);
    }
    changes
}

/// Appends an event if the window's phase changed, and returns the next time.
fn window(
    changes: &mut Changes,
    stored: &StoredConversation,
    channel: &Channel,
    rules: &Rules,
    now: Timestamp,
) -> Option<Timestamp> {
    let (kind, next) = match phase(rules, stored.conversation.contact_wrote_at, now) {
        // The rules changed since, or the platform has no window any more.
        None => return None,
        Some(Phase::Open { closing_at }) => return Some(closing_at),
        Some(Phase::Closing { closes_at }) => (EventType::WindowClosing, Some(closes_at)),
        Some(Phase::Closed) => (EventType::WindowClosed, None),
    };
    let view = ConversationView::of(&stored.at(now), channel, rules, now);
    changes.event(About::conversation(stored), kind, &event::Conversation::from(view));
    next
}

/// The channel was deleted: its conversations end.
fn end(changes: &mut Changes, stored: &mut Tracked<StoredConversation>) {
    if stored.conversation.status == ConversationStatus::Open {
        stored.edit().conversation.status = ConversationStatus::Closed;
        closed(changes, stored, ClosedBy::ChannelDeleted);
    }
}

/// Appends the event that a conversation ended.
pub fn closed(changes: &mut Changes, stored: &StoredConversation, reason: ClosedBy) {
    let conversation = &stored.conversation;
    let closed = ClosedConversation {
        id: conversation.id,
        channel_id: conversation.channel_id,
        contact_id: conversation.contact.id,
        reason,
    };
    let mut about = About::conversation(stored);
    if reason == ClosedBy::ContactErased {
        // An erased conversation cannot be referenced.
        about.conversation = None;
    }
    changes.event(about, EventType::ConversationClosed, &closed);
}

/// Appends the event that a conversation was opened, or opened again.
pub fn opened(changes: &mut Changes, stored: &StoredConversation, channel: &Channel, rules: &Rules, now: Timestamp) {
    let opened = ConversationOpened {
        conversation: ConversationView::of(&stored.at(now), channel, rules, now).into(),
        reason: stored.conversation.opened_by,
    };
    changes.event(About::conversation(stored), EventType::ConversationOpened, &opened);
}
