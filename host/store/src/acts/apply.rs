//! Writes the changes of a decision.

use weir_domain::record::Changes;
use weir_domain::record::change::Write;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::acts::events;
use crate::db::{Db, key, params};
use crate::tables::{channels, conversations, early, media, messages, outbox, referrals, seen};

/// Writes all changes. The kinds are named one by one, so that a new kind does not compile until it is written here.
pub(crate) fn apply(db: &Db<'_>, changes: Changes, now: Timestamp) -> Result<()> {
    let Changes {
        channels,
        contacts,
        conversations,
        authors,
        folded_echoes,
        messages,
        media,
        referrals,
        facts,
        early_receipts,
        used_receipts,
        expiries,
        removed_queued,
        queued,
        due,
        attempts,
        events,
    } = changes;
    for channel in &channels {
        channels::put(db, channel)?;
    }
    conversations::write_contacts(db, &contacts)?;
    for conversation in &conversations {
        match conversation.write() {
            Write::Insert(conversation) => conversations::insert(db, conversation)?,
            Write::Update { before, after } => conversations::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    for (conversation, author) in authors {
        db.write(
            "INSERT INTO authors (conversation_id, contact_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![key(conversation), key(author)],
        )?;
    }
    for folded in folded_echoes {
        messages::fold(db, &folded)?;
    }
    let mut new = Vec::new();
    for message in &messages {
        match message.write() {
            Write::Insert(message) => new.push(message),
            Write::Update { before, after } => messages::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    messages::insert_all(db, new)?;
    for expected in &media {
        media::expect(db, expected, now)?;
    }
    for referral in &referrals {
        referrals::insert(db, referral)?;
    }
    for (channel, fact) in facts {
        seen::note(db, channel, &fact, now)?;
    }
    for (receipt, at) in &early_receipts {
        early::keep(db, receipt, *at)?;
    }
    for (channel, platform_id) in used_receipts {
        early::remove(db, channel, &platform_id)?;
    }
    for (conversation, expires_at) in expiries {
        outbox::extend(db, conversation, expires_at)?;
    }
    outbox::remove(db, &removed_queued)?;
    let mut new = Vec::new();
    for entry in &queued {
        match entry.write() {
            Write::Insert(entry) => new.push(entry),
            Write::Update { before, after } => outbox::update(db, before, after)?,
            Write::Nothing => {}
        }
    }
    outbox::insert_all(db, new, now)?;
    for (channel, change) in due {
        outbox::put_due(db, channel, change)?;
    }
    outbox::end_attempts(db, attempts)?;
    events::append_all(db, events, now)?;
    Ok(())
}
