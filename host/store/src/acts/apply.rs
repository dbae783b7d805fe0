//! Writes what a decision changed.

use weir_domain::record::Changes;
use weir_domain::record::change::Write;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::db::Db;
use crate::sqlite::{conversations, events, messages};

/// Writes all of it. The kinds are named one by one, so that a new one does not compile before it is written here.
pub(crate) fn apply(db: &Db<'_>, changes: Changes, now: Timestamp) -> Result<()> {
    let Changes {
        conversations,
        removed_messages,
        messages,
        events,
    } = changes;
    for conversation in &conversations {
        match conversation.write() {
            Write::Insert(conversation) => conversations::insert(db, conversation)?,
            Write::Update { before, after } => conversations::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    for id in removed_messages {
        messages::delete(db, id)?;
    }
    for message in &messages {
        match message.write() {
            Write::Insert(message) => messages::insert_row(db, message)?,
            Write::Update { before, after } => messages::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    for event in events {
        events::append_document(db, &event.about, event.kind, event.data, now)?;
    }
    Ok(())
}
