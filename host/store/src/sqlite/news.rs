//! What time alone brings to conversations: their window closes, and those of a deleted channel end.
//!
//! A conversation keeps the moment of its next news and nothing of what that will be: the rules are the caller's, and judged
//! again when the moment is there. So a window that was opened anew, or moved by another rule, is told of as it is.

use std::collections::BTreeMap;

use rusqlite::params;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::conversation::ConversationStatus;
use weir_domain::event::{ClosedBy, ClosedConversation, ConversationOpened, EventType};
use weir_domain::id::ConversationId;
use weir_domain::limits;
use weir_domain::policy::window::{Phase, phase};
use weir_domain::policy::{ConversationView, RuleBook, Rules};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::channels;
use crate::sqlite::conversations::{self, Thread};
use crate::sqlite::db::{Db, get_id, key, ms, word};
use crate::sqlite::events::{self, About};

/// The window of a conversation moved: sees to it that its first news is not missed. One that is closed already has none. A
/// moment that was set and comes before stays: then there is nothing to tell, and the next moment is found. So a conversation
/// in which much is said moves it once in a window and not with each message.
pub(super) fn look_in_time(rules: &Rules, thread: &mut Thread, now: Timestamp) {
    let first = match phase(rules, thread.conversation.contact_wrote_at, now) {
        Some(Phase::Open { closing_at }) => closing_at,
        Some(Phase::Closing { .. }) => now,
        Some(Phase::Closed) | None => return,
    };
    thread.news_at = Some(thread.news_at.map_or(first, |set| set.min(first)));
}

/// Tells what is due, up to `limit` conversations. How many were looked at.
pub(super) fn sweep(db: &Db<'_>, books: &BTreeMap<String, RuleBook>, limit: u32, now: Timestamp) -> Result<u32> {
    let due: Vec<ConversationId> = db.all(
        "SELECT id FROM conversations WHERE news_at <= ?1 ORDER BY news_at LIMIT ?2",
        params![now.as_millis(), limit],
        |row| get_id(row, 0),
    )?;
    for id in &due {
        let thread = conversations::needed(db, *id)?;
        let channel = channels::needed(db, thread.conversation.channel_id)?;
        let next = match books.get(&channel.app) {
            _ if channel.status == ChannelStatus::Deleted => {
                end(db, &thread, now)?;
                None
            }
            Some(book) => tell(db, &thread, &channel, &book.rules(&channel), now)?,
            None => Some(now.after(limits::NEWS_WAIT)),
        };
        db.run(
            "UPDATE conversations SET news_at = ?2 WHERE id = ?1",
            params![key(*id), ms(next)],
        )?;
    }
    Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
}

/// Tells where the window stands, if that is news, and gives the next moment.
fn tell(db: &Db<'_>, thread: &Thread, channel: &Channel, rules: &Rules, now: Timestamp) -> Result<Option<Timestamp>> {
    let (kind, next) = match phase(rules, thread.conversation.contact_wrote_at, now) {
        // The rule is another one since, or the platform has none any more.
        None => return Ok(None),
        Some(Phase::Open { closing_at }) => return Ok(Some(closing_at)),
        Some(Phase::Closing { closes_at }) => (EventType::WindowClosing, Some(closes_at)),
        Some(Phase::Closed) => (EventType::WindowClosed, None),
    };
    let view = ConversationView::of(&thread.at(now), channel, rules, now);
    let about = About {
        conversation: Some(thread.conversation.id),
        ..About::channel(channel)
    };
    events::append(db, about, kind, &view, now)?;
    Ok(next)
}

/// The channel is gone: its conversations end with it.
fn end(db: &Db<'_>, thread: &Thread, now: Timestamp) -> Result<()> {
    if thread.conversation.status == ConversationStatus::Closed {
        return Ok(());
    }
    db.run(
        "UPDATE conversations SET status = ?2 WHERE id = ?1",
        params![key(thread.conversation.id), word(ConversationStatus::Closed)?],
    )?;
    tell_closed(db, thread, ClosedBy::ChannelDeleted, now)
}

/// Tells that nothing can pass in a conversation any more.
pub(super) fn tell_closed(db: &Db<'_>, thread: &Thread, reason: ClosedBy, now: Timestamp) -> Result<()> {
    let conversation = &thread.conversation;
    let closed = ClosedConversation {
        id: conversation.id,
        channel_id: conversation.channel_id,
        contact_id: conversation.contact.id,
        reason,
    };
    let about = About {
        channel: Some(conversation.channel_id),
        // Of what was erased nothing can be looked up.
        conversation: (reason != ClosedBy::ContactErased).then_some(conversation.id),
        ..About::workspace(&thread.workspace)
    };
    events::append(db, about, EventType::ConversationClosed, &closed, now)?;
    Ok(())
}

/// Tells that a conversation began, or began again.
pub(super) fn tell_opened(
    db: &Db<'_>,
    thread: &Thread,
    channel: &Channel,
    rules: &Rules,
    now: Timestamp,
) -> Result<()> {
    let opened = ConversationOpened {
        conversation: ConversationView::of(&thread.at(now), channel, rules, now),
        reason: thread.conversation.opened_by,
    };
    let about = About {
        conversation: Some(thread.conversation.id),
        ..About::channel(channel)
    };
    events::append(db, about, EventType::ConversationOpened, &opened, now)?;
    Ok(())
}

/// Somebody writes in a conversation: it is open again, if it was closed, and whether it was. The caller tells.
pub(super) fn reopen(db: &Db<'_>, rules: &Rules, thread: &mut Thread, now: Timestamp) -> Result<bool> {
    if thread.conversation.status == ConversationStatus::Open {
        return Ok(false);
    }
    thread.conversation.status = ConversationStatus::Open;
    look_in_time(rules, thread, now);
    conversations::save(db, thread)?;
    Ok(true)
}

/// The channel's end or its rules came between: its conversations are looked at again.
pub(super) fn look_again(db: &Db<'_>, channel: &Channel, now: Timestamp) -> Result<()> {
    let sql = match channel.status {
        // Its end concerns all that is open.
        ChannelStatus::Deleted => "UPDATE conversations SET news_at = ?2 WHERE channel_id = ?1 AND status = 'open'",
        // Its rules concern the windows that are.
        _ => "UPDATE conversations SET news_at = ?2 WHERE channel_id = ?1 AND news_at > ?2",
    };
    db.run(sql, params![key(channel.id), now.as_millis()])?;
    Ok(())
}
