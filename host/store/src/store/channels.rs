//! Channels: connected accounts, and their set-up.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::Credential;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::channels;
use crate::{ChannelPatch, Listed, NewChannel, Page, Result, acts};

/// Channels: connected accounts, and their set-up.
#[async_trait]
pub trait Channels: Send + Sync {
    /// Connects an account, with its credential, its state, the end of its session and an event, in one transaction. An
    /// account that the app knows already is updated in place: its id, history and name stay, and a deleted one is
    /// restored. Returns whether it is new.
    async fn connect_channel(&self, new: NewChannel, credential: Credential, now: Timestamp)
    -> Result<(Channel, bool)>;
    /// The channel with this id, also if deleted.
    async fn channel(&self, workspace: &str, id: ChannelId) -> Result<Option<Channel>>;
    /// The same in any workspace: for callers that have the id from the database or the runtime.
    async fn channel_of_any(&self, id: ChannelId) -> Result<Option<Channel>>;
    /// Channels of a workspace, or those given, newest first; deleted ones only on request.
    async fn channels(
        &self,
        workspace: &str,
        these: BTreeSet<ChannelId>,
        deleted: bool,
        page: Page,
    ) -> Result<Listed<Channel>>;
    /// Applies an operator's changes, with an event. `None` if the channel does not exist.
    async fn update_channel(
        &self,
        workspace: &str,
        id: ChannelId,
        patch: ChannelPatch,
        now: Timestamp,
    ) -> Result<Option<Channel>>;
    /// Sets whether a channel works, with an event if that changed: `reauthorization_required` and `recovered` among
    /// them. Messages held for the authorization become due when it recovers.
    async fn set_channel_status(
        &self,
        workspace: &str,
        id: ChannelId,
        status: ChannelStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<()>;
    /// Deletes a channel, with an event: its credential is destroyed, queued messages fail, its conversations end with
    /// the next [`Conversations::notify_window_events`](super::Conversations::notify_window_events), its history stays.
    async fn delete_channel(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<Option<Channel>>;
    /// The channel of an account, also if deleted. An account belongs to an app once, in any workspace.
    async fn channel_of_account(&self, app: &str, platform_id: &str) -> Result<Option<Channel>>;
    /// The set-up of a channel succeeded.
    async fn set_up_done(&self, workspace: &str, id: ChannelId) -> Result<()>;
    /// The set-up of a channel failed, and is due again after a delay that grows with each failure.
    async fn set_up_failed(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<()>;
    /// Channels of all workspaces whose set-up is due, the longest due first.
    async fn set_ups_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Channel>>;
    /// Must be called at the start: set-ups without a reported end are due now, and their channels degraded until then,
    /// with an event each. Returns their number.
    async fn resume_set_ups(&self, now: Timestamp) -> Result<u32>;
}

#[async_trait]
impl<E: Engine> Channels for E {
    async fn connect_channel(
        &self,
        new: NewChannel,
        credential: Credential,
        now: Timestamp,
    ) -> Result<(Channel, bool)> {
        self.write(move |db| acts::channels::connect(db, new.clone(), &credential, now))
            .await
    }
    async fn channel(&self, workspace: &str, id: ChannelId) -> Result<Option<Channel>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| channels::one(db, &workspace, id)).await
    }
    async fn channel_of_any(&self, id: ChannelId) -> Result<Option<Channel>> {
        self.lookup(move |db| channels::of_any(db, id)).await
    }
    async fn channels(
        &self,
        workspace: &str,
        these: BTreeSet<ChannelId>,
        deleted: bool,
        page: Page,
    ) -> Result<Listed<Channel>> {
        let workspace = workspace.to_owned();
        self.read(move |db| channels::all(db, &workspace, &these, deleted, &page))
            .await
    }
    async fn update_channel(
        &self,
        workspace: &str,
        id: ChannelId,
        patch: ChannelPatch,
        now: Timestamp,
    ) -> Result<Option<Channel>> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::channels::update(db, &workspace, id, patch.clone(), now))
            .await
    }
    async fn set_channel_status(
        &self,
        workspace: &str,
        id: ChannelId,
        status: ChannelStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        let workspace = workspace.to_owned();
        let reason = reason.to_owned();
        self.write(move |db| acts::channels::set_status(db, &workspace, id, status, &reason, now))
            .await
    }
    async fn delete_channel(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<Option<Channel>> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::channels::delete(db, &workspace, id, now))
            .await
    }
    async fn channel_of_account(&self, app: &str, platform_id: &str) -> Result<Option<Channel>> {
        let app = app.to_owned();
        let platform_id = platform_id.to_owned();
        self.lookup(move |db| channels::by_platform_id(db, &app, &platform_id))
            .await
    }
    async fn set_up_done(&self, workspace: &str, id: ChannelId) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| channels::set_up_done(db, &workspace, id)).await
    }
    async fn set_up_failed(&self, workspace: &str, id: ChannelId, now: Timestamp) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| channels::set_up_failed(db, &workspace, id, now))
            .await
    }
    async fn set_ups_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Channel>> {
        self.read(move |db| channels::set_ups_due(db, now, limit)).await
    }
    async fn resume_set_ups(&self, now: Timestamp) -> Result<u32> {
        self.write(move |db| acts::channels::resume_set_ups(db, now)).await
    }
}
