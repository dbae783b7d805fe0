//! Messages: the row, and the one place that changes a status.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_domain::limits;
use weir_domain::message::{Content, Message, Referral};
use weir_domain::record::change::FoldedEcho;
use weir_domain::record::inbound::COUNTED;
use weir_domain::record::{StoredConversation, StoredMessage};
use weir_domain::time::Timestamp;

use crate::db::{
    Db, Row, Value, cursor_number, enum_text, fetch, get_enum, get_id, get_id_if, get_json, get_json_if, get_time,
    json, json_if, key, key_if, key_value, limit, listed, params,
};
use crate::{Listed, Page, Result, StoreError};

/// Properties that few messages have: one column for all.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extras {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) referral: Option<Referral>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform_data: Option<serde_json::Value>,
}

const MESSAGE: &str =
    "id, channel_id, conversation_id, contact_id, direction, origin, status, content, platform_id, reply_to,
    client_ref, error, extras, sent_at, created_at, sequence";

fn read(row: &Row<'_>) -> Result<Message> {
    let extras: Extras = get_json_if(row, 12, "messages.extras")?.unwrap_or_default();
    Ok(Message {
        id: get_id(row, 0)?,
        channel_id: get_id(row, 1)?,
        conversation_id: get_id(row, 2)?,
        contact_id: get_id(row, 3)?,
        direction: get_enum(row, 4, "messages.direction")?,
        origin: get_enum(row, 5, "messages.origin")?,
        status: get_enum(row, 6, "messages.status")?,
        content: get_json(row, 7, "messages.content")?,
        platform_id: row.get(8)?,
        reply_to: get_id_if(row, 9)?,
        referral: extras.referral,
        client_ref: row.get(10)?,
        error: get_json_if(row, 11, "messages.error")?,
        warnings: extras.warnings,
        answers: extras.answers,
        platform_data: extras.platform_data,
        sent_at: get_time(row, 13)?,
        created_at: get_time(row, 14)?,
        sequence: row.get(15)?,
    })
}

const STORED: &str = "workspace_id, part, counted, stands_at";

fn read_stored(row: &Row<'_>) -> Result<StoredMessage> {
    let stands_at: i64 = row.get(19)?;
    Ok(StoredMessage {
        message: read(row)?,
        workspace: row.get(16)?,
        part: row.get(17)?,
        counted: row.get(18)?,
        stands_at: (stands_at != LAST).then(|| Timestamp::from_millis(stands_at)),
    })
}

/// The parts of the messages with these platform ids.
pub(crate) fn named<'a>(
    db: &Db<'_>,
    names: impl IntoIterator<Item = (ChannelId, &'a str)>,
) -> Result<Vec<StoredMessage>> {
    db.wanted(
        names
            .into_iter()
            .map(|(channel, name)| [key_value(channel), name.to_owned().into()]),
        &[],
        &format!("SELECT {MESSAGE}, {STORED} FROM wanted CROSS JOIN messages ON channel_id = w1 AND platform_id = w2"),
        read_stored,
    )
}

pub(crate) fn by_ids(db: &Db<'_>, ids: impl IntoIterator<Item = MessageId>) -> Result<Vec<StoredMessage>> {
    db.wanted(
        ids.into_iter().map(|id| [key_value(id)]),
        &[],
        &format!("SELECT {MESSAGE}, {STORED} FROM wanted CROSS JOIN messages ON id = w1"),
        read_stored,
    )
}

/// Messages that count against the budget of their window, except those whose outcome is open, and were sent after a
/// moment.
pub(crate) fn counted_after(
    db: &Db<'_>,
    conversation: ConversationId,
    since: Option<Timestamp>,
) -> Result<Vec<(MessageId, Timestamp)>> {
    db.all(
        "SELECT id, sent_at FROM messages INDEXED BY messages_counted
         WHERE conversation_id = ?1 AND counted = 1 AND sent_at > ?2
           AND status IN ('sent', 'delivered', 'read', 'failed') LIMIT ?3",
        params![key(conversation), since.map_or(i64::MIN, Timestamp::as_millis), COUNTED],
        |row| Ok((get_id(row, 0)?, get_time(row, 1)?)),
    )
}

