//! Stored media: metadata, fetches and removals.

use async_trait::async_trait;
use bytes::Bytes;
use weir_domain::id::MediaId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::media;
use crate::{Media, MediaFetch, Result, acts};

/// Stored media: metadata, fetches and removals.
#[async_trait]
pub trait Attachments: Send + Sync {
    /// Stores metadata.
    async fn insert_media(&self, media: Media) -> Result<()>;
    /// The metadata of stored media.
    async fn media(&self, workspace: &str, id: MediaId) -> Result<Option<Media>>;
    /// The same in any workspace: for callers that access the bytes without a key, by a signed link or as part of an
    /// accepted message.
    async fn media_of_any(&self, id: MediaId) -> Result<Option<Media>>;
    /// Leases the attachments to be fetched at `now`, of all workspaces, oldest first, each until the longest fetch
    /// would end.
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>>;
    /// When the next attachment is due; `None` if none waits.
    async fn next_media_due(&self) -> Result<Option<Timestamp>>;
    /// The bytes were stored. If their row was deleted meanwhile, the file is to be removed.
    async fn media_stored(
        &self,
        workspace: &str,
        id: MediaId,
        mime_type: String,
        size: u64,
        now: Timestamp,
    ) -> Result<()>;
    /// The fetch failed: it is retried at `retry_at`, or never; then the message's content becomes fallback content
    /// with `reason`.
    async fn media_failed(
        &self,
        workspace: &str,
        id: MediaId,
        reason: &str,
        retry_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()>;
    /// Files whose rows were deleted, as noted in the same transaction.
    async fn files_to_remove(&self, limit: u32) -> Result<Vec<MediaId>>;
    /// The files were removed, or will never be created.
    async fn files_removed(&self, ids: Vec<MediaId>) -> Result<()>;
    /// Stores a part of the bytes of a media, replacing an earlier one.
    async fn put_media_part(&self, id: MediaId, part: u32, bytes: Bytes, now: Timestamp) -> Result<()>;
    /// The bytes of a media are complete with this many parts: deletes further parts of an earlier attempt.
    async fn end_media_parts(&self, id: MediaId, parts: u32) -> Result<()>;
    /// A part of the bytes of a media; `None` beyond the last.
    async fn media_part(&self, id: MediaId, part: u32) -> Result<Option<Bytes>>;
    /// The stored size of a media in bytes; `None` without parts.
    async fn media_bytes_size(&self, id: MediaId) -> Result<Option<u64>>;
    /// Deletes the bytes of these.
    async fn remove_media_bytes(&self, ids: Vec<MediaId>) -> Result<()>;
    /// Media whose bytes were stored before a moment and that have no row.
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
        self.lookup(move |db| media::one(db, &workspace, id)).await
    }
    async fn media_of_any(&self, id: MediaId) -> Result<Option<Media>> {
        self.lookup(move |db| media::of_any(db, id)).await
    }
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>> {
        self.write(move |db| media::lease(db, limit, now)).await
    }
    async fn next_media_due(&self) -> Result<Option<Timestamp>> {
        self.lookup(media::next_due).await
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
        self.lookup(move |db| media::files_to_remove(db, limit)).await
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
