//! Stored bytes: what is known of them, what is to be fetched and what is to be removed.

use async_trait::async_trait;
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
    async fn media_without_row(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>> {
        self.read(move |db| media::without_row(db, ids)).await
    }
}
