//! Where reading a platform goes on, and what it would not show.

use async_trait::async_trait;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::{channels, gaps};
use crate::{HistoryGap, Result};

/// Where reading a platform goes on, and what it would not show.
#[async_trait]
pub trait History: Send + Sync {
    /// Where asking a platform without webhooks goes on; none at the beginning.
    async fn poll_cursor(&self, workspace: &str, id: ChannelId) -> Result<Option<String>>;
    /// Keeps where it goes on. To be called once what came before it is recorded.
    async fn keep_poll_cursor(&self, workspace: &str, id: ChannelId, cursor: Option<String>) -> Result<()>;
    /// Keeps that the platform refused to show a conversation's history.
    async fn keep_history_gap(&self, workspace: &str, gap: HistoryGap) -> Result<()>;
    /// The history of a conversation was read.
    async fn close_history_gap(&self, workspace: &str, channel: ChannelId, conversation: &str) -> Result<()>;
    /// The conversations of a channel whose history is still to be read; bounded.
    async fn history_gaps(&self, workspace: &str, channel: ChannelId) -> Result<Vec<HistoryGap>>;
    /// Those of all channels, with their workspaces, that are to be asked for again, the longest due first.
    async fn history_gaps_due(&self, limit: u32, now: Timestamp) -> Result<Vec<(String, HistoryGap)>>;
}

#[async_trait]
impl<E: Engine> History for E {
    async fn poll_cursor(&self, workspace: &str, id: ChannelId) -> Result<Option<String>> {
        let workspace = workspace.to_owned();
        self.read(move |db| channels::poll_cursor(db, &workspace, id)).await
    }
    async fn keep_poll_cursor(&self, workspace: &str, id: ChannelId, cursor: Option<String>) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| channels::keep_poll_cursor(db, &workspace, id, cursor.as_deref()))
            .await
    }
    async fn keep_history_gap(&self, workspace: &str, gap: HistoryGap) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| gaps::keep(db, &workspace, &gap)).await
    }
    async fn close_history_gap(&self, workspace: &str, channel: ChannelId, conversation: &str) -> Result<()> {
        let workspace = workspace.to_owned();
        let conversation = conversation.to_owned();
        self.write(move |db| gaps::close(db, &workspace, channel, &conversation))
            .await
    }
    async fn history_gaps(&self, workspace: &str, channel: ChannelId) -> Result<Vec<HistoryGap>> {
        let workspace = workspace.to_owned();
        self.read(move |db| gaps::of(db, &workspace, channel)).await
    }
    async fn history_gaps_due(&self, limit: u32, now: Timestamp) -> Result<Vec<(String, HistoryGap)>> {
        self.read(move |db| gaps::due(db, limit, now)).await
    }
}
