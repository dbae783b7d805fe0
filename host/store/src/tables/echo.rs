//! Outbound messages that the platform has: known from the response of the send, an echo or the history, in any order.

use weir_domain::id::MessageId;
use weir_domain::message::{Message, MessageError, Origin, Status};
use weir_domain::record::echo::{Arrival, OtherMessage, OtherShares};
use weir_domain::record::settle::Outbound;
use weir_domain::record::{StoredConversation, StoredMessage};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::db::{Db, get_id, get_time, key, params};
use crate::tables::early;
use crate::tables::{messages, outbox};

/// What else is stored about an outbound message to which the platform gives this id.
pub(crate) fn arrival(db: &Db<'_>, outbound: &Outbound, platform_id: &str, at: Timestamp) -> Result<Arrival> {
    let channel = outbound.message.message.channel_id;
    let other = messages::stored_by_platform_id(db, channel, platform_id)?;
    let early = early::receipts_of(db, channel, known_as(outbound, platform_id))?;
    arrival_with(db, outbound, (platform_id, at), other, early)
}

/// The platform id under which receipts that arrived before the message are found.
pub(crate) fn known_as<'a>(outbound: &'a Outbound, platform_id: &'a str) -> &'a str {
    outbound.message.message.platform_id.as_deref().unwrap_or(platform_id)
}

/// The same, with the message that has the id already and its early receipts.
pub(crate) fn arrival_with(
    db: &Db<'_>,
    outbound: &Outbound,
    (platform_id, at): (&str, Timestamp),
    other: Option<StoredMessage>,
    early: Vec<(Status, Option<MessageError>)>,
) -> Result<Arrival> {
    let message = &outbound.message.message;
    let conversation = &outbound.conversation;
    let other = other
        .filter(|other| other.message.id != message.id)
        .map(|other| other_message(db, conversation, other).map(Box::new))
        .transpose()?;
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
        early: (!early.is_empty()).then(|| (known_as(outbound, platform_id).to_owned(), early)),
        others,
    })
}

/// A condition on messages: they were accepted by Weir, and are not echoes.
const IS_ACCEPTED: &str = "(EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.id)
    OR EXISTS (SELECT 1 FROM attempts t WHERE t.message_id = m.id))";

fn other_message(db: &Db<'_>, conversation: &StoredConversation, stored: StoredMessage) -> Result<OtherMessage> {
    let message = &stored.message;
    let is_accepted = db.exists(
        &format!("SELECT 1 FROM messages m WHERE id = ?1 AND {IS_ACCEPTED}"),
        [key(message.id)],
    )?;
    // The conversation without this message, if it is an echo and the newest.
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

/// What the platform's history, read completely and stored, shows of an uncertain message.
pub(crate) enum Seen {
    /// It is there, as this message of the platform.
    There { platform_id: String, at: Timestamp },
    /// A message is there that may be it.
    Perhaps,
    /// No message is there that could be it.
    Nothing,
}

/// Searches for an uncertain message among those of its conversation that the platform has shown since the earliest
/// possible time and that are not matched to an outbound message already.
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
            // A program sent it through the API: it may be this one, changed in transit.
            is_unclear = true;
        }
    }
    let others = outbox::in_flight(db, message.conversation_id)?;
    for other in others.into_iter().filter(|other| *other != message.id) {
        is_unclear |= message.content.looks_like(&messages::needed(db, other)?.content);
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
