//! Contacts and conversations: reading them, and the conversation's row as the acts that write it see it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::ControlFlow;

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::conversation::{Contact, Conversation, Marks};
use weir_domain::id::{ChannelId, ContactId, ConversationId};
use weir_domain::limits;
use weir_domain::record::change::Write as Change;
use weir_domain::record::{StoredContact, StoredConversation, Tracked};
use weir_domain::time::Timestamp;

use crate::db::{
    Db, Param, Row, Value, cursor_id, enum_text, fetch, get_enum, get_id, get_json_if, get_time, get_time_if, json_if,
    key, key_if, key_value, limit, listed, ms, params,
};
use crate::{ConversationFilter, Listed, Page, Result};

// ---- contacts ------------------------------------------------------------------------------------------------------

const CONTACT: &str = "id, channel_id, platform_id, username, display_name, avatar_url, created_at";

fn read_contact(row: &Row<'_>, at: usize) -> Result<Contact> {
    Ok(Contact {
        id: get_id(row, at)?,
        channel_id: get_id(row, at + 1)?,
        platform_id: row.get(at + 2)?,
        username: row.get(at + 3)?,
        display_name: row.get(at + 4)?,
        avatar_url: row.get(at + 5)?,
        created_at: get_time(row, at + 6)?,
    })
}

pub(crate) fn contact(db: &Db<'_>, workspace: &str, id: ContactId) -> Result<Option<Contact>> {
    db.one(
        &format!("SELECT {CONTACT} FROM contacts WHERE id = ?2 AND workspace_id = ?1"),
        params![workspace, key(id)],
        |row| read_contact(row, 0),
    )
}

pub(crate) fn contacts(db: &Db<'_>, workspace: &str, of: &BTreeSet<ChannelId>, page: &Page) -> Result<Listed<Contact>> {
    let cursor = cursor_id::<ContactId>(page);
    let rows = if of.is_empty() {
        db.all(
            &format!("SELECT {CONTACT} FROM contacts WHERE workspace_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"),
            params![workspace, cursor, fetch(page)],
            |row| read_contact(row, 0),
        )?
    } else {
        let sql = format!(
            "SELECT {CONTACT} FROM contacts WHERE channel_id = ?2 AND workspace_id = ?1 AND id < ?3
             ORDER BY id DESC LIMIT ?4"
        );
        let each = |channel: &ChannelId| {
            db.all(&sql, params![workspace, key(*channel), cursor, fetch(page)], |row| {
                read_contact(row, 0)
            })
        };
        let mut rows = of.iter().map(each).collect::<Result<Vec<_>>>()?.concat();
        rows.sort_by_key(|contact| Reverse(contact.id));
        rows
    };
    Ok(listed(page, rows, |last| last.id.to_string()))
}

// ---- conversations -------------------------------------------------------------------------------------------------

const COLUMNS: &str = "c.id, c.channel_id, c.platform_id, c.status, c.opened_by, c.answered, c.contact_wrote_at,
    c.budget_used, c.images_allowed, nullif(c.last_message_at, 0), c.created_at, c.workspace_id, c.we_wrote_at, c.read_up_to, c.sequence,
    p.id, p.channel_id, p.platform_id, p.username, p.display_name, p.avatar_url, p.created_at, c.images_until, c.unread, c.news_at, c.replied,
    c.first_wrote_at, c.echoed_at, c.seen_sequence, c.referral, c.begun_at, c.named_at";
const FROM: &str = "FROM conversations c JOIN contacts p ON p.id = c.contact_id";

