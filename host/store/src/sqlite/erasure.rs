//! Forgetting a person: every row that is theirs, in one transaction.
//!
//! Thorough rather than fast where documents may name a person: refusals, transcripts and kept answers are read whole. What is
//! without end, messages and events, is found by indexes.

use weir_domain::event::{ClosedBy, ErasedContact, EventType};
use weir_domain::id::{ContactId, ConversationId, MediaId};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::db::{Db, get_id, key};
use crate::sqlite::events::{self, About};
use crate::sqlite::{conversations, news, outbox, transcripts};

/// Erases a contact. The bytes that the platform sent with their messages are the caller's to remove: gives their ids.
pub(super) fn erase(db: &Db<'_>, workspace: &str, id: ContactId, now: Timestamp) -> Result<Option<Vec<MediaId>>> {
    let Some(contact) = conversations::contact(db, workspace, id)? else {
        return Ok(None);
    };
    let threads: Vec<ConversationId> =
        db.all("SELECT id FROM conversations WHERE contact_id = ?1", [key(id)], |row| {
            get_id(row, 0)
        })?;
    let mut theirs: Vec<String> = db.all(
        "SELECT platform_id FROM conversations WHERE contact_id = ?1",
        [key(id)],
        |row| row.get(0),
    )?;
    theirs.push(contact.platform_id.clone());
    let mut media = Vec::new();
    for id in threads {
        let thread = conversations::needed(db, id)?;
        outbox::forget(db, contact.channel_id, id)?;
        media.extend(erase_thread(db, id)?);
        news::tell_closed(db, &thread, ClosedBy::ContactErased, now)?;
    }
    db.run("DELETE FROM contacts WHERE id = ?1", [key(id)])?;
    transcripts::forget(db, &theirs)?;
    let about = About {
        channel: Some(contact.channel_id),
        ..About::workspace(workspace)
    };
    let erased = ErasedContact {
        id,
        channel_id: contact.channel_id,
    };
    events::append(db, about, EventType::ContactErased, &erased, now)?;
    Ok(Some(media))
}

fn erase_thread(db: &Db<'_>, thread: ConversationId) -> Result<Vec<MediaId>> {
    let theirs = "(SELECT id FROM messages WHERE conversation_id = ?1)";
    let media = db.all(
        &format!("SELECT id FROM media WHERE message_id IN {theirs}"),
        [key(thread)],
        |row| get_id(row, 0),
    )?;
    let told = "(SELECT sequence FROM events WHERE conversation_id = ?1)";
    for sql in [
        format!("DELETE FROM media WHERE message_id IN {theirs}"),
        format!("DELETE FROM attempts WHERE message_id IN {theirs}"),
        format!("DELETE FROM delivery_attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE event IN {told})"),
        format!("DELETE FROM deliveries WHERE event IN {told}"),
        "DELETE FROM events WHERE conversation_id = ?1".to_owned(),
        "DELETE FROM referrals WHERE conversation_id = ?1".to_owned(),
        "DELETE FROM messages WHERE conversation_id = ?1".to_owned(),
        "DELETE FROM conversations WHERE id = ?1".to_owned(),
    ] {
        db.run(&sql, [key(thread)])?;
    }
    // Documents that name the conversation: refusals, and answers kept for a day.
    let name = format!("%{thread}%");
    db.run("DELETE FROM refusals WHERE refusal LIKE ?1", [&name])?;
    db.run("DELETE FROM idempotency WHERE body LIKE ?1", [&name])?;
    Ok(media)
}
