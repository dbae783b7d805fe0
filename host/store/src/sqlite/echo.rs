//! Messages of ours that the platform has: told by the answer of the send, by an echo, or by the history, in any order.

use rusqlite::params;
use weir_domain::event::EventType;
use weir_domain::id::MessageId;
use weir_domain::inbound::InboundMessage;
use weir_domain::message::{Direction, Message, Origin, Status};
use weir_domain::policy::Rules;
use weir_domain::record::echo::{Arrival, OtherMessage, OtherShares};
use weir_domain::record::settle::Outbound;
use weir_domain::record::{StoredConversation, StoredMessage};
use weir_domain::time::Timestamp;

use crate::sqlite::db::{Db, get_id, get_time, key};
use crate::sqlite::early;
use crate::sqlite::messages::{self, Step};
use crate::sqlite::outbox::{self, Left};
use crate::{Result, acts};

/// What the record knows beside a message of ours that the platform gives this id.
pub(crate) fn arrival(db: &Db<'_>, outbound: &Outbound, platform_id: &str, at: Timestamp) -> Result<Arrival> {
    let message = &outbound.message.message;
    let conversation = &outbound.conversation;
    let other = messages::stored_by_platform_id(db, message.channel_id, platform_id)?
        .filter(|other| other.message.id != message.id)
        .map(|other| beside(db, conversation, other).map(Box::new))
        .transpose()?;
    let known_as = message.platform_id.as_deref().unwrap_or(platform_id);
    let early = early::said_of(db, message.channel_id, known_as)?;
    let others = match conversation.conversation.contact_wrote_at {
        Some(since) if at.min(message.sent_at) <= since => {
            let folded = other.as_ref().filter(|other| other.is_echo_of(&outbound.message));
            let folded = folded.map(|other| other.stored.message.id);
            outbox::other_shares(db, conversation.conversation.id, since, message.id, folded)?
        }
        _ => OtherShares::default(),
    };
    Ok(Arrival {
        other,
        early: (!early.is_empty()).then(|| (known_as.to_owned(), early)),
        others,
    })
}

/// A condition on messages: they were accepted here, and are no echoes.
const IS_ACCEPTED: &str = "(EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.id)
    OR EXISTS (SELECT 1 FROM attempts t WHERE t.message_id = m.id))";

fn beside(db: &Db<'_>, conversation: &StoredConversation, stored: StoredMessage) -> Result<OtherMessage> {
    let message = &stored.message;
    let is_accepted = db.exists(
        &format!("SELECT 1 FROM messages m WHERE id = ?1 AND {IS_ACCEPTED}"),
        [key(message.id)],
    )?;
    // As it is without this one, if this one is an echo and the newest.
    let mut without = conversation.clone();
    if conversation.marks.echoed_at == Some(message.sent_at) {
        without.marks.echoed_at = db.one(
            &format!(
                "SELECT sent_at FROM messages m INDEXED BY messages_thread
                 WHERE conversation_id = ?1 AND stands_at <= ?2 AND direction = 'outbound' AND id <> ?3 AND NOT {IS_ACCEPTED}
                   AND status IN ('sent', 'delivered', 'read') ORDER BY stands_at DESC LIMIT 1"
            ),
            params![
                key(message.conversation_id),
                message.sent_at.as_millis(),
                key(message.id)
            ],
            |row| get_time(row, 0),
        )?;
        messages::count_unread(db, &mut without)?;
    }
    Ok(OtherMessage {
        stored,
        is_accepted,
        echoed_at: without.marks.echoed_at,
        unread: without.conversation.unread,
    })
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
    now: Timestamp,
) -> Result<()> {
    if messages::advance(db, message, Status::Sent, step)? {
        messages::tell(db, &thread.workspace, message, EventType::MessageSent, now)?;
    }
    thread.note_sent(message.sent_at);
    early::apply(db, &thread.workspace, message, now)?;
    let is_read = thread.read_up_to.is_some_and(|read| message.sent_at <= read);
    if is_read && messages::advance(db, message, Status::Read, Step::default())? {
        messages::tell(db, &thread.workspace, message, EventType::MessageRead, now)?;
    }
    Ok(())
}

/// The platform shows a message of ours. Matched to the message of that id, or else to the one message of the conversation
/// that left, looks the same and has no answer yet; two that look the same are not guessed between. Whether it was matched.
/// A message that is still in a worker's hands stays leased: the answer finds it sent. The caller saves the thread.
pub(crate) fn matched(
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
    move_on(db, thread, &mut message, step, now)?;
    if left.uncertain {
        acts::outbox::remove(db, &message, now)?;
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
pub(crate) enum Seen {
    /// It is there, as this message of the platform.
    There { platform_id: String, at: Timestamp },
    /// Something is there that may be it.
    Perhaps,
    /// Nothing is there that could be it.
    Nothing,
}

/// Looks for a message in doubt among those of its conversation that the platform has shown since the earliest time possible and that are none of
/// ours: what another of our messages was matched to is not this one.
pub(crate) fn seen(db: &Db<'_>, message: &Message, possible_since: Timestamp, likely_since: Timestamp) -> Result<Seen> {
    let strangers: Vec<MessageId> = db.all(
        &format!(
            "SELECT id FROM messages m WHERE conversation_id = ?1 AND direction = 'outbound' AND stands_at >= ?2
               AND platform_id IS NOT NULL AND id <> ?3 AND NOT {IS_ACCEPTED} ORDER BY stands_at, sequence"
        ),
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
pub(crate) fn known(
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
        move_on(db, thread, message, step, now)?;
        if before == Status::Uncertain {
            acts::outbox::remove(db, message, now)?;
        }
    } else if message.sent_at != told.sent_at {
        messages::date(db, message, told.sent_at)?;
        move_on(db, thread, message, Step::default(), now)?;
        // The corrected time may lie on the other side of the contact's last word.
        messages::count_budget(db, thread)?;
    }
    Ok(message.status != before)
}
