//! What time alone brings to conversations: their window closes, and those of a deleted channel end.
//!
//! A conversation keeps the moment of its next event and nothing of what that will be: the rules are the caller's, and judged
//! again when the moment is there. So a window that was opened anew, or moved by another rule, is told of as it is.

use std::sync::Arc;

use crate::channel::{Channel, ChannelStatus};
use crate::conversation::ConversationStatus;
use crate::event::{self, ClosedBy, ClosedConversation, ConversationOpened, EventType};
use crate::limits;
use crate::policy::window::{Phase, phase};
use crate::policy::{ConversationView, Rules};
use crate::record::{About, Changes, StoredConversation, Tracked};
use crate::time::Timestamp;

/// A conversation whose moment is there.
#[derive(Clone, Debug)]
pub struct DueConversation {
    pub stored: StoredConversation,
    pub channel: Arc<Channel>,
    /// None while no version serves the app, so that nobody knows them.
    pub rules: Option<Arc<Rules>>,
}

/// Tells what is due, and sets the next moments.
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
            None => Some(now.after(limits::NEWS_WAIT)),
        };
        changes.conversations.push(stored);
    }
    changes
}

/// Tells where the window stands, if that is news, and gives the next moment.
fn window(
    changes: &mut Changes,
    stored: &StoredConversation,
    channel: &Channel,
    rules: &Rules,
    now: Timestamp,
) -> Option<Timestamp> {
    let (kind, next) = match phase(rules, stored.conversation.contact_wrote_at, now) {
        // The rule is another one since, or the platform has none any more.
        None => return None,
        Some(Phase::Open { closing_at }) => return Some(closing_at),
        Some(Phase::Closing { closes_at }) => (EventType::WindowClosing, Some(closes_at)),
        Some(Phase::Closed) => (EventType::WindowClosed, None),
    };
    let view = ConversationView::of(&stored.at(now), channel, rules, now);
    changes.event(About::conversation(stored), kind, &event::Conversation::from(view));
    next
}

/// The channel is gone: its conversations end with it.
fn end(changes: &mut Changes, stored: &mut Tracked<StoredConversation>) {
    if stored.conversation.status == ConversationStatus::Open {
        stored.edit().conversation.status = ConversationStatus::Closed;
        closed(changes, stored, ClosedBy::ChannelDeleted);
    }
}

/// Tells that nothing can pass in a conversation any more.
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
        // Of what was erased nothing can be looked up.
        about.conversation = None;
    }
    changes.event(about, EventType::ConversationClosed, &closed);
}

/// Tells that a conversation began, or began again.
pub fn opened(changes: &mut Changes, stored: &StoredConversation, channel: &Channel, rules: &Rules, now: Timestamp) {
    let opened = ConversationOpened {
        conversation: ConversationView::of(&stored.at(now), channel, rules, now).into(),
        reason: stored.conversation.opened_by,
    };
    changes.event(About::conversation(stored), EventType::ConversationOpened, &opened);
}