fn read_thread(row: &Row<'_>) -> Result<StoredConversation> {
    Ok(StoredConversation {
        conversation: Conversation {
            id: get_id(row, 0)?,
            channel_id: get_id(row, 1)?,
            contact: read_contact(row, 15)?,
            platform_id: row.get(2)?,
            status: get_enum(row, 3, "conversations.status")?,
            opened_by: get_enum(row, 4, "conversations.opened_by")?,
            answered: row.get(5)?,
            replied: row.get(25)?,
            contact_wrote_at: get_time_if(row, 6)?,
            budget_used: row.get(7)?,
            images_allowed: row.get(8)?,
            last_message_at: get_time_if(row, 9)?,
            unread: row.get(23)?,
            referral: get_json_if(row, 29, "conversations.referral")?,
            created_at: get_time(row, 10)?,
        },
        workspace: row.get(11)?,
        marks: Marks {
            first_answer_at: get_time_if(row, 26)?,
            last_answer_at: get_time_if(row, 12)?,
            echoed_at: get_time_if(row, 27)?,
            seen_sequence: row.get(28)?,
        },
        read_up_to: get_time_if(row, 13)?,
        begun_at: get_time_if(row, 30)?,
        named_at: get_time(row, 31)?,
        sequence: row.get(14)?,
        window_event_at: get_time_if(row, 24)?,
        images_until: get_time_if(row, 22)?,
    })
}

fn read_conversation(row: &Row<'_>) -> Result<Conversation> {
    read_thread(row).map(|thread| thread.conversation)
}

pub(crate) fn thread(db: &Db<'_>, id: ConversationId) -> Result<Option<StoredConversation>> {
    db.one(
        &format!("SELECT {COLUMNS} {FROM} WHERE c.id = ?1"),
        [key(id)],
        read_thread,
    )
}

/// The conversation that another row references.
pub(crate) fn needed(db: &Db<'_>, id: ConversationId) -> Result<StoredConversation> {
    thread(db, id)?.ok_or_else(|| crate::StoreError::Damaged {
        place: format!("conversations, row {id}"),
        reason: "another row references it, and it is missing".to_owned(),
    })
}

/// The conversations of the messages at these positions of the outbox.
pub(crate) fn at_places(db: &Db<'_>, places: &[i64]) -> Result<BTreeMap<ConversationId, StoredConversation>> {
    let rows = db.all(
        &format!(
            "SELECT {COLUMNS} {FROM}
             WHERE c.id IN (SELECT conversation_id FROM outbox WHERE n IN (SELECT value FROM json_each(?1)))"
        ),
        [places],
        read_thread,
    )?;
    Ok(rows
        .into_iter()
        .map(|stored| (stored.conversation.id, stored))
        .collect())
}

/// The conversation with a contact that was active last.
pub(crate) fn with(db: &Db<'_>, workspace: &str, contact: ContactId) -> Result<Option<Conversation>> {
    let newest: Option<ConversationId> = db.one(
        "SELECT id FROM conversations WHERE contact_id = ?1 ORDER BY last_message_at DESC LIMIT 1",
        [key(contact)],
        |row| get_id(row, 0),
    )?;
    match newest {
        Some(id) => one(db, workspace, id),
        None => Ok(None),
    }
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: ConversationId) -> Result<Option<Conversation>> {
    Ok(thread(db, id)?
        .filter(|thread| thread.workspace == workspace)
        .map(|thread| thread.conversation))
}

/// A conversation's position in lists: one without a message comes last, as if its time were zero.
type Place = (Timestamp, ConversationId);

fn place(conversation: &Conversation) -> Place {
    (conversation.last_message_at.unwrap_or_default(), conversation.id)
}

pub(crate) fn all(
    db: &Db<'_>,
    workspace: &str,
    filter: &ConversationFilter,
    page: &Page,
) -> Result<Listed<Conversation>> {
    let mut pages = Vec::new();
    if filter.channels.is_empty() {
        pages.push(page_of(db, workspace, None, filter, page)?);
    }
    for channel in &filter.channels {
        pages.push(page_of(db, workspace, Some(*channel), filter, page)?);
    }
    // The channel whose scan ended first may have more.
    let end = pages.iter().filter_map(|(_, next)| *next).max();
    let mut rows: Vec<Conversation> = pages.into_iter().flat_map(|(rows, _)| rows).collect();
    rows.retain(|row| end.is_none_or(|end| place(row) >= end));
    rows.sort_by_key(|row| Reverse(place(row)));
    let next = if rows.len() > limit(page) {
        rows.truncate(limit(page));
        rows.last().map(place)
    } else {
        end
    };
    Ok(Listed {
        rows,
        next: next.map(|(at, id)| format!("{}.{id}", at.as_millis())),
    })
}

