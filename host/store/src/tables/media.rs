//! Stored media, and attachments that are still to be fetched. The bytes are stored here in parts, or elsewhere, under
//! the id.

use std::collections::BTreeSet;

use bytes::Bytes;
use weir_domain::id::{ConversationId, MediaId, MessageId};
use weir_domain::inbound::RemoteMedia;
use weir_domain::limits;
use weir_domain::message::{Attachment, Content, MediaStatus, Message};
use weir_domain::record::change::ExpectedMedia;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, enum_text, get_enum, get_id, get_id_if, get_json, get_time, json, key, params};
use crate::tables::{channels, conversations, messages};
use crate::{Media, MediaFetch, Result};

const MEDIA: &str = "id, workspace_id, mime_type, size, filename, status, created_at";
const CHANNEL: &str = "(SELECT m.channel_id FROM messages m WHERE m.id = message_id)";

fn read(row: &Row<'_>) -> Result<Media> {
    Ok(Media {
        id: get_id(row, 0)?,
        workspace_id: row.get(1)?,
        mime_type: row.get(2)?,
        size: row.get::<Option<i64>>(3)?.map(i64::unsigned_abs),
        filename: row.get(4)?,
        status: get_enum(row, 5, "media.status")?,
        created_at: get_time(row, 6)?,
        channel_id: get_id_if(row, 7)?,
    })
}

pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(crate) fn insert(db: &Db<'_>, media: &Media) -> Result<()> {
    db.write(
        &format!("INSERT INTO media ({MEDIA}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
        params![
            key(media.id),
            media.workspace_id,
            media.mime_type,
            media.size.map(size),
            media.filename,
            enum_text(media.status)?,
            media.created_at.as_millis(),
        ],
    )?;
    Ok(())
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: MediaId) -> Result<Option<Media>> {
    db.one(
        &format!("SELECT {MEDIA}, {CHANNEL} FROM media WHERE id = ?1 AND workspace_id = ?2"),
        params![key(id), workspace],
        read,
    )
}

pub(crate) fn of_any(db: &Db<'_>, id: MediaId) -> Result<Option<Media>> {
    db.one(
        &format!("SELECT {MEDIA}, {CHANNEL} FROM media WHERE id = ?1"),
        [key(id)],
        read,
    )
}

/// The content with its attachment as stored; media of another tenant are not found.
pub(crate) fn described(db: &Db<'_>, workspace: &str, content: Content) -> Result<Content> {
    let Some(id) = content.media().map(|attachment| attachment.id) else {
        return Ok(content);
    };
    let known = one(db, workspace, id)?;
    Ok(content.map_media(|_| Attachment {
        id,
        mime_type: known.as_ref().and_then(|media| media.mime_type.clone()),
        size: known.as_ref().and_then(|media| media.size),
        url: None,
        status: known.as_ref().map(|media| media.status),
    }))
}

/// Notes that a message of the business contains an upload.
pub(crate) fn note_sent(db: &Db<'_>, conversation: ConversationId, content: &Content) -> Result<()> {
    if let Some(media) = content.media() {
        db.write(
            "INSERT INTO sent_uploads (conversation_id, media_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![key(conversation), key(media.id)],
        )?;
    }
    Ok(())
}

/// Deletes the uploads that were sent in a conversation and in no other; returns their ids.
pub(crate) fn forget_sent(db: &Db<'_>, conversation: ConversationId) -> Result<Vec<MediaId>> {
    let only_here: Vec<MediaId> = db.all(
        "SELECT media_id FROM sent_uploads s WHERE conversation_id = ?1 AND NOT EXISTS
             (SELECT 1 FROM sent_uploads o WHERE o.media_id = s.media_id AND o.conversation_id <> s.conversation_id)",
        [key(conversation)],
        |row| get_id(row, 0),
    )?;
    db.write(
        "DELETE FROM sent_uploads WHERE conversation_id = ?1",
        [key(conversation)],
    )?;
    for id in &only_here {
        db.write("DELETE FROM media WHERE id = ?1", [key(*id)])?;
    }
    Ok(only_here)
}

/// Notes media that the platform has, to be fetched at once.
pub(crate) fn expect(db: &Db<'_>, expected: &ExpectedMedia, now: Timestamp) -> Result<()> {
    db.write(
        "INSERT INTO media (id, workspace_id, message_id, kind, remote, mime_type, size, filename, status, due_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, NULL, NULL, ?6, 'pending', ?7, ?7)",
        params![
            key(expected.id),
            expected.workspace,
            key(expected.message),
            expected.kind,
            json(&expected.remote)?,
            expected.remote.filename,
            now.as_millis(),
        ],
    )?;
    Ok(())
}

pub(crate) fn next_due(db: &Db<'_>) -> Result<Option<Timestamp>> {
    db.moment("SELECT min(due_at) FROM media WHERE due_at IS NOT NULL")
}

pub(crate) fn lease(db: &Db<'_>, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>> {
    let due: Vec<(MediaId, MessageId, RemoteMedia, String, u32)> = db.all(
        "SELECT id, message_id, remote, kind, attempts + 1 FROM media WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2",
        params![now.as_millis(), limit],
        |row| {
            Ok((
                get_id(row, 0)?,
                get_id(row, 1)?,
                get_json(row, 2, "media.remote")?,
                row.get(3)?,
                row.get(4)?,
            ))
        },
    )?;
    let mut fetches = Vec::with_capacity(due.len());
    for (id, message_id, remote, kind, attempt) in due {
        db.write(
            "UPDATE media SET attempts = attempts + 1, due_at = ?2 WHERE id = ?1",
            params![key(id), now.after(limits::LEASE).as_millis()],
        )?;
        let message = messages::needed(db, message_id)?;
        fetches.push(MediaFetch {
            id,
            message_id,
            message_platform_id: message.platform_id.clone().unwrap_or_default(),
            conversation: conversations::needed(db, message.conversation_id)?.conversation,
            channel: channels::needed(db, message.channel_id)?,
            remote,
            kind,
            attempt,
        });
    }
    Ok(fetches)
}

/// Notes that the files of these media are to be removed; their rows are deleted in the same transaction.
pub(crate) fn to_be_removed(db: &Db<'_>, ids: &[MediaId]) -> Result<()> {
    for id in ids {
        db.write(
            "INSERT INTO files_to_remove (media_id) VALUES (?1) ON CONFLICT DO NOTHING",
            [key(*id)],
        )?;
    }
    Ok(())
}

pub(crate) fn files_to_remove(db: &Db<'_>, limit: u32) -> Result<Vec<MediaId>> {
    db.all(
        "SELECT media_id FROM files_to_remove ORDER BY media_id LIMIT ?1",
        [limit],
        |row| get_id(row, 0),
    )
}

pub(crate) fn files_removed(db: &Db<'_>, ids: &[MediaId]) -> Result<()> {
    for id in ids {
        db.write("DELETE FROM files_to_remove WHERE media_id = ?1", [key(*id)])?;
    }
    Ok(())
}

pub(crate) fn without_row(db: &Db<'_>, mut ids: Vec<MediaId>) -> Result<Vec<MediaId>> {
    let mut known = BTreeSet::new();
    for id in &ids {
        if db.exists("SELECT 1 FROM media WHERE id = ?1", [key(*id)])? {
            known.insert(*id);
        }
    }
    ids.retain(|id| !known.contains(id));
    Ok(ids)
}

pub(crate) fn put_part(db: &Db<'_>, id: MediaId, part: u32, bytes: &[u8], now: Timestamp) -> Result<()> {
    db.write(
        "INSERT INTO media_bytes (media_id, part, put_at, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (media_id, part) DO UPDATE SET put_at = ?3, bytes = ?4",
        params![key(id), part, now.as_millis(), bytes],
    )?;
    Ok(())
}

pub(crate) fn end_parts(db: &Db<'_>, id: MediaId, parts: u32) -> Result<()> {
    db.write(
        "DELETE FROM media_bytes WHERE media_id = ?1 AND part >= ?2",
        params![key(id), parts],
    )?;
    Ok(())
}

pub(crate) fn part(db: &Db<'_>, id: MediaId, part: u32) -> Result<Option<Bytes>> {
    let bytes = db.one(
        "SELECT bytes FROM media_bytes WHERE media_id = ?1 AND part = ?2",
        params![key(id), part],
        |row| row.get::<Vec<u8>>(0),
    )?;
    Ok(bytes.map(Bytes::from))
}

pub(crate) fn bytes_size(db: &Db<'_>, id: MediaId) -> Result<Option<u64>> {
    let size = db.one(
        "SELECT sum(length(bytes)) FROM media_bytes WHERE media_id = ?1",
        [key(id)],
        |row| row.get::<Option<i64>>(0),
    )?;
    Ok(size.flatten().map(i64::unsigned_abs))
}

pub(crate) fn remove_bytes(db: &Db<'_>, ids: &[MediaId]) -> Result<()> {
    for id in ids {
        db.write("DELETE FROM media_bytes WHERE media_id = ?1", [key(*id)])?;
    }
    Ok(())
}

pub(crate) fn bytes_without_row(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<Vec<MediaId>> {
    db.all(
        "SELECT b.media_id FROM media_bytes b WHERE b.part = 0 AND b.put_at < ?1
             AND NOT EXISTS (SELECT 1 FROM media m WHERE m.id = b.media_id) ORDER BY b.media_id LIMIT ?2",
        params![before.as_millis(), limit],
        |row| get_id(row, 0),
    )
}

/// Deletes media past their retention; the message shows that they existed.
pub(crate) fn expired(db: &Db<'_>, id: MediaId) -> Result<()> {
    match message_of(db, id)? {
        Some(message) => messages::put_content(
            db,
            message.id,
            &given_up(message.content, "expired", "was deleted by age"),
        ),
        None => Ok(()),
    }
}

pub(crate) fn message_of(db: &Db<'_>, id: MediaId) -> Result<Option<Message>> {
    let message: Option<Option<[u8; 16]>> = db.one("SELECT message_id FROM media WHERE id = ?1", [key(id)], |row| {
        row.get(0)
    })?;
    match message.flatten() {
        Some(bytes) => messages::by_id(db, weir_domain::id::Id::from_uuid(uuid::Uuid::from_bytes(bytes))),
        None => Ok(None),
    }
}

/// The replacement for content whose media cannot be fetched; `what` explains the reason to a person.
pub(crate) fn given_up(content: Content, reason: &str, what: &str) -> Content {
    let kind = content.kind().map(|kind| kind.to_string());
    match content {
        Content::Fallback {
            original_type,
            text,
            url,
            media,
            ..
        } => Content::Fallback {
            original_type,
            text,
            url,
            reason: reason.to_owned(),
            media: media.map(|known| Attachment {
                status: Some(MediaStatus::Failed),
                ..known
            }),
        },
        other => {
            let caption = match &other {
                Content::Image { caption, .. } | Content::Video { caption, .. } | Content::File { caption, .. } => {
                    caption.clone()
                }
                _ => None,
            };
            let kind = kind.unwrap_or_else(|| "attachment".to_owned());
            let text = caption.unwrap_or_else(|| format!("[{kind} that {what}]"));
            Content::Fallback {
                original_type: kind,
                text,
                url: None,
                reason: reason.to_owned(),
                media: other.media().cloned().map(|known| Attachment {
                    status: Some(MediaStatus::Failed),
                    ..known
                }),
            }
        }
    }
}
