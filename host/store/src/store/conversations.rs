//! Conversations, their windows and their messages.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_domain::message::Message;
use weir_domain::policy::PolicySet;
use weir_domain::time::Timestamp;

use crate::acts::window_events;
use crate::engine::Engine;
use crate::tables::{conversations, messages};
use crate::{ConversationFilter, Listed, Page, Result};

/// Conversations, their windows and their messages.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Appends the events that the passing of time causes for up to `limit` conversations: the window is about to
    /// close, or has closed, by the rules of the app in `policy_sets`; the conversations of a deleted channel end. The
    /// longest due first. Returns the number processed; `limit` if there may be more. A conversation whose app has no
    /// rules there is processed again after [`weir_domain::limits::WINDOW_EVENTS_WAIT`]. Of a window that moved
    /// meanwhile only the present state is reported.
    async fn notify_window_events(
        &self,
        policy_sets: BTreeMap<String, PolicySet>,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32>;
    /// One conversation.
    async fn conversation(&self, workspace: &str, id: ConversationId) -> Result<Option<Conversation>>;
    /// Conversations, the one with the newest message first. One page scans at most
    /// [`weir_domain::limits::ROWS_SCANNED`] rows, so that with a name it may be empty although more follow.
    async fn conversations(
        &self,
        workspace: &str,
        filter: ConversationFilter,
        page: Page,
    ) -> Result<Listed<Conversation>>;
    /// The newest message of each of these conversations.
    async fn last_messages(
        &self,
        workspace: &str,
        conversations: Vec<ConversationId>,
    ) -> Result<BTreeMap<ConversationId, Message>>;
    /// The business viewed the conversation: none of its messages is unread.
    async fn viewed(&self, workspace: &str, id: ConversationId) -> Result<()>;
    /// Stores the platform's report of the content that a conversation supports.
    async fn set_images_allowed(
        &self,
        workspace: &str,
        id: ConversationId,
        allowed: bool,
        until: Timestamp,
    ) -> Result<()>;
    /// One message.
    async fn message(&self, workspace: &str, id: MessageId) -> Result<Option<Message>>;
    /// Messages of these channels, of all if none is given, that contain these words, in any case, newest first. One
    /// page scans at most the next [`limits::MESSAGES_SEARCHED`](weir_domain::limits::MESSAGES_SEARCHED), so it may be
    /// empty although more follow.
    async fn search_messages(
        &self,
        workspace: &str,
        of: BTreeSet<ChannelId>,
        words: &str,
        page: Page,
    ) -> Result<Listed<Message>>;
    /// Messages of a conversation, newest first.
    async fn messages(&self, workspace: &str, conversation: ConversationId, page: Page) -> Result<Listed<Message>>;
}

#[async_trait]
impl<E: Engine> Conversations for E {
    async fn notify_window_events(
        &self,
        policy_sets: BTreeMap<String, PolicySet>,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32> {
        self.write(move |db| window_events::sweep(db, &policy_sets, limit, now))
            .await
    }
    async fn conversation(&self, workspace: &str, id: ConversationId) -> Result<Option<Conversation>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| conversations::one(db, &workspace, id)).await
    }
    async fn conversations(
        &self,
        workspace: &str,
        filter: ConversationFilter,
        page: Page,
    ) -> Result<Listed<Conversation>> {
        let workspace = workspace.to_owned();
        self.read(move |db| conversations::all(db, &workspace, &filter, &page))
            .await
    }
    async fn last_messages(
        &self,
        workspace: &str,
        conversations: Vec<ConversationId>,
    ) -> Result<BTreeMap<ConversationId, Message>> {
        let workspace = workspace.to_owned();
        self.read(move |db| messages::last_of(db, &workspace, &conversations))
            .await
    }
    async fn viewed(&self, workspace: &str, id: ConversationId) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| conversations::viewed(db, &workspace, id)).await
    }
    async fn set_images_allowed(
        &self,
        workspace: &str,
        id: ConversationId,
        allowed: bool,
        until: Timestamp,
    ) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| conversations::set_images_allowed(db, &workspace, id, allowed, until))
            .await
    }
    async fn message(&self, workspace: &str, id: MessageId) -> Result<Option<Message>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| messages::one(db, &workspace, id)).await
    }
    async fn search_messages(
        &self,
        workspace: &str,
        of: BTreeSet<ChannelId>,
        words: &str,
        page: Page,
    ) -> Result<Listed<Message>> {
        let (workspace, words) = (workspace.to_owned(), words.to_lowercase());
        self.read(move |db| messages::search(db, &workspace, &of, &words, &page))
            .await
    }
    async fn messages(&self, workspace: &str, conversation: ConversationId, page: Page) -> Result<Listed<Message>> {
        let workspace = workspace.to_owned();
        self.read(move |db| messages::of_conversation(db, &workspace, conversation, &page))
            .await
    }
}
