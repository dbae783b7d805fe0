//! Sending: from a draft to the outbox; also typing indicators and read receipts.

use std::sync::Arc;

use weir_domain::caller::Caller;
use weir_domain::channel::Channel;
use weir_domain::claim::Claim;
use weir_domain::id::{ConversationId, MessageId, RefusalId};
use weir_domain::message::{Attachment, Content, Draft, Message, Origin, Status};
use weir_domain::policy::{Refusal, Stage, content, may_send, may_use};
use weir_runtime::context::ConversationFacts;
use weir_store::{EnqueueError, Enqueued, NewMessage, Resolution, StoreError};

use crate::accounts::Accounts;
use crate::accounts::calls::ActError;
use crate::accounts::features::Signal;
use crate::connectors::Connectors;
use crate::connectors::serving::{ConnectorError, NotServed};
use crate::core::Core;

/// A caller's request to send.
#[derive(Clone, Debug)]
pub struct SendRequest {
    /// The content; of an attachment only the id counts.
    pub content: Content,
    /// The message to quote.
    pub reply_to: Option<MessageId>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// Its origin.
    pub origin: Origin,
    /// Whether it may be split into several messages.
    pub split: bool,
    /// The caller's idempotency claim.
    pub claim: Option<Claim>,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A rule refused; nothing was sent, and the refusal was stored.
    #[error("{refusal}")]
    Refused {
        /// The rule and its facts.
        refusal: Refusal,
        /// The id of the stored refusal; `None` if it could not be stored.
        id: Option<RefusalId>,
        /// Whether the operator's own limit decided, and not the platform's.
        by_operator: bool,
    },
    /// A rule refused, or the database failed.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// The connector could not check the draft.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

/// Accepts messages of callers.
pub struct Outbound {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
}

impl Outbound {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>, accounts: Arc<Accounts>) -> Self {
        Self {
            core,
            connectors,
            accounts,
        }
    }

    /// Checks a message and puts it into the outbox. A refusal is stored with its explanation.
    ///
    /// # Errors
    /// See [`AcceptError`]; nothing was sent.
    pub async fn accept(
        &self,
        caller: &Caller,
        conversation: ConversationId,
        request: SendRequest,
    ) -> Result<Enqueued, AcceptError> {
        let (conversation, channel) = self
            .accounts
            .conversation(caller, conversation)
            .await?
            .ok_or(EnqueueError::NoConversation)?;
        let serving = self.connectors.serving_of(&channel).await?;
        let conversation = self
            .accounts
            .probed(&serving, &channel, conversation, request.content.kind())
            .await;
        let rules = serving.policies.rules(&channel);
        let parts = if request.split {
            content::split(&rules, request.content)
        } else {
            vec![request.content]
        };
        let mut drafts = Vec::with_capacity(parts.len());
        for part in parts {
            let reply_to = request.reply_to.filter(|_| drafts.is_empty());
            drafts.push(self.draft(caller, part, reply_to).await?);
        }
        for draft in &drafts {
            let now = self.core.now();
            let judged = may_send(&rules, &channel, &conversation, draft.clone(), Stage::Accept, now);
            // The store returns the refusal: only it knows whether this very request was accepted before.
            if judged.is_err() {
                break;
            }
            let findings = serving.connector.prepare(draft).await.map_err(ConnectorError::from)?;
            if !findings.is_empty() {
                let refusal = Refusal::DraftInvalid { findings };
                return Err(self.refuse(&channel, conversation.id, None, refusal).await);
            }
        }
        let mut contents = drafts.into_iter().map(|draft| draft.content);
        let new = NewMessage {
            workspace_id: caller.workspace_id().to_owned(),
            conversation_id: conversation.id,
            content: contents.next().expect("content has at least one part"),
            then: contents.collect(),
            reply_to: request.reply_to,
            client_ref: request.client_ref,
            origin: request.origin,
            claim: request.claim,
        };
        let enqueued = self.core.store.enqueue(new, &serving.policies, self.core.now()).await;
        if let Err(EnqueueError::Refused(refusal)) = enqueued {
            return Err(self.refuse(&channel, conversation.id, None, refusal).await);
        }
        let enqueued = enqueued?;
        if matches!(enqueued, Enqueued::New(_)) {
            self.core.wakes.messages.notify_one();
        }
        Ok(enqueued)
    }

    /// Stores a refusal of a caller's message, and returns it.
    async fn refuse(
        &self,
        channel: &Channel,
        conversation: ConversationId,
        message: Option<MessageId>,
        refusal: Refusal,
    ) -> AcceptError {
        AcceptError::Refused {
            id: self
                .core
                .keep_send_refusal(channel, Some(conversation), message, &refusal)
                .await,
            by_operator: refusal.is_set_by(&channel.policy),
            refusal,
        }
    }

