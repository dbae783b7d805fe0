//! Receipts that came before what they are about: platforms tell of a message and of its being read by different ways.

use std::time::Duration;

use rusqlite::params;
use weir_domain::erasure::Marks;
use weir_domain::event::EventType;
use weir_domain::id::ChannelId;
use weir_domain::message::{Message, MessageError, Status};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::db::{Db, get_json_if, get_time_if, get_word, json_if, key, ms};
use crate::sqlite::messages::{self, Step};

/// How long a receipt waits: as long as platforms repeat their webhooks.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a receipt says, and of what.
pub(crate) struct Receipt<'a> {
    pub(crate) channel: ChannelId,
    /// The platform's id of the message, or empty for a mark of the conversation.
    pub(crate) message: &'a str,
    /// The platform's id of the conversation.
    pub(crate) thread: &'a str,
    pub(crate) status: Status,
    pub(crate) up_to: Option<Timestamp>,
    pub(crate) error: Option<&'a MessageError>,
}

/// Keeps a receipt until what it is about comes. Those that waited too long go.
pub(crate) fn keep(db: &Db<'_>, receipt: &Receipt<'_>, now: Timestamp) -> Result<()> {
    db.run(
        "DELETE FROM early_receipts WHERE received_at < ?1",
        [now.before(KEPT).as_millis()],
    )?;
    db.run(
        "INSERT INTO early_receipts (channel_id, message, thread, status, up_to, error, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET up_to = max(up_to, excluded.up_to), received_at = excluded.received_at",
        params![
            key(receipt.channel),
            receipt.message,
            receipt.thread,
            receipt.status.as_str(),
            ms(receipt.up_to),
            json_if(receipt.error)?,
            now.as_millis(),
        ],
    )?;
    Ok(())
}

/// Applies what was said of a message before it came.
pub(crate) fn apply(db: &Db<'_>, workspace: &str, message: &mut Message, now: Timestamp) -> Result<()> {
    let Some(platform_id) = message.platform_id.clone() else {
        return Ok(());
    };
    let said = said_of(db, message.channel_id, &platform_id)?;
    if said.is_empty() {
        return Ok(());
    }
    // The best word last, as if each had come in its time.
    for (status, kind) in [
        (Status::Failed, EventType::MessageFailed),
        (Status::Delivered, EventType::MessageDelivered),
        (Status::Read, EventType::MessageRead),
    ] {
        let Some((_, error)) = said.iter().find(|(said, _)| *said == status) else {
            continue;
        };
        let step = Step {
            error: error.clone(),
            ..Step::default()
        };
        if messages::advance(db, message, status, step)? {
            messages::tell(db, workspace, message, kind, now)?;
        }
    }
    remove(db, message.channel_id, &platform_id)
}

/// What was said of a message of this platform id before it came.
pub(crate) fn said_of(
    db: &Db<'_>,
    channel: ChannelId,
    platform_id: &str,
) -> Result<Vec<(Status, Option<MessageError>)>> {
    db.all(
        "SELECT status, error FROM early_receipts WHERE channel_id = ?1 AND message = ?2",
        params![key(channel), platform_id],
        |row| {
            Ok((
                get_word(row, 0, "early_receipts.status")?,
                get_json_if(row, 1, "early_receipts.error")?,
            ))
        },
    )
}

/// What was said of it is applied.
pub(crate) fn remove(db: &Db<'_>, channel: ChannelId, platform_id: &str) -> Result<()> {
    db.run(
        "DELETE FROM early_receipts WHERE channel_id = ?1 AND message = ?2",
        params![key(channel), platform_id],
    )?;
    Ok(())
}

/// Forgets what waits for a channel's messages and names one of these.
pub(crate) fn forget(db: &Db<'_>, channel: ChannelId, marks: &Marks) -> Result<()> {
    let waiting: Vec<(String, String, String, Option<String>)> = db.all(
        "SELECT message, thread, status, error FROM early_receipts WHERE channel_id = ?1",
        [key(channel)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    for (message, thread, status, error) in waiting {
        let texts = [Some(&message), Some(&thread), error.as_ref()];
        if texts.into_iter().flatten().any(|text| marks.stand_in(text.as_bytes())) {
            db.run(
                "DELETE FROM early_receipts WHERE channel_id = ?1 AND message = ?2 AND thread = ?3 AND status = ?4",
                params![key(channel), message, thread, status],
            )?;
        }
    }
    Ok(())
}

/// What the contact had read of a conversation before it began, if anything.
pub(crate) fn read_up_to(db: &Db<'_>, channel: ChannelId, thread: &str) -> Result<Option<Timestamp>> {
    let up_to = db.one(
        "SELECT up_to FROM early_receipts WHERE channel_id = ?1 AND message = '' AND thread = ?2 AND status = 'read'",
        params![key(channel), thread],
        |row| get_time_if(row, 0),
    )?;
    Ok(up_to.flatten())
}
