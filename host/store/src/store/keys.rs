//! API keys, and the browser sessions started with them.

use async_trait::async_trait;
use weir_domain::caller::{Key, Session};
use weir_domain::id::KeyId;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::engine::Engine;
use crate::tables::keys;

/// API keys, and the browser sessions started with them.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Stores a key. The prefix is unique.
    async fn insert_key(&self, key: Key) -> Result<()>;
    /// Stores the first key of a workspace. Returns false, and stores nothing, if it has one already besides those
    /// named `configured`.
    async fn insert_first_key(&self, key: Key, configured: &str) -> Result<bool>;
    /// Stores the key from the operator's configuration, replacing the one of the same name: that becomes invalid, and
    /// its sessions end. The same key again changes nothing; a revoked one becomes valid again.
    async fn put_configured_key(&self, key: Key, now: Timestamp) -> Result<()>;
    /// The key with this prefix, also if ended.
    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<Key>>;
    /// All keys of a workspace, oldest first.
    async fn keys(&self, workspace: &str) -> Result<Vec<Key>>;
    /// Ends a key; returns false if it does not exist. Idempotent.
    async fn revoke_key(&self, workspace: &str, id: KeyId, now: Timestamp) -> Result<bool>;
    /// Stores a session of a key, and deletes expired ones, and the oldest of the key beyond the bound.
    async fn insert_session(&self, digest: [u8; 32], key: KeyId, expires_at: Timestamp, now: Timestamp) -> Result<()>;
    /// The session with this digest and its key, also if ended.
    async fn session(&self, digest: [u8; 32]) -> Result<Option<Session>>;
    /// Ends a session. Idempotent.
    async fn end_session(&self, digest: [u8; 32]) -> Result<()>;
}

#[async_trait]
impl<E: Engine> Keys for E {
    async fn insert_key(&self, key: Key) -> Result<()> {
        self.write(move |db| keys::insert(db, &key)).await
    }
    async fn insert_first_key(&self, key: Key, configured: &str) -> Result<bool> {
        let configured = configured.to_owned();
        self.write(move |db| {
            let known = keys::all(db, &key.workspace_id)?;
            if known.iter().any(|known| known.name != configured) {
                return Ok(false);
            }
            keys::insert(db, &key).map(|()| true)
        })
        .await
    }
    async fn put_configured_key(&self, key: Key, now: Timestamp) -> Result<()> {
        self.write(move |db| keys::configure(db, &key, now)).await
    }
    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<Key>> {
        let prefix = prefix.to_owned();
        self.lookup(move |db| keys::by_prefix(db, &prefix)).await
    }
    async fn keys(&self, workspace: &str) -> Result<Vec<Key>> {
        let workspace = workspace.to_owned();
        self.read(move |db| keys::all(db, &workspace)).await
    }
    async fn revoke_key(&self, workspace: &str, id: KeyId, now: Timestamp) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| keys::revoke(db, &workspace, id, now)).await
    }
    async fn insert_session(&self, digest: [u8; 32], key: KeyId, expires_at: Timestamp, now: Timestamp) -> Result<()> {
        self.write(move |db| keys::begin_session(db, digest, key, expires_at, now))
            .await
    }
    async fn session(&self, digest: [u8; 32]) -> Result<Option<Session>> {
        self.lookup(move |db| keys::session(db, digest)).await
    }
    async fn end_session(&self, digest: [u8; 32]) -> Result<()> {
        self.write(move |db| keys::end_session(db, digest)).await
    }
}
