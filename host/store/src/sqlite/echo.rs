//! Messages of ours that the platform has: told by the answer of the send, by an echo, or by the history, in any order.

use rusqlite::params;
use weir_domain::event::EventType;
use weir_domain::id::MessageId;
use weir_domain::inbound::InboundMessage;
use weir_domain::message::{Direction, Message, Origin, Status};
use weir_domain::policy::Rules;
use weir_domain::record::StoredConversation;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::conversations;
use crate::sqlite::db::{Db, get_id, get_time, key};
use crate::sqlite::early;
use crate::sqlite::messages::{self, Step};
use crate::sqlite::outbox::{self, Left};

/// The platform has this message: its answer, the history or a person says so. Takes it out of the outbox.
pub(super) fn arrived(
    db: &Db<'_>,
    message: &mut Message,
    platform_id: &str,
    at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let mut thread = conversations::needed(db, message.conversation_id)?;
    let other = messages::by_platform_id(db, message.channel_id, platform_id, Some(0))?;
    let other = other.filter(|other| other.id != message.id);
    let folded = match &other {
        Some(echo) => fold_echo(db, &mut thread, message, echo)?,
        None => None,
    };
    let free = other.is_none() || folded.is_some();
    if !free {
        // Two sends with one id: the platform or its connector is wrong. The message was taken; its id is not believed.
        tracing::warn!(message.id = %message.id, "The platform gave this message the id of another");
    }
    let step = Step {
        platform_id: free.then(|| platform_id.to_owned()),
        sent_at: Some(at),
        error: None,
    };
    move_on(db, &mut thread, message, step, folded, now)?;
    outbox::remove(db, message)?;
    count_again(db, &mut thread, message)?;
    conversations::save(db, &thread)
}

/// A message that left before the contact's last word, and whose answer came after it, does not count in the new window.
fn count_again(db: &Db<'_>, thread: &mut StoredConversation, message: &Message) -> Result<()> {
    let wrote_at = thread.conversation.contact_wrote_at;
    if wrote_at.is_some_and(|wrote_at| message.sent_at <= wrote_at) {
        messages::count_budget(db, thread)?;
    }
    Ok(())
}

/// Sent; and further, if a receipt or a watermark was here before the answer.
fn move_on(
    db: &Db<'_>,
    thread: &mut StoredConversation,
    message: &mut Message,
    step: Step,
    at_least: Option<Status>,
    now: Timestamp,
) -> Result<()> {
    if messages::advance(db, message, Status::Sent, step)? {
        messages::tell(db, &thread.workspace, message, EventType::MessageSent, now)?;
    }
    thread.note_sent(message.sent_at);
    early::apply(db, &thread.workspace, message, now)?;
    let read = thread.read_up_to.is_some_and(|read| message.sent_at <= read) || at_least == Some(Status::Read);
    let (status, kind) = if read {
        (Status::Read, EventType::MessageRead)
    } else if at_least == Some(Status::Delivered) {
        (Status::Delivered, EventType::MessageDelivered)
    } else {
        return Ok(());
    };
    if messages::advance(db, message, status, Step::default())? {
        messages::tell(db, &thread.workspace, message, kind, now)?;
    }
    Ok(())
}

/// An echo that came first and matched nothing was stored as a message of its own: now it is known whose echo it is. Our
/// message stays and the echo's row goes, with its share of the budget; its place in the conversation stays empty, since the
/// places after it were told already. Gives how far the echo had come.
fn fold_echo(
    db: &Db<'_>,
    thread: &mut StoredConversation,
    message: &Message,
    echo: &Message,
) -> Result<Option<Status>> {
    let may_be_its_echo = echo.direction == Direction::Outbound
        && echo.conversation_id == message.conversation_id
        && echo.client_ref.is_none()
        && !matches!(echo.origin, Origin::Console);
    if !may_be_its_echo {
        return Ok(None);
    }
    // A message of our own outbox has attempts; an echo has none.
    if db.exists("SELECT 1 FROM attempts WHERE message_id = ?1", [key(echo.id)])? {
        return Ok(None);
    }
    let counted = db.exists("SELECT 1 FROM messages WHERE id = ?1 AND counted = 1", [key(echo.id)])?;
    if counted
        && thread
            .conversation
            .contact_wrote_at
            .is_none_or(|wrote| echo.sent_at > wrote)
    {
        thread.conversation.budget_used = thread.conversation.budget_used.saturating_sub(1);
    }
    db.run(
        "UPDATE messages SET reply_to = ?3 WHERE conversation_id = ?1 AND reply_to = ?2",
        params![key(message.conversation_id), key(echo.id), key(message.id)],
    )?;
    db.run("DELETE FROM messages WHERE id = ?1", [key(echo.id)])?;
    // It was no message from elsewhere, so it says nothing of who has read what.
    if thread.marks.echoed_at == Some(echo.sent_at) {
        thread.marks.echoed_at = db.one(
            "SELECT sent_at FROM messages INDEXED BY messages_thread
             WHERE conversation_id = ?1 AND stands_at <= ?2 AND direction = 'outbound'
               AND NOT EXISTS (SELECT 1 FROM attempts WHERE message_id = messages.id)
               AND status IN ('sent', 'delivered', 'read') ORDER BY stands_at DESC LIMIT 1",
            params![key(message.conversation_id), echo.sent_at.as_millis()],
            |row| get_time(row, 0),
        )?;
        messages::count_unread(db, thread)?;
    }
    Ok(Some(echo.status))
}

