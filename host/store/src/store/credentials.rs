//! The credentials of channels, and their renewal.

use async_trait::async_trait;
use weir_domain::credential::Credential;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::channels;
use crate::{Result, acts};

/// The credentials of channels, and their renewal.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// The credential of a channel, decrypted.
    async fn credential(&self, workspace: &str, id: ChannelId) -> Result<Option<Credential>>;
    /// Notes that a new credential is requested from the platform: the request cannot be undone. Must be committed
    /// before the request.
    async fn begin_renewal(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<()>;
    /// Notes that the platform refused the renewal: the credential is unchanged.
    async fn end_renewal(&self, workspace: &str, id: ChannelId) -> Result<()>;
    /// Since when a renewal has no end: it is in progress, or was interrupted.
    async fn renewal_started(&self, workspace: &str, id: ChannelId) -> Result<Option<Timestamp>>;
    /// Replaces the credential `old` by the one renewed from it. A channel that waited for it is connected again, with
    /// an event. Returns false, and writes nothing, if the channel has another credential by now, or was deleted.
    /// Idempotent.
    async fn put_credential(
        &self,
        workspace: &str,
        id: ChannelId,
        old: Credential,
        renewed: Credential,
        now: Timestamp,
    ) -> Result<bool>;
    /// Channels of all workspaces whose access token expires before `before` or whose renewal has no end, soonest
    /// first, each with its workspace.
    async fn credentials_due(&self, before: Timestamp, limit: u32) -> Result<Vec<(String, ChannelId)>>;
}

#[async_trait]
impl<E: Engine> Credentials for E {
    async fn credential(&self, workspace: &str, id: ChannelId) -> Result<Option<Credential>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| channels::credential(db, &workspace, id)).await
    }
    async fn begin_renewal(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| channels::note_renewal(db, &workspace, id, Some(now)))
            .await
    }
    async fn end_renewal(&self, workspace: &str, id: ChannelId) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| channels::note_renewal(db, &workspace, id, None))
            .await
    }
    async fn renewal_started(&self, workspace: &str, id: ChannelId) -> Result<Option<Timestamp>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| channels::renewal_started(db, &workspace, id))
            .await
    }
    async fn put_credential(
        &self,
        workspace: &str,
        id: ChannelId,
        old: Credential,
        renewed: Credential,
        now: Timestamp,
    ) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::channels::put_renewed(db, &workspace, id, &old, &renewed, now))
            .await
    }
    async fn credentials_due(&self, before: Timestamp, limit: u32) -> Result<Vec<(String, ChannelId)>> {
        self.read(move |db| channels::credentials_due(db, before, limit)).await
    }
}
