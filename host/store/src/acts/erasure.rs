//! Erasure of a person.
//!
//! One transaction deletes all that indexes find, and stores the values that identify the person. What remains are
//! documents that may contain such a value anywhere. They are read in steps, newest first and not on the writer's
//! thread, and matching ones are deleted. The stored values stay until all documents were read and the log was
//! truncated, so that a restart continues the erasure.

use std::ops::ControlFlow;

use weir_domain::erasure::{Marks, TEXTS};
use weir_domain::id::{ChannelId, ContactId, ConversationId, MediaId};
use weir_domain::message::{Content, MessageError};
use weir_domain::record::erase::{self, ConversationWith, Erasure, Snapshot};
use weir_domain::time::Timestamp;

use crate::acts::{apply, events};
use crate::db::{Db, Row, get_id, get_json, get_json_if, json, key, key_if, params};
use crate::tables::{channels, conversations, early, gaps, media, outbox, seen, state};
use crate::vault::Place;
use crate::{Erased, Result};

/// Documents read in one step, and their bytes: some milliseconds of a reader.
const STEP_ROWS: u32 = 500;
const STEP_BYTES: usize = 4 << 20;

/// Documents that may name a person: newest first, each as its row and up to two texts.
struct Documents {
    read: &'static str,
    remove: &'static [&'static str],
    /// Whether names and texts are searched too: an explanation may repeat them, and can be lost without harm.
    explains: bool,
    /// A condition on the channel by which rows are deleted in any case.
    anyway: Option<&'static str>,
}

const REMOVE_EVENT: &[&str] = &[
    "DELETE FROM delivery_attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE event = ?1)",
    "DELETE FROM deliveries WHERE event = ?1",
    "DELETE FROM events WHERE sequence = ?1",
];

const DOCUMENTS: &[Documents] = &[
    // Events about a conversation are found by it. The last two report that a person was erased, with Weir's ids only.
    Documents {
        read: "SELECT sequence, data, NULL FROM events INDEXED BY events_without_conversation
               WHERE conversation_id IS NULL AND type NOT IN ('contact.erased', 'conversation.closed')
                 AND (?1 IS NULL OR sequence < ?1) AND ?2 IS NOT NULL ORDER BY sequence DESC",
        remove: REMOVE_EVENT,
        explains: false,
        anyway: None,
    },
    // A document about several people is deleted with the first who is erased: their data in it cannot be separated.
    Documents {
        read: "SELECT n, reason || ' ' || head, body FROM dead_letters WHERE (?1 IS NULL OR n < ?1) AND ?2 IS NOT NULL ORDER BY n DESC",
        remove: &[
            "UPDATE dead_letter_counts SET kept = kept - 1 WHERE app = (SELECT app FROM dead_letters WHERE n = ?1)",
            "DELETE FROM dead_letters WHERE n = ?1",
        ],
        explains: false,
        anyway: None,
    },
    Documents {
        read: "SELECT rowid, refusal, NULL FROM refusals
               WHERE (?1 IS NULL OR rowid < ?1) AND ?2 IS NOT NULL ORDER BY rowid DESC",
        remove: &["DELETE FROM refusals WHERE rowid = ?1"],
        explains: true,
        anyway: None,
    },
    Documents {
        read: "SELECT rowid, body, key FROM claims
               WHERE (?1 IS NULL OR rowid < ?1) AND ?2 IS NOT NULL ORDER BY rowid DESC",
        remove: &["DELETE FROM claims WHERE rowid = ?1"],
        explains: false,
        anyway: None,
    },
    // After the others, since transcripts are written some moments after their call. A transcript of `prepare` contains
    // a message but not its owner, so all of the connector's are deleted.
    Documents {
        read: "SELECT n, transcript, NULL FROM transcripts
               WHERE (?1 IS NULL OR n < ?1) AND ?2 IS NOT NULL ORDER BY n DESC",
        remove: &["DELETE FROM transcripts WHERE n = ?1"],
        explains: false,
        anyway: Some(
            "DELETE FROM transcripts WHERE call = 'prepare'
               AND connector = (SELECT a.connector FROM channels c JOIN apps a ON a.name = c.app WHERE c.id = ?1)",
        ),
    },
    // The reason why the account is degraded, as the platform or the connector worded it. Last, since an interrupted
    // erasure continues at its index of this list.
    Documents {
        read: "SELECT sequence, data, NULL FROM events INDEXED BY events_without_conversation
               WHERE conversation_id IS NULL AND channel_id = ?2 AND type LIKE 'channel.%'
                 AND (?1 IS NULL OR sequence < ?1) ORDER BY sequence DESC",
        remove: REMOVE_EVENT,
        explains: true,
        anyway: None,
    },
];

