//! Applies the result of an attachment's fetch: to its row, its message and the event log.

use weir_domain::event::{EventType, MediaFetched};
use weir_domain::id::{ConversationId, MediaId, MessageId};
use weir_domain::message::{Attachment, Content, MediaStatus};
use weir_domain::record::About;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::acts::events;
use crate::db::{Db, key, params};
use crate::tables::{conversations, media, messages};

pub(crate) fn stored(
    db: &Db<'_>,
    workspace: &str,
    id: MediaId,
    mime_type: &str,
    bytes: u64,
    now: Timestamp,
) -> Result<()> {
    let is_there = db.run(
        "UPDATE media SET status = 'stored', mime_type = ?3, size = ?4, due_at = NULL WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace, mime_type, media::size(bytes)],
    )?;
    if is_there == 0 {
        // It was erased during the fetch, unless it belongs to another message.
        let gone = media::without_row(db, vec![id])?;
        return media::to_be_removed(db, &gone);
    }
    let Some(message) = media::message_of(db, id)? else {
        return Ok(());
    };
    let content = message.content.map_media(|known| Attachment {
        mime_type: Some(mime_type.to_owned()),
        size: Some(bytes),
        status: Some(MediaStatus::Stored),
        ..known
    });
    messages::put_content(db, message.id, &content)?;
    let (message_id, conversation) = (message.id, message.conversation_id);
    emit(
        db,
        (message_id, conversation),
        &content,
        EventType::MediaStored,
        None,
        now,
    )
}

/// Appends the event about a message's attachment.
fn emit(
    db: &Db<'_>,
    (message_id, conversation_id): (MessageId, ConversationId),
    content: &Content,
    kind: EventType,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let Some(media) = content.media().cloned() else {
        return Ok(());
    };
    let thread = conversations::needed(db, conversation_id)?;
    let about = About {
        channel: Some(thread.conversation.channel_id),
        conversation: Some(conversation_id),
        ..About::workspace(&thread.workspace)
    };
    let fetched = MediaFetched {
        media: media.into(),
        message_id,
        conversation_id,
        reason: reason.map(str::to_owned),
    };
    events::append(db, &about, kind, &fetched, now)?;
    Ok(())
}

pub(crate) fn failed(
    db: &Db<'_>,
    workspace: &str,
    id: MediaId,
    reason: &str,
    retry_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    if let Some(at) = retry_at {
        db.write(
            "UPDATE media SET due_at = ?3 WHERE id = ?1 AND workspace_id = ?2 AND status = 'pending'",
            params![key(id), workspace, at.as_millis()],
        )?;
        return Ok(());
    }
    let changed = db.run(
        "UPDATE media SET status = 'failed', due_at = NULL WHERE id = ?1 AND workspace_id = ?2 AND status = 'pending'",
        params![key(id), workspace],
    )?;
    let Some(message) = media::message_of(db, id)?.filter(|_| changed > 0) else {
        return Ok(());
    };
    let place = (message.id, message.conversation_id);
    let content = media::given_up(message.content, reason, "could not be fetched");
    messages::put_content(db, message.id, &content)?;
    emit(db, place, &content, EventType::MediaFailed, Some(reason), now)
}
