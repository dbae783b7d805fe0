//! The positions of reading platforms, and histories that a platform refused to return.

use async_trait::async_trait;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::{channels, gaps};
use crate::{HistoryGap, Result};

/// The positions of reading platforms, and histories that a platform refused to return.
#[async_trait]
pub trait History: Send + Sync {
    /// The cursor from which a platform without webhooks is polled; `None` for the beginning.
    async fn poll_cursor(&self, workspace: &str, id: ChannelId) -> Result<Option<String>>;
    /// Stores the cursor. Must be called once everything before it is stored.
    async fn keep_poll_cursor(&self, workspace: &str, id: ChannelId, cursor: Option<String>) -> Result<()>;
    /// Stores that the platform refused to return a conversation's history.
    async fn keep_history_gap(&self, workspace: &str, gap: HistoryGap) -> Result<()>;
    /// The history of a conversation was read.
    async fn close_history_gap(&self, workspace: &str, channel: ChannelId, conversation: &str) -> Result<()>;
    /// The conversations of a channel whose history is still to be read; bounded.
    async fn history_gaps(&self, workspace: &str, channel: ChannelId) -> Result<Vec<HistoryGap>>;
    /// Gaps of all channels, with their workspaces, that are due for another attempt, the longest due first.
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