/// The times and positions of the contact's messages after a time and a position, the newest first.
pub(crate) fn unread_after(
    db: &Db<'_>,
    conversation: ConversationId,
    (echoed_at, seen): (Option<Timestamp>, i64),
) -> Result<Vec<(Timestamp, i64)>> {
    db.all(
        "SELECT stands_at, sequence FROM messages INDEXED BY messages_thread
         WHERE conversation_id = ?1 AND stands_at > ?2 AND sequence > ?3 AND direction = 'inbound'
         ORDER BY stands_at DESC LIMIT ?4",
        params![
            key(conversation),
            echoed_at.map_or(i64::MIN, Timestamp::as_millis),
            seen,
            COUNTED
        ],
        |row| Ok((get_time(row, 0)?, row.get(1)?)),
    )
}

/// The position of a message in its conversation while it is queued: after all others.
const LAST: i64 = i64::MAX;

fn extras(message: &Message) -> Result<Option<String>> {
    let extras = Extras {
        referral: message.referral.clone(),
        warnings: message.warnings.clone(),
        answers: message.answers.clone(),
        platform_data: message.platform_data.clone(),
    };
    json_if(Some(&extras).filter(|extras| **extras != Extras::default()))
}

/// Inserts new messages.
pub(crate) fn insert_all<'a>(db: &Db<'_>, new: impl IntoIterator<Item = &'a StoredMessage>) -> Result<()> {
    let values = |stored: &StoredMessage| -> Result<[Value; 20]> {
        let message = &stored.message;
        Ok([
            key_value(message.id),
            key_value(message.channel_id),
            key_value(message.conversation_id),
            key_value(message.contact_id),
            enum_text(message.direction)?.into(),
            enum_text(message.origin)?.into(),
            message.status.as_str().to_owned().into(),
            json(&message.content)?.into(),
            message.platform_id.clone().into(),
            key_if(message.reply_to).into(),
            message.client_ref.clone().into(),
            json_if(message.error.as_ref())?.into(),
            extras(message)?.into(),
            message.sent_at.as_millis().into(),
            message.created_at.as_millis().into(),
            message.sequence.into(),
            stored.workspace.clone().into(),
            i64::from(stored.part).into(),
            stored.counted.into(),
            place(stored.stands_at).into(),
        ])
    };
    let rows = new.into_iter().map(values).collect::<Result<Vec<_>>>()?;
    db.insert_all(&format!("INSERT INTO messages ({MESSAGE}, {STORED})"), &rows)?;
    Ok(())
}

fn place(stands_at: Option<Timestamp>) -> i64 {
    stands_at.map_or(LAST, Timestamp::as_millis)
}

/// Writes what differs. An engine rewrites the index of each column that an update names, changed or not; so columns
/// that seldom change are named only if they did.
pub(crate) fn update(db: &Db<'_>, before: &StoredMessage, after: &StoredMessage) -> Result<()> {
    let (known, message) = (&before.message, &after.message);
    let error = json_if(message.error.as_ref())?;
    let is_moved = (&known.platform_id, known.sent_at, before.stands_at)
        != (&message.platform_id, message.sent_at, after.stands_at);
    if is_moved {
        db.write(
            "UPDATE messages SET status = ?2, error = ?3, platform_id = ?4, sent_at = ?5, stands_at = ?6 WHERE id = ?1",
            params![
                key(message.id),
                message.status.as_str(),
                error,
                message.platform_id,
                message.sent_at.as_millis(),
                place(after.stands_at),
            ],
        )?;
    } else if (known.status, &known.error) != (message.status, &message.error) {
        db.write(
            "UPDATE messages SET status = ?2, error = ?3 WHERE id = ?1",
            params![key(message.id), message.status.as_str(), error],
        )?;
    }
    if before.counted != after.counted {
        db.write(
            "UPDATE messages SET counted = ?2 WHERE id = ?1",
            params![key(message.id), after.counted],
        )?;
    }
    let (known, of) = (extras(known)?, extras(message)?);
    if known != of || before.message.reply_to != message.reply_to || before.message.content != message.content {
        db.write(
            "UPDATE messages SET extras = ?2, reply_to = ?3, content = ?4 WHERE id = ?1",
            params![key(message.id), of, key_if(message.reply_to), json(&message.content)?],
        )?;
    }
    Ok(())
}

/// Deletes the row of an echo: messages that quoted it now quote the message that it is the echo of.
pub(crate) fn fold(db: &Db<'_>, folded: &FoldedEcho) -> Result<()> {
    db.write(
        "UPDATE messages SET reply_to = ?3 WHERE conversation_id = ?1 AND reply_to = ?2",
        params![key(folded.conversation), key(folded.echo), key(folded.of)],
    )?;
    db.write("DELETE FROM messages WHERE id = ?1", [key(folded.echo)])?;
    Ok(())
}

