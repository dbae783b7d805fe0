//! Receipts that arrived before their message or conversation: platforms send messages and receipts independently.

use std::time::Duration;

use weir_domain::id::ChannelId;
use weir_domain::message::{MessageError, Status};
use weir_domain::record::change::EarlyReceipt;
use weir_domain::record::erase::Erasure;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::db::{Db, Row, get_enum, get_id, get_json_if, get_time_if, json_if, key, key_value, ms, params};

/// How long a receipt waits: as long as platforms repeat their webhooks.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Stores a receipt until its message or conversation arrives, and deletes those that waited too long.
pub(crate) fn keep(db: &Db<'_>, receipt: &EarlyReceipt, now: Timestamp) -> Result<()> {
    db.write(
        "DELETE FROM early_receipts WHERE received_at < ?1",
        [now.before(KEPT).as_millis()],
    )?;
    db.write(
        "INSERT INTO early_receipts (channel_id, message, thread, status, up_to, error, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (channel_id, message, thread, status) DO UPDATE SET
             up_to = CASE WHEN early_receipts.up_to > excluded.up_to THEN early_receipts.up_to ELSE excluded.up_to END,
             received_at = excluded.received_at",
        params![
            key(receipt.channel),
            receipt.message,
            receipt.conversation,
            receipt.status.as_str(),
            ms(receipt.up_to),
            json_if(receipt.error.as_ref())?,
            now.as_millis(),
        ],
    )?;
    Ok(())
}

/// Receipts that arrived before the messages with these platform ids.
pub(crate) fn of_messages(
    db: &Db<'_>,
    names: impl IntoIterator<Item = (ChannelId, String)>,
) -> Result<Vec<EarlyReceipt>> {
    db.wanted(
        names
            .into_iter()
            .map(|(channel, name)| [key_value(channel), name.into()]),
        &[],
        "SELECT channel_id, message, thread, status, up_to, error FROM wanted
         CROSS JOIN early_receipts ON channel_id = w1 AND message = w2",
        read,
    )
}

/// Read receipts that arrived before the conversations with these platform ids.
pub(crate) fn of_conversations(
    db: &Db<'_>,
    names: impl IntoIterator<Item = (ChannelId, String)>,
) -> Result<Vec<EarlyReceipt>> {
    db.wanted(
        names
            .into_iter()
            .map(|(channel, name)| [key_value(channel), name.into()]),
        &[],
        "SELECT channel_id, message, thread, status, up_to, error FROM wanted
         CROSS JOIN early_receipts ON channel_id = w1 AND message = '' AND thread = w2 AND status = 'read'",
        read,
    )
}

fn read(row: &Row<'_>) -> Result<EarlyReceipt> {
    Ok(EarlyReceipt {
        channel: get_id(row, 0)?,
        message: row.get(1)?,
        conversation: row.get(2)?,
        status: get_enum(row, 3, "early_receipts.status")?,
        up_to: get_time_if(row, 4)?,
        error: get_json_if(row, 5, "early_receipts.error")?,
    })
}

/// The receipts of a message that arrived before it, by platform id.
pub(crate) fn receipts_of(
    db: &Db<'_>,
    channel: ChannelId,
    platform_id: &str,
) -> Result<Vec<(Status, Option<MessageError>)>> {
    db.all(
        "SELECT status, error FROM early_receipts WHERE channel_id = ?1 AND message = ?2",
        params![key(channel), platform_id],
        |row| {
            Ok((
                get_enum(row, 0, "early_receipts.status")?,
                get_json_if(row, 1, "early_receipts.error")?,
            ))
        },
    )
}

/// Deletes the receipts of a message after they were applied.
pub(crate) fn remove(db: &Db<'_>, channel: ChannelId, platform_id: &str) -> Result<()> {
    db.write(
        "DELETE FROM early_receipts WHERE channel_id = ?1 AND message = ?2",
        params![key(channel), platform_id],
    )?;
    Ok(())
}

/// Deletes the waiting receipts of a channel that contain data of an erased person.
pub(crate) fn forget(db: &Db<'_>, channel: ChannelId, erasure: &Erasure) -> Result<()> {
    let waiting: Vec<(String, String, String, Option<String>)> = db.all(
        "SELECT message, thread, status, error FROM early_receipts WHERE channel_id = ?1",
        [key(channel)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    for (message, thread, status, error) in waiting {
        if erasure.takes_receipt(&message, &thread, error.as_deref()) {
            db.write(
                "DELETE FROM early_receipts WHERE channel_id = ?1 AND message = ?2 AND thread = ?3 AND status = ?4",
                params![key(channel), message, thread, status],
            )?;
        }
    }
    Ok(())
}