    /// Queues a failed or uncertain message again, with a new policy check. `None` if not found.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub async fn retry(&self, caller: &Caller, id: MessageId) -> Result<Option<Message>, AcceptError> {
        let Some(message) = self
            .core
            .store
            .message(caller.workspace_id(), id)
            .await
            .map_err(EnqueueError::from)?
        else {
            return Ok(None);
        };
        let Some(channel) = self
            .core
            .store
            .channel(caller.workspace_id(), message.channel_id)
            .await
            .map_err(EnqueueError::from)?
        else {
            return Ok(None);
        };
        let serving = self.connectors.serving_of(&channel).await?;
        let retried = self
            .core
            .store
            .retry_message(caller.workspace_id(), id, &serving.policies, self.core.now())
            .await;
        if let Err(EnqueueError::Refused(refusal)) = retried {
            return Err(self.refuse(&channel, message.conversation_id, Some(id), refusal).await);
        }
        let retried = retried?;
        self.core.wakes.messages.notify_one();
        Ok(retried)
    }

    /// Cancels a queued message, or marks an uncertain one as failed, after which it is not looked up again. `None` if
    /// the id is unknown; the inner error is the message whose status allows neither.
    ///
    /// # Errors
    /// The database failed.
    pub async fn cancel(&self, caller: &Caller, id: MessageId) -> Result<Option<Result<Message, Message>>, StoreError> {
        let store = &self.core.store;
        let mut cancelled = store.cancel_message(caller.workspace_id(), id, self.core.now()).await?;
        if matches!(&cancelled, Some(Err(message)) if message.status == Status::Uncertain)
            && store
                .resolve_uncertain(caller.workspace_id(), id, Resolution::GivenUp, self.core.now())
                .await?
        {
            cancelled = store.message(caller.workspace_id(), id).await?.map(Ok);
        }
        if matches!(cancelled, Some(Ok(_))) {
            // The next message of the conversation may be sent now.
            self.core.wakes.messages.notify_one();
        }
        Ok(cancelled)
    }

    /// Shows a typing indicator or a read receipt to the contact.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn signal(&self, caller: &Caller, conversation: ConversationId, signal: Signal) -> Result<(), ActError> {
        let (conversation, channel) = self
            .accounts
            .conversation(caller, conversation)
            .await?
            .ok_or(ActError::NotFound)?;
        if signal == Signal::Read {
            // The conversation was read here, whether or not the platform accepts a receipt.
            self.core.store.viewed(caller.workspace_id(), conversation.id).await?;
        }
        let serving = self.connectors.serving_of(&channel).await?;
        may_use(&serving.policies.rules(&channel), &channel)?;
        let facts = ConversationFacts::from(&conversation);
        let signal = match signal {
            Signal::Typing => weir_runtime::Signal::Typing,
            Signal::Read => weir_runtime::Signal::Read,
        };
        self.accounts
            .call(&channel, |connector, context| {
                let facts = facts.clone();
                Box::pin(async move { connector.signal(context, &facts, signal).await })
            })
            .await?;
        Ok(())
    }

    /// The draft of a request, with the stored data of its attachment and of the message that it quotes.
    async fn draft(
        &self,
        caller: &Caller,
        mut content: Content,
        reply_to: Option<MessageId>,
    ) -> Result<Draft, EnqueueError> {
        let workspace = caller.workspace_id();
        if let Some(id) = content.media().map(|media| media.id) {
            let row = self
                .core
                .store
                .media(workspace, id)
                .await?
                .filter(|row| row.is_of(caller));
            content = content.map_media(|_| Attachment {
                id,
                mime_type: row.as_ref().and_then(|row| row.mime_type.clone()),
                size: row.as_ref().and_then(|row| row.size),
                url: None,
                status: row.map(|row| row.status),
            });
        }
        let reply_to = match reply_to {
            Some(id) => self
                .core
                .store
                .message(workspace, id)
                .await?
                .and_then(|message| message.platform_id),
            None => None,
        };
        Ok(Draft { content, reply_to })
    }
}

impl From<NotServed> for AcceptError {
    fn from(error: NotServed) -> Self {
        ConnectorError::unserved(error).map_or_else(Self::from, Self::from)
    }
}

impl From<StoreError> for AcceptError {
    fn from(error: StoreError) -> Self {
        EnqueueError::from(error).into()
    }
}