pub(crate) fn stored(db: &Db<'_>, id: MessageId) -> Result<Option<StoredMessage>> {
    db.one(
        &format!("SELECT {MESSAGE}, {STORED} FROM messages WHERE id = ?1"),
        [key(id)],
        read_stored,
    )
}

/// The message with this platform id, or the first part of it.
pub(crate) fn stored_by_platform_id(
    db: &Db<'_>,
    channel: ChannelId,
    platform_id: &str,
) -> Result<Option<StoredMessage>> {
    db.one(
        &format!("SELECT {MESSAGE}, {STORED} FROM messages WHERE channel_id = ?1 AND platform_id = ?2 AND part = 0"),
        params![key(channel), platform_id],
        read_stored,
    )
}

/// The messages at these positions of the outbox.
pub(crate) fn at_places(db: &Db<'_>, places: &[i64]) -> Result<BTreeMap<MessageId, Message>> {
    let rows = db.all(
        &format!(
            "SELECT {MESSAGE} FROM messages
             WHERE id IN (SELECT message_id FROM outbox WHERE n IN (SELECT value FROM json_each(?1)))"
        ),
        [places],
        read,
    )?;
    Ok(rows.into_iter().map(|message| (message.id, message)).collect())
}

pub(crate) fn by_id(db: &Db<'_>, id: MessageId) -> Result<Option<Message>> {
    db.one(
        &format!("SELECT {MESSAGE} FROM messages WHERE id = ?1"),
        [key(id)],
        read,
    )
}

/// The last message of each of these conversations: a queued one, or else the newest by the platform's time.
pub(crate) fn last_of(
    db: &Db<'_>,
    workspace: &str,
    conversations: &[ConversationId],
) -> Result<BTreeMap<ConversationId, Message>> {
    let sql = format!(
        "SELECT {MESSAGE} FROM messages WHERE conversation_id = ?1 AND workspace_id = ?2
         ORDER BY stands_at DESC, sequence DESC LIMIT 1"
    );
    let mut newest = BTreeMap::new();
    for id in conversations {
        newest.extend(
            db.one(&sql, params![key(*id), workspace], read)?
                .map(|message| (*id, message)),
        );
    }
    Ok(newest)
}

/// The message that another row references.
pub(crate) fn needed(db: &Db<'_>, id: MessageId) -> Result<Message> {
    by_id(db, id)?.ok_or_else(|| StoreError::Damaged {
        place: format!("messages, row {id}"),
        reason: "another row references it, and it is missing".to_owned(),
    })
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: MessageId) -> Result<Option<Message>> {
    db.one(
        &format!("SELECT {MESSAGE} FROM messages WHERE id = ?2 AND workspace_id = ?1"),
        params![workspace, key(id)],
        read,
    )
}

/// Messages that contain `words`, which are in lower case.
pub(crate) fn search(
    db: &Db<'_>,
    workspace: &str,
    of: &BTreeSet<ChannelId>,
    words: &str,
    page: &Page,
) -> Result<Listed<Message>> {
    // The bound is on the rows scanned. Rows that do not match are not kept.
    let scanned = db.all(
        "SELECT n, workspace_id, content, id, channel_id FROM messages WHERE n < ?1 ORDER BY n DESC LIMIT ?2",
        params![cursor_number(page), limits::MESSAGES_SEARCHED],
        |row| {
            let theirs =
                row.get::<&str>(1)? == workspace && (of.is_empty() || of.contains(&get_id::<ChannelId>(row, 4)?));
            let content: Option<Content> = if theirs {
                Some(get_json(row, 2, "messages.content")?)
            } else {
                None
            };
            let fits = content.is_some_and(|content| content.words().any(|text| text.to_lowercase().contains(words)));
            let id: Option<MessageId> = if fits { Some(get_id(row, 3)?) } else { None };
            Ok((row.get::<i64>(0)?, id))
        },
    )?;
    let last = scanned.last().map(|(n, _)| *n);
    let is_end = scanned.len() < limits::MESSAGES_SEARCHED as usize;
    let mut found = scanned.into_iter().filter_map(|(n, id)| Some((n, id?)));
    let hits: Vec<(i64, MessageId)> = found.by_ref().take(limit(page)).collect();
    // After the last hit shown, if the scanned rows have more hits; else after the last scanned row.
    let next = match (found.next(), hits.last()) {
        (Some(_), Some((n, _))) => Some(*n),
        _ => last.filter(|_| !is_end),
    };
    let mut rows = Vec::with_capacity(hits.len());
    for (_, id) in hits {
        rows.extend(one(db, workspace, id)?);
    }
    Ok(Listed {
        rows,
        next: next.map(|n| n.to_string()),
    })
}