/// The platform shows a message of ours. Matched to the message of that id, or else to the one message of the conversation
/// that left, looks the same and has no answer yet; two that look the same are not guessed between. Whether it was matched.
/// A message that is still in a worker's hands stays leased: the answer finds it sent. The caller saves the thread.
pub(super) fn matched(
    db: &Db<'_>,
    rules: &Rules,
    thread: &mut StoredConversation,
    told: &InboundMessage,
    now: Timestamp,
) -> Result<Option<Message>> {
    let Some(left) = candidate(db, rules, thread, told)? else {
        return Ok(None);
    };
    let mut message = messages::needed(db, left.message)?;
    let step = Step {
        platform_id: Some(told.platform_id.clone()),
        sent_at: Some(told.sent_at),
        error: None,
    };
    move_on(db, thread, &mut message, step, None, now)?;
    if left.uncertain {
        outbox::remove(db, &message)?;
        count_again(db, thread, &message)?;
    }
    Ok(Some(message))
}

fn candidate(db: &Db<'_>, rules: &Rules, thread: &StoredConversation, told: &InboundMessage) -> Result<Option<Left>> {
    // Our own sends have one part, and come back as the API's.
    if told.origin != Origin::Api || told.part != 0 {
        return Ok(None);
    }
    let mut alike = Vec::new();
    for left in outbox::left(db, thread.conversation.id)? {
        let message = messages::needed(db, left.message)?;
        if message.platform_id.is_none()
            && told.sent_at >= rules.likely_since(left.dispatched_at)
            && message.content.looks_like(&told.content)
        {
            alike.push(left);
        }
    }
    Ok(if alike.len() == 1 { alike.pop() } else { None })
}

/// What the platform's history, read completely and recorded, says of a message in doubt.
pub(super) enum Seen {
    /// It is there, as this message of the platform.
    There { platform_id: String, at: Timestamp },
    /// Something is there that may be it.
    Perhaps,
    /// Nothing is there that could be it.
    Nothing,
}

/// Looks for a message in doubt among those of its conversation that the platform has shown since the earliest time possible and that are none of
/// ours: what another of our messages was matched to is not this one.
pub(super) fn seen(db: &Db<'_>, message: &Message, possible_since: Timestamp, likely_since: Timestamp) -> Result<Seen> {
    let strangers: Vec<MessageId> = db.all(
        "SELECT id FROM messages m WHERE conversation_id = ?1 AND direction = 'outbound' AND stands_at >= ?2
           AND platform_id IS NOT NULL AND id <> ?3 AND NOT EXISTS (SELECT 1 FROM attempts WHERE message_id = m.id)
         ORDER BY stands_at, sequence",
        params![
            key(message.conversation_id),
            possible_since.as_millis(),
            key(message.id)
        ],
        |row| get_id(row, 0),
    )?;
    let mut alike = Vec::new();
    let mut is_unclear = false;
    for id in strangers {
        let shown = messages::needed(db, id)?;
        if message.content.looks_like(&shown.content) {
            alike.push(shown);
        } else if shown.origin == Origin::Api && shown.content.kind() == message.content.kind() {
            // Sent through the API by a program: it may be ours, changed on its way.
            is_unclear = true;
        }
    }
    let others_in_doubt = outbox::left(db, message.conversation_id)?
        .into_iter()
        .filter(|left| left.message != message.id);
    for left in others_in_doubt {
        is_unclear |= message.content.looks_like(&messages::needed(db, left.message)?.content);
    }
    Ok(match alike.pop() {
        Some(shown)
            if alike.is_empty() && !is_unclear && shown.origin == Origin::Api && shown.sent_at >= likely_since =>
        {
            Seen::There {
                platform_id: shown.platform_id.unwrap_or_default(),
                at: shown.sent_at,
            }
        }
        Some(_) => Seen::Perhaps,
        None if is_unclear => Seen::Perhaps,
        None => Seen::Nothing,
    })
}

/// An echo of a message that we know by its id: it is there, whatever we thought of it. Its time is the platform's, by which
/// the platform's read marks go; ours, noted when the answer came, may be later.
pub(super) fn known(
    db: &Db<'_>,
    thread: &mut StoredConversation,
    message: &mut Message,
    told: &InboundMessage,
    now: Timestamp,
) -> Result<bool> {
    let before = message.status;
    let step = Step {
        platform_id: None,
        sent_at: Some(told.sent_at),
        error: None,
    };
    if message.direction != Direction::Outbound {
        return Ok(false);
    }
    if message.status.may_become(Status::Sent) {
        move_on(db, thread, message, step, None, now)?;
        if before == Status::Uncertain {
            outbox::remove(db, message)?;
        }
    } else if message.sent_at != told.sent_at {
        messages::date(db, message, told.sent_at)?;
        move_on(db, thread, message, Step::default(), None, now)?;
        // The corrected time may lie on the other side of the contact's last word.
        messages::count_budget(db, thread)?;
    }
    Ok(message.status != before)
}