// ---- rows found by index -------------------------------------------------------------------------------------------

/// Deletes a contact's rows, and stores what is left to be searched and which files are to be removed.
pub(crate) fn erase(db: &Db<'_>, workspace: &str, id: ContactId, now: Timestamp) -> Result<Option<Erased>> {
    let Some(snapshot) = load(db, workspace, id)? else {
        return Ok(None);
    };
    let mut erasure = erase::erase(snapshot);
    let channel = erasure.contact.channel_id;
    let mut erased = Erased::default();
    for conversation in &erasure.whole {
        outbox::forget(db, channel, *conversation)?;
        erase_thread(db, *conversation, &mut erased, now)?;
    }
    for (conversation, heir) in &erasure.shared {
        erase_words(db, *conversation, &erasure, &mut erased, now)?;
        erase_mentions(db, *conversation, &erasure)?;
        if let Some(heir) = heir {
            reassign(db, *conversation, id, *heir)?;
        }
    }
    db.write("DELETE FROM authors WHERE contact_id = ?1", [key(id)])?;
    db.write("DELETE FROM claims WHERE contact_id = ?1", [key(id)])?;
    db.write("DELETE FROM contacts WHERE id = ?1", [key(id)])?;
    media::to_be_removed(db, &erased.media)?;
    channels::forget_cursor(db, workspace, channel, &erasure)?;
    state::forget(db, channel, &erasure)?;
    early::forget(db, channel, &erasure)?;
    gaps::forget(db, workspace, channel, &erasure)?;
    note(db, &erasure)?;
    apply(db, std::mem::take(&mut erasure.changes), now)?;
    erased.removed.files = counted(erased.media.len());
    events::append_one(db, erasure.erased_event(erased.removed), now)?;
    Ok(Some(erased))
}

/// A contact, and their messages by conversation.
fn load(db: &Db<'_>, workspace: &str, id: ContactId) -> Result<Option<Snapshot>> {
    let Some(contact) = conversations::contact(db, workspace, id)? else {
        return Ok(None);
    };
    let theirs: Vec<ConversationId> =
        db.all("SELECT id FROM conversations WHERE contact_id = ?1", [key(id)], |row| {
            get_id(row, 0)
        })?;
    let elsewhere: Vec<ConversationId> = db.all(
        "SELECT conversation_id FROM authors WHERE contact_id = ?1",
        [key(id)],
        |row| get_id(row, 0),
    )?;
    let with = theirs.into_iter().map(|conversation| {
        let other = other_author(db, conversation)?;
        Ok(ConversationWith {
            stored: conversations::needed(db, conversation)?,
            words: words_in(db, conversation, other.map(|_| id))?,
            other,
        })
    });
    let elsewhere = elsewhere
        .into_iter()
        .map(|conversation| Ok((conversation, words_in(db, conversation, Some(id))?)));
    Ok(Some(Snapshot {
        workspace: workspace.to_owned(),
        channel: channels::needed(db, contact.channel_id)?,
        with: with.collect::<Result<_>>()?,
        elsewhere: elsewhere.collect::<Result<_>>()?,
        contact,
    }))
}