pub(crate) fn of_conversation(
    db: &Db<'_>,
    workspace: &str,
    conversation: ConversationId,
    page: &Page,
) -> Result<Listed<Message>> {
    let (at, sequence) = cursor_place(page);
    let rows = db.all(
        &format!(
            "SELECT {MESSAGE}, stands_at FROM messages
             WHERE conversation_id = ?2 AND workspace_id = ?1 AND (stands_at, sequence) < (?3, ?4)
             ORDER BY stands_at DESC, sequence DESC LIMIT ?5"
        ),
        params![workspace, key(conversation), at, sequence, fetch(page)],
        |row| Ok((read(row)?, row.get::<i64>(16)?)),
    )?;
    let Listed { rows, next } = listed(page, rows, |(last, stands_at)| format!("{stands_at}.{}", last.sequence));
    let rows = rows.into_iter().map(|(message, _)| message).collect();
    Ok(Listed { rows, next })
}

/// A position in a thread: the time and sequence of the last message shown, or the end of the thread.
fn cursor_place(page: &Page) -> (i64, i64) {
    let parts = page.cursor.as_deref().and_then(|cursor| cursor.split_once('.'));
    let place = parts.and_then(|(at, sequence)| Some((at.parse().ok()?, sequence.parse().ok()?)));
    place.unwrap_or((i64::MAX, i64::MAX))
}

/// Recounts the contact's unread messages: a message sent from elsewhere implies that all before it were read.
pub(crate) fn count_unread(db: &Db<'_>, thread: &mut StoredConversation) -> Result<()> {
    let marks = thread.marks;
    let unread = db.one(
        "SELECT count(*) FROM (
             SELECT 1 FROM messages INDEXED BY messages_thread
             WHERE conversation_id = ?1 AND stands_at > ?2 AND sequence > ?3 AND direction = 'inbound' LIMIT ?4) AS counted",
        params![
            key(thread.conversation.id),
            marks.echoed_at.map_or(i64::MIN, Timestamp::as_millis),
            marks.seen_sequence,
            COUNTED,
        ],
        |row| row.get::<u32>(0),
    )?;
    thread.conversation.unread = unread.unwrap_or(0);
    Ok(())
}

pub(crate) fn by_client_ref(db: &Db<'_>, channel: ChannelId, client_ref: &str) -> Result<Option<MessageId>> {
    db.one(
        "SELECT id FROM messages WHERE channel_id = ?1 AND client_ref = ?2",
        params![key(channel), client_ref],
        |row| get_id(row, 0),
    )
}

/// The outbound messages, known to the platform, that a read receipt covers: bounded by an index of only those.
pub(crate) fn sent_up_to(db: &Db<'_>, conversation: ConversationId, at: Timestamp) -> Result<Vec<StoredMessage>> {
    db.all(
        &format!(
            "SELECT {MESSAGE}, {STORED} FROM messages
             WHERE conversation_id = ?1 AND sent_at <= ?2 AND status IN ('sent', 'delivered') ORDER BY sent_at, sequence"
        ),
        params![key(conversation), at.as_millis()],
        read_stored,
    )
}

/// Replaces a message's content: its media arrived, or never will.
pub(crate) fn put_content(db: &Db<'_>, id: MessageId, content: &Content) -> Result<()> {
    db.write(
        "UPDATE messages SET content = ?2 WHERE id = ?1",
        params![key(id), json(content)?],
    )?;
    Ok(())
}

/// The contact's first message at or after a moment.
pub(crate) fn first_after(db: &Db<'_>, conversation: ConversationId, at: Timestamp) -> Result<Option<StoredMessage>> {
    db.one(
        &format!(
            "SELECT {MESSAGE}, {STORED} FROM messages INDEXED BY messages_thread
             WHERE conversation_id = ?1 AND stands_at >= ?2 AND direction = 'inbound' ORDER BY stands_at, sequence LIMIT 1"
        ),
        params![key(conversation), at.as_millis()],
        read_stored,
    )
}
