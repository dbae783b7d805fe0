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
    /// Notes that the platform is asked for another credential: what follows cannot be undone. Commit this before.
    async fn begin_renewal(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<()>;
    /// Notes that the platform has refused to renew: the credential is as it was.
    async fn end_renewal(&self, workspace: &str, id: ChannelId) -> Result<()>;
    /// Since when a renewal has no end: it is under way, or was cut off.
    async fn renewal_begun(&self, workspace: &str, id: ChannelId) -> Result<Option<Timestamp>>;
    /// Puts a renewed credential in the place of `old`, which it was made from. A channel that waited for it is connected again,
    /// with an event. False, and nothing is written, if the channel has another credential by now, or was deleted. Repeating it
    /// changes nothing.
    async fn put_credential(
        &self,
        workspace: &str,
        id: ChannelId,
        old: Credential,
        renewed: Credential,
        now: Timestamp,
    ) -> Result<bool>;
    /// Channels of all workspaces, with those, whose access token dies before `before` or whose renewal has no end, soonest first.
    async fn credentials_due(&self, before: Timestamp, limit: u32) -> Result<Vec<(String, ChannelId)>>;
}

#[async_trait]
impl<E: Engine> Credentials for E {
    async fn credential(&self, workspace: &str, id: ChannelId) -> Result<Option<Credential>> {
        let workspace = workspace.to_owned();
        self.look(move |db| channels::credential(db, &workspace, id)).await
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
    async fn renewal_begun(&self, workspace: &str, id: ChannelId) -> Result<Option<Timestamp>> {
        let workspace = workspace.to_owned();
        self.look(move |db| channels::renewal_begun(db, &workspace, id)).await
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