/// The readable text of a conversation's newest messages, or of one contact's among them.
fn words_in(db: &Db<'_>, thread: ConversationId, by: Option<ContactId>) -> Result<Vec<String>> {
    let contents: Vec<Content> = db.all(
        "SELECT content FROM messages
         WHERE conversation_id = ?1 AND (?2 IS NULL OR contact_id = ?2 AND direction = 'inbound')
         ORDER BY stands_at DESC LIMIT ?3",
        params![key(thread), key_if(by), i64::try_from(TEXTS).unwrap_or(i64::MAX)],
        |row| get_json(row, 0, "messages.content"),
    )?;
    Ok(contents.iter().flat_map(Content::words).map(str::to_owned).collect())
}

fn counted(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

/// Deletes a conversation that has no other contact.
fn erase_thread(db: &Db<'_>, thread: ConversationId, erased: &mut Erased, now: Timestamp) -> Result<()> {
    let theirs = "(SELECT id FROM messages WHERE conversation_id = ?1)";
    erased.media.extend(db.all(
        &format!("SELECT id FROM media WHERE message_id IN {theirs}"),
        [key(thread)],
        |row| get_id::<MediaId>(row, 0),
    )?);
    erased.media.extend(media::forget_sent(db, thread)?);
    let event_rows = "(SELECT sequence FROM events WHERE conversation_id = ?1)";
    for sql in [
        format!("DELETE FROM media WHERE message_id IN {theirs}"),
        format!("DELETE FROM attempts WHERE message_id IN {theirs}"),
        format!(
            "DELETE FROM delivery_attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE event IN {event_rows})"
        ),
        format!("DELETE FROM deliveries WHERE event IN {event_rows}"),
    ] {
        db.write(&sql, [key(thread)])?;
    }
    erased.removed.events += counted(db.run("DELETE FROM events WHERE conversation_id = ?1", [key(thread)])?);
    db.write("DELETE FROM referrals WHERE conversation_id = ?1", [key(thread)])?;
    seen::keep_keys(db, "conversation_id = ?1", [key(thread)], now)?;
    erased.removed.messages += counted(db.run("DELETE FROM messages WHERE conversation_id = ?1", [key(thread)])?);
    erased.removed.conversations += counted(db.run("DELETE FROM conversations WHERE id = ?1", [key(thread)])?);
    Ok(())
}

/// Deletes a conversation with all its messages and events, with any contact.
pub(crate) fn erase_conversation(db: &Db<'_>, thread: ConversationId, now: Timestamp) -> Result<()> {
    let mut erased = Erased::default();
    erase_thread(db, thread, &mut erased, now)?;
    db.write("DELETE FROM authors WHERE conversation_id = ?1", [key(thread)])?;
    media::to_be_removed(db, &erased.media)
}

/// Deletes one contact's messages of a conversation with several, and the events that name them.
fn erase_words(
    db: &Db<'_>,
    thread: ConversationId,
    erasure: &Erasure,
    erased: &mut Erased,
    now: Timestamp,
) -> Result<()> {
    let by = [key(thread), key(erasure.contact.id)];
    let theirs = "(SELECT id FROM messages WHERE conversation_id = ?1 AND contact_id = ?2 AND direction = 'inbound')";
    erased.media.extend(db.all(
        &format!("SELECT id FROM media WHERE message_id IN {theirs}"),
        by,
        |row| get_id::<MediaId>(row, 0),
    )?);
    db.write(&format!("DELETE FROM media WHERE message_id IN {theirs}"), by)?;
    db.write(
        "DELETE FROM referrals WHERE conversation_id = ?1 AND contact_id = ?2",
        by,
    )?;
    seen::keep_keys(db, &format!("id IN {theirs}"), by, now)?;
    erased.removed.messages += counted(db.run(&format!("DELETE FROM messages WHERE id IN {theirs}"), by)?);
    let events: Vec<(i64, bool)> = db.all(
        "SELECT sequence, data, type FROM events WHERE conversation_id = ?1",
        [key(thread)],
        |row| {
            let data = row.get::<Option<&[u8]>>(1)?.unwrap_or_default();
            Ok((row.get(0)?, erasure.takes_event(row.get(2)?, data)))
        },
    )?;
    for (sequence, _) in events.into_iter().filter(|(_, named)| *named) {
        for sql in REMOVE_EVENT {
            db.write(sql, [sequence])?;
        }
        erased.removed.events += 1;
    }
    Ok(())
}

/// Deletes data of the platform and the connector about others' messages in a conversation, if it names the person.
fn erase_mentions(db: &Db<'_>, thread: ConversationId, erasure: &Erasure) -> Result<()> {
    let notes: Vec<(Vec<u8>, Option<String>, Option<MessageError>)> = db.all(
        "SELECT id, extras, error FROM messages
         WHERE conversation_id = ?1 AND (extras IS NOT NULL OR error IS NOT NULL)",
        [key(thread)],
        |row| Ok((row.get(0)?, row.get(1)?, get_json_if(row, 2, "messages.error")?)),
    )?;
    for (id, extras, error) in notes {
        if extras.is_some_and(|extras| erasure.takes_extras(&extras)) {
            db.write("UPDATE messages SET extras = NULL WHERE id = ?1", params![id])?;
        }
        if let Some(error) = error.and_then(|error| erasure.error_left(error)) {
            db.write(
                "UPDATE messages SET error = ?2 WHERE id = ?1",
                params![id, json(&error)?],
            )?;
        }
    }
    let attempts: Vec<(Vec<u8>, i64, Option<String>, String)> = db.all(
        "SELECT a.message_id, a.number, a.error, a.requests
         FROM messages m JOIN attempts a ON a.message_id = m.id WHERE m.conversation_id = ?1",
        [key(thread)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    for (id, number, error, requests) in attempts {
        if erasure.takes_attempt(error.as_deref().into_iter().chain([requests.as_str()])) {
            db.write(
                "DELETE FROM attempts WHERE message_id = ?1 AND number = ?2",
                params![id, number],
            )?;
        }
    }
    // The other contact's last referral, if the erased person arrived after them.
    db.write(
        "UPDATE conversations SET referral = (SELECT r.referral FROM referrals r WHERE r.conversation_id = ?1
             ORDER BY r.at DESC, r.id LIMIT 1) WHERE id = ?1 AND referral IS NOT NULL",
        [key(thread)],
    )?;
    Ok(())
}

/// Somebody else who wrote in a conversation.
fn other_author(db: &Db<'_>, thread: ConversationId) -> Result<Option<ContactId>> {
    db.one(
        "SELECT contact_id FROM authors WHERE conversation_id = ?1 ORDER BY contact_id LIMIT 1",
        [key(thread)],
        |row| get_id(row, 0),
    )
}

/// Assigns a conversation of the erased contact to another, with the messages of the business.
fn reassign(db: &Db<'_>, thread: ConversationId, from: ContactId, to: ContactId) -> Result<()> {
    db.write(
        "UPDATE messages SET contact_id = ?3 WHERE conversation_id = ?1 AND contact_id = ?2",
        params![key(thread), key(from), key(to)],
    )?;
    db.write(
        // The time of the erased contact's names does not apply to the other's.
        "UPDATE conversations SET contact_id = ?2, named_at = 0 WHERE id = ?1",
        params![key(thread), key(to)],
    )?;
    db.write(
        "DELETE FROM authors WHERE conversation_id = ?1 AND contact_id = ?2",
        params![key(thread), key(to)],
    )?;
    Ok(())
}

// ---- documents to be read -----------------------------------------------------------------------------------------

/// An erasure in progress.
pub(crate) struct Search {
    n: i64,
    channel: ChannelId,
    marks: Marks,
    /// The index in [`DOCUMENTS`] of those being read.
    place: usize,
    /// The row before which the next step reads; `None` for the newest.
    before: Option<i64>,
}

/// The result of a step.
pub(crate) struct Found {
    rows: Vec<i64>,
    /// Where the next step continues; `None` if these documents were read completely.
    next: Option<i64>,
}

fn sealed_in(row: &str) -> Place<'_> {
    Place {
        table: "erasures",
        column: "marks",
        row,
    }
}

fn note(db: &Db<'_>, erasure: &Erasure) -> Result<()> {
    let contact = &erasure.contact;
    // Sealed: the values that identify the person are theirs too, and would be readable in the log until this row is
    // deleted.
    let sealed = db.seal(&erasure.marks, sealed_in(&contact.id.to_string()))?;
    db.write(
        "INSERT INTO erasures (channel_id, contact_id, marks) VALUES (?1, ?2, ?3)",
        params![key(contact.channel_id), key(contact.id), sealed],
    )?;
    Ok(())
}

/// The oldest erasure in progress.
pub(crate) fn oldest(db: &Db<'_>) -> Result<Option<Search>> {
    let read = |row: &Row<'_>| {
        let (n, channel, contact) = (row.get(0)?, get_id(row, 1)?, get_id::<ContactId>(row, 2)?);
        let (sealed, place, before): (Vec<u8>, i64, _) = (row.get(3)?, row.get(4)?, row.get(5)?);
        Ok((n, channel, contact, sealed, place, before))
    };
    let found = db.one(
        "SELECT n, channel_id, contact_id, marks, place, before FROM erasures ORDER BY n LIMIT 1",
        [],
        read,
    )?;
    let Some((n, channel, contact, sealed, place, before)) = found else {
        return Ok(None);
    };
    Ok(Some(Search {
        n,
        channel,
        marks: db.open(&sealed, sealed_in(&contact.to_string()))?,
        place: usize::try_from(place).unwrap_or(usize::MAX),
        before,
    }))
}

