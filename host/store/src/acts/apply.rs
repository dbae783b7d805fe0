//! Writes what a decision changed.

use weir_domain::record::Changes;
use weir_domain::record::change::Write;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::db::Db;
use crate::sqlite::{conversations, early, events, messages, outbox};

/// Writes all of it. The kinds are named one by one, so that a new one does not compile before it is written here.
pub(crate) fn apply(db: &Db<'_>, changes: Changes, now: Timestamp) -> Result<()> {
    let Changes {
        conversations,
        folded_echoes,
        messages,
        used_receipts,
        removed_queued,
        queued,
        due,
        attempts,
        events,
    } = changes;
    for conversation in &conversations {
        match conversation.write() {
            Write::Insert(conversation) => conversations::insert(db, conversation)?,
            Write::Update { before, after } => conversations::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    for folded in folded_echoes {
        messages::fold(db, &folded)?;
    }
    for message in &messages {
        match message.write() {
            Write::Insert(message) => messages::insert_row(db, message)?,
            Write::Update { before, after } => messages::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    for (channel, platform_id) in used_receipts {
        early::remove(db, channel, &platform_id)?;
    }
    for place in removed_queued {
        outbox::remove(db, place)?;
    }
    for entry in &queued {
        match entry.write() {
            Write::Insert(entry) => outbox::insert(db, entry, now)?,
            Write::Update { before, after } => outbox::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    for (channel, change) in due {
        outbox::put_due(db, channel, change)?;
    }
    for attempt in &attempts {
        outbox::end_attempt(db, attempt)?;
    }
    for event in events {
        events::append_document(db, &event.about, event.kind, event.data, now)?;
    }
    Ok(())
}
