//! Stored bytes: what is known of them, what is to be fetched and what is to be removed.

use async_trait::async_trait;
use bytes::Bytes;
use weir_domain::id::MediaId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::media;
use crate::{Media, MediaFetch, Result, acts};

/// Stored bytes: what is known of them, what is to be fetched and what is to be removed.
#[async_trait]
pub trait Attachments: Send + Sync {
    /// Keeps what is known of stored bytes.
    async fn insert_media(&self, media: Media) -> Result<()>;
    /// What is known of stored bytes.
    async fn media(&self, workspace: &str, id: MediaId) -> Result<Option<Media>>;
    /// The same, whosever it is: for who may have the bytes without a key, by a signed link or as part of a message that was judged.
    async fn media_of_any(&self, id: MediaId) -> Result<Option<Media>>;
    /// Attachments to be fetched at `now`, of all workspaces, oldest first, each leased until the fetch must be over.
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>>;
    /// When the next attachment is due; none if none waits.
    async fn next_media_due(&self) -> Result<Option<Timestamp>>;
    /// The bytes are here. If their row is gone meanwhile, the file is to be removed.
    async fn media_stored(
        &self,
        workspace: &str,
        id: MediaId,
        mime_type: String,
        size: u64,
        now: Timestamp,
    ) -> Result<()>;
    /// The fetch failed: again at `retry_at`, or never; then the message's content becomes fallback content with `reason`.
    async fn media_failed(
        &self,
        workspace: &str,
        id: MediaId,
        reason: &str,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()>;
    /// Files whose rows are gone, written down in the transaction that deleted those.
    async fn files_to_remove(&self, limit: u32) -> Result<Vec<MediaId>>;
    /// They are gone, or another file will never be in their place.
    async fn files_removed(&self, ids: Vec<MediaId>) -> Result<()>;
    /// Keeps a part of the bytes of a media, in the place of what was there.
    async fn put_media_part(&self, id: MediaId, part: u32, bytes: Bytes, now: Timestamp) -> Result<()>;
    /// The bytes of a media have so many parts: what an earlier try left beyond them goes.
    async fn end_media_parts(&self, id: MediaId, parts: u32) -> Result<()>;
    /// A part of the bytes of a media; none beyond the last.
    async fn media_part(&self, id: MediaId, part: u32) -> Result<Option<Bytes>>;
    /// How many bytes of a media are here; none if there are no parts.
    async fn media_bytes_size(&self, id: MediaId) -> Result<Option<u64>>;
    /// Removes the bytes of these.
    async fn remove_media_bytes(&self, ids: Vec<MediaId>) -> Result<()>;
    /// Of which media bytes are here that were put before a moment and have no row.
    async fn media_bytes_without_row(&self, before: Timestamp, limit: u32) -> Result<Vec<MediaId>>;
    /// Which of these have no row.
    async fn media_without_row(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>>;
}

#[async_trait]
impl<E: Engine> Attachments for E {
    async fn insert_media(&self, media: Media) -> Result<()> {
        self.write(move |db| media::insert(db, &media)).await
    }
    async fn media(&self, workspace: &str, id: MediaId) -> Result<Option<Media>> {
        let workspace = workspace.to_owned();
        self.look(move |db| media::one(db, &workspace, id)).await
    }
    async fn media_of_any(&self, id: MediaId) -> Result<Option<Media>> {
        self.look(move |db| media::of_any(db, id)).await
    }
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>> {
        self.write(move |db| media::lease(db, limit, now)).await
    }
    async fn next_media_due(&self) -> Result<Option<Timestamp>> {
        self.look(media::next_due).await
    }
    async fn media_stored(
        &self,
        workspace: &str,
        id: MediaId,
        mime_type: String,
        size: u64,
        now: Timestamp,
    ) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::attachments::stored(db, &workspace, id, &mime_type, size, now))
            .await
    }
    async fn media_failed(
        &self,
        workspace: &str,
        id: MediaId,
        reason: &str,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        let workspace = workspace.to_owned();
        let reason = reason.to_owned();
        self.write(move |db| acts::attachments::failed(db, &workspace, id, &reason, retry_at, now))
            .await
    }
    async fn files_to_remove(&self, limit: u32) -> Result<Vec<MediaId>> {
        self.look(move |db| media::files_to_remove(db, limit)).await
    }
    async fn files_removed(&self, ids: Vec<MediaId>) -> Result<()> {
        self.write(move |db| media::files_removed(db, &ids)).await
    }
    async fn put_media_part(&self, id: MediaId, part: u32, bytes: Bytes, now: Timestamp) -> Result<()> {
        self.write(move |db| media::put_part(db, id, part, &bytes, now)).await
    }
    async fn end_media_parts(&self, id: MediaId, parts: u32) -> Result<()> {
        self.write(move |db| media::end_parts(db, id, parts)).await
    }
    async fn media_part(&self, id: MediaId, part: u32) -> Result<Option<Bytes>> {
        self.read(move |db| media::part(db, id, part)).await
    }
    async fn media_bytes_size(&self, id: MediaId) -> Result<Option<u64>> {
        self.read(move |db| media::bytes_size(db, id)).await
    }
    async fn remove_media_bytes(&self, ids: Vec<MediaId>) -> Result<()> {
        self.write(move |db| media::remove_bytes(db, &ids)).await
    }
    async fn media_bytes_without_row(&self, before: Timestamp, limit: u32) -> Result<Vec<MediaId>> {
        self.read(move |db| media::bytes_without_row(db, before, limit)).await
    }
    async fn media_without_row(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>> {
        self.read(move |db| media::without_row(db, ids)).await
    }
}