impl Search {
    /// Whether all documents were read.
    pub(crate) fn is_over(&self) -> bool {
        self.place >= DOCUMENTS.len()
    }

    /// Reads some documents.
    pub(crate) fn find(&self, db: &Db<'_>) -> Result<Found> {
        let mut found = Found {
            rows: Vec::new(),
            next: None,
        };
        let Some(documents) = DOCUMENTS.get(self.place) else {
            return Ok(found);
        };
        let (mut count, mut bytes) = (0, 0);
        db.each(documents.read, params![self.before, key(self.channel)], |row| {
            let n = row.get(0)?;
            for column in [1, 2] {
                let Some(text) = row.get::<Option<&[u8]>>(column)? else {
                    continue;
                };
                bytes += text.len();
                let is_theirs = || {
                    if documents.explains {
                        self.marks.are_repeated_in(text)
                    } else {
                        self.marks.stand_in(text)
                    }
                };
                if found.rows.last() != Some(&n) && is_theirs() {
                    found.rows.push(n);
                }
            }
            count += 1;
            if count >= STEP_ROWS || bytes >= STEP_BYTES {
                found.next = Some(n);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Deletes what a step found, and stores where the next one continues.
    pub(crate) fn remove(&self, db: &Db<'_>, found: &Found) -> Result<()> {
        for n in &found.rows {
            for sql in DOCUMENTS.get(self.place).map_or(&[][..], |documents| documents.remove) {
                db.write(sql, [n])?;
            }
        }
        if let Some(sql) = DOCUMENTS.get(self.place).and_then(|documents| documents.anyway) {
            db.write(sql, [key(self.channel)])?;
        }
        let place = if found.next.is_some() {
            self.place
        } else {
            self.place + 1
        };
        db.write(
            "UPDATE erasures SET place = ?2, before = ?3 WHERE n = ?1",
            params![self.n, i64::try_from(place).unwrap_or(i64::MAX), found.next],
        )?;
        Ok(())
    }

    /// Ends the erasure: nothing of the person is left.
    pub(crate) fn end(&self, db: &Db<'_>) -> Result<()> {
        db.write("DELETE FROM erasures WHERE n = ?1", [self.n])?;
        Ok(())
    }
}