/// The rows that one page's scan finds in one channel, or in all, and where it ended if more may follow.
fn page_of(
    db: &Db<'_>,
    workspace: &str,
    channel: Option<ChannelId>,
    filter: &ConversationFilter,
    page: &Page,
) -> Result<(Vec<Conversation>, Option<Place>)> {
    let (at, id) = cursor(page).unwrap_or((i64::MAX, [u8::MAX; 16]));
    // Two statements, so that each keeps to its index.
    let of = match channel {
        Some(_) => "c.workspace_id || '' = ?1 AND c.channel_id = ?4",
        None => "c.workspace_id = ?1 AND ?4 IS NULL",
    };
    let sql = format!(
        "SELECT {COLUMNS} {FROM} WHERE {of} AND (c.last_message_at, c.id) < (?2, ?3)
         ORDER BY c.last_message_at DESC, c.id DESC"
    );
    // The bound is on the whole page.
    let bound = limits::ROWS_SCANNED / filter.channels.len().max(1);
    let (mut found, mut scanned, mut last, mut next) = (Vec::new(), 0, None, None);
    db.each(&sql, params![workspace, at, id, key_if(channel)], |row| {
        if scanned == bound {
            next = last;
            return Ok(ControlFlow::Break(()));
        }
        scanned += 1;
        let conversation = read_conversation(row)?;
        let here = place(&conversation);
        if filter.wants(&conversation) {
            if found.len() == limit(page) {
                next = last;
                return Ok(ControlFlow::Break(()));
            }
            found.push(conversation);
        }
        last = Some(here);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((found, next))
}

fn cursor(page: &Page) -> Option<(i64, [u8; 16])> {
    let (at, id) = page.cursor.as_deref()?.split_once('.')?;
    Some((at.parse().ok()?, key(id.parse::<ConversationId>().ok()?)))
}

pub(crate) fn set_images_allowed(
    db: &Db<'_>,
    workspace: &str,
    id: ConversationId,
    allowed: bool,
    until: Timestamp,
) -> Result<()> {
    db.write(
        "UPDATE conversations SET images_allowed = ?3, images_until = ?4 WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace, allowed, until.as_millis()],
    )?;
    Ok(())
}

pub(crate) fn insert(db: &Db<'_>, stored: &StoredConversation) -> Result<()> {
    let StoredConversation {
        conversation, marks, ..
    } = stored;
    db.write(
        "INSERT INTO conversations (id, workspace_id, channel_id, contact_id, platform_id, status, opened_by, answered,
             contact_wrote_at, we_wrote_at, read_up_to, budget_used, sequence, last_message_at, unread, replied, first_wrote_at,
             echoed_at, seen_sequence, named_at, begun_at, referral, news_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        params![
            key(conversation.id),
            stored.workspace,
            key(conversation.channel_id),
            key(conversation.contact.id),
            conversation.platform_id,
            enum_text(conversation.status)?,
            enum_text(conversation.opened_by)?,
            conversation.answered,
            ms(conversation.contact_wrote_at),
            ms(marks.last_answer_at),
            ms(stored.read_up_to),
            conversation.budget_used,
            stored.sequence,
            ms(conversation.last_message_at).unwrap_or(0),
            conversation.unread,
            conversation.replied,
            ms(marks.first_answer_at),
            ms(marks.echoed_at),
            marks.seen_sequence,
            stored.named_at.as_millis(),
            ms(stored.begun_at),
            json_if(conversation.referral.as_ref())?,
            ms(stored.window_event_at),
            conversation.created_at.as_millis(),
        ],
    )?;
    Ok(())
}

/// Writes what differs. An engine rewrites the index of each column that an update names, changed or not; so the two
/// indexed columns are named only if they changed, and the document only if it did.
pub(crate) fn update(db: &Db<'_>, before: &StoredConversation, after: &StoredConversation) -> Result<()> {
    let StoredConversation {
        conversation, marks, ..
    } = after;
    let known = &before.conversation;
    let mut sql = "UPDATE conversations SET status = ?2, opened_by = ?3, answered = ?4, contact_wrote_at = ?5, we_wrote_at = ?6,
         read_up_to = ?7, budget_used = ?8, sequence = ?9, unread = ?10, replied = ?11, first_wrote_at = ?12, echoed_at = ?13,
         seen_sequence = ?14, named_at = ?15, begun_at = ?16"
        .to_owned();
    let mut named: Vec<(&str, Value)> = Vec::new();
    if known.last_message_at != conversation.last_message_at {
        named.push(("last_message_at", ms(conversation.last_message_at).unwrap_or(0).into()));
    }
    if before.window_event_at != after.window_event_at {
        named.push(("news_at", ms(after.window_event_at).into()));
    }
    if known.referral != conversation.referral {
        named.push(("referral", json_if(conversation.referral.as_ref())?.into()));
    }
    for (n, (column, _)) in named.iter().enumerate() {
        let _ = write!(sql, ", {column} = ?{}", 17 + n);
    }
    sql.push_str(" WHERE id = ?1");
    let named: Vec<Param<'_>> = named.iter().map(|(_, value)| value.to_param()).collect();
    db.write(
        &sql,
        [
            params![
                key(conversation.id),
                enum_text(conversation.status)?,
                enum_text(conversation.opened_by)?,
                conversation.answered,
                ms(conversation.contact_wrote_at),
                ms(marks.last_answer_at),
                ms(after.read_up_to),
                conversation.budget_used,
                after.sequence,
                conversation.unread,
                conversation.replied,
                ms(marks.first_answer_at),
                ms(marks.echoed_at),
                marks.seen_sequence,
                after.named_at.as_millis(),
                ms(after.begun_at),
            ],
            &named,
        ]
        .concat(),
    )?;
    Ok(())
}

/// The conversations with these platform ids.
pub(crate) fn named<'a>(
    db: &Db<'_>,
    names: impl IntoIterator<Item = (ChannelId, &'a str)>,
) -> Result<Vec<StoredConversation>> {
    db.wanted(
        names
            .into_iter()
            .map(|(channel, name)| [key_value(channel), name.to_owned().into()]),
        &[],
        &format!(
            "SELECT {COLUMNS} FROM wanted CROSS JOIN conversations c ON c.channel_id = w1 AND c.platform_id = w2
             CROSS JOIN contacts p ON p.id = c.contact_id"
        ),
        read_thread,
    )
}

pub(crate) fn by_ids(db: &Db<'_>, ids: impl IntoIterator<Item = ConversationId>) -> Result<Vec<StoredConversation>> {
    db.wanted(
        ids.into_iter().map(|id| [key_value(id)]),
        &[],
        &format!(
            "SELECT {COLUMNS} FROM wanted CROSS JOIN conversations c ON c.id = w1
             CROSS JOIN contacts p ON p.id = c.contact_id"
        ),
        read_thread,
    )
}

/// The contacts with these platform ids. Name times that their conversations stored count as theirs.
pub(crate) fn contacts_named(
    db: &Db<'_>,
    names: impl IntoIterator<Item = (ChannelId, String)>,
) -> Result<Vec<StoredContact>> {
    db.wanted(
        names
            .into_iter()
            .map(|(channel, name)| [key_value(channel), name.into()]),
        &[],
        &format!(
            "SELECT {CONTACT}, workspace_id, username_at, display_name_at, avatar_at,
                 (SELECT coalesce(max(c.named_at), 0) FROM conversations c WHERE c.contact_id = p.id)
             FROM wanted CROSS JOIN contacts p ON p.channel_id = w1 AND p.platform_id = w2"
        ),
        |row| {
            let noted = get_time(row, 11)?;
            Ok(StoredContact {
                contact: read_contact(row, 0)?,
                workspace: row.get(7)?,
                named_at: [
                    get_time(row, 8)?.max(noted),
                    get_time(row, 9)?.max(noted),
                    get_time(row, 10)?.max(noted),
                ],
            })
        },
    )
}

/// Writes contacts: new ones, and what differs of others. Name times then belong to the contact, not to a conversation.
pub(crate) fn write_contacts(db: &Db<'_>, contacts: &[Tracked<StoredContact>]) -> Result<()> {
    for stored in contacts {
        let (contact, [username_at, display_name_at, avatar_at]) = (&stored.contact, stored.named_at);
        let sql = match stored.write() {
            Change::Nothing => continue,
            Change::Insert(_) => {
                "INSERT INTO contacts (id, platform_id, username, display_name, avatar_url, username_at, display_name_at,
                     avatar_at, workspace_id, channel_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            }
            Change::Update { before, .. } if before.contact.platform_id != contact.platform_id => {
                "UPDATE contacts SET platform_id = ?2, username = ?3, display_name = ?4, avatar_url = ?5, username_at = ?6,
                     display_name_at = ?7, avatar_at = ?8 WHERE id = ?1 AND workspace_id = ?9 AND channel_id = ?10
                     AND created_at = ?11"
            }
            Change::Update { .. } => {
                "UPDATE contacts SET username = ?3, display_name = ?4, avatar_url = ?5, username_at = ?6,
                     display_name_at = ?7, avatar_at = ?8 WHERE id = ?1 AND platform_id = ?2 AND workspace_id = ?9
                     AND channel_id = ?10 AND created_at = ?11"
            }
        };
        db.write(
            sql,
            params![
                key(contact.id),
                contact.platform_id,
                contact.username,
                contact.display_name,
                contact.avatar_url,
                username_at.as_millis(),
                display_name_at.as_millis(),
                avatar_at.as_millis(),
                stored.workspace,
                key(contact.channel_id),
                contact.created_at.as_millis(),
            ],
        )?;
        if let Change::Update { .. } = stored.write() {
            db.write(
                "UPDATE conversations SET named_at = 0 WHERE contact_id = ?1 AND named_at > 0",
                [key(contact.id)],
            )?;
        }
    }
    Ok(())
}

/// The conversations that are due, the oldest first.
pub(crate) fn due(db: &Db<'_>, limit: u32, now: Timestamp) -> Result<Vec<StoredConversation>> {
    db.all(
        &format!("SELECT {COLUMNS} {FROM} WHERE c.news_at <= ?1 ORDER BY c.news_at LIMIT ?2"),
        params![now.as_millis(), limit],
        read_thread,
    )
}

/// The channel's deletion or new rules intervened: reschedules its conversations.
pub(crate) fn reschedule(db: &Db<'_>, channel: &Channel, now: Timestamp) -> Result<()> {
    let sql = match channel.status {
        // A deletion concerns all open conversations.
        ChannelStatus::Deleted => "UPDATE conversations SET news_at = ?2 WHERE channel_id = ?1 AND status = 'open'",
        // New rules concern those with an open window.
        _ => "UPDATE conversations SET news_at = ?2 WHERE channel_id = ?1 AND news_at > ?2",
    };
    db.write(sql, params![key(channel.id), now.as_millis()])?;
    Ok(())
}

/// The business viewed what the contact wrote.
pub(crate) fn viewed(db: &Db<'_>, workspace: &str, id: ConversationId) -> Result<()> {
    db.write(
        "UPDATE conversations SET unread = 0, seen_sequence = sequence WHERE id = ?2 AND workspace_id = ?1 AND unread > 0",
        params![workspace, key(id)],
    )?;
    Ok(())
}
