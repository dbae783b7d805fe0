//! From a draft to the outbox, and what else a caller does in a conversation.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::caller::Caller;
use weir_domain::channel::Channel;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ConversationId, MessageId, RefusalId};
use weir_domain::manifest::{ContentRule, Manifest, Statuses, Support};
use weir_domain::message::{Attachment, Content, ContentKind, Draft, Message, MessageError, Origin, Status};
use weir_domain::policy::{
    BudgetView, ContactView, ConversationView, Refusal, RefusalView, Rules, Stage, WindowView, content, may_send,
    may_use,
};
use weir_domain::time::Timestamp;
use weir_runtime::context::ConversationFacts;
use weir_store::{EnqueueError, Enqueued, NewMessage, Resolution, StoreError};

use crate::calls::{CallFailure, NotServed, Serving};
use crate::host::Host;

/// What a caller asks to be sent.
#[derive(Clone, Debug)]
pub struct SendRequest {
    /// What it carries; of an attachment only the id counts.
    pub content: Content,
    /// The message to quote.
    pub reply_to: Option<MessageId>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// Which surface made it.
    pub origin: Origin,
    /// Whether it may become several messages.
    pub split: bool,
    /// The caller's idempotency key, and the fingerprint of the request.
    pub idempotency: Option<(String, String)>,
}

/// A connector did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectorError {
    /// No version of it serves.
    #[error("no version of the connector {connector:?} serves; install and promote one")]
    NotServing {
        /// Which.
        connector: String,
    },
    /// The version that serves is set aside; in words that say why and what to do.
    #[error("{0}")]
    SetAside(String),
    /// All slots are taken; come back.
    #[error("too many calls run; try again")]
    Busy,
    /// It does not have this ability.
    #[error("the connector does not have {interface}")]
    NotProvided {
        /// Which interface.
        interface: &'static str,
    },
    /// It says why not, or the platform does.
    #[error("{}", .0.detail)]
    Failed(Box<MessageError>),
    /// It broke off, ran too long, or handed over what cannot be taken.
    #[error("the connector failed: {0}")]
    Broken(String),
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A rule says no; nothing was sent, and the no was kept.
    #[error("{refusal}")]
    Refused {
        /// The rule and its facts.
        refusal: Refusal,
        /// Under which it can be asked for; none if it could not be kept.
        id: Option<RefusalId>,
        /// Whether the operator's own limit decided, and not the platform's.
        by_operator: bool,
    },
    /// A rule, or the record.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// The connector could not judge the draft.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
}

/// Why something could not be done in a conversation.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No such conversation or channel in this workspace.
    #[error("there is none of this id")]
    NotFound,
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connector or the platform says no.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a contact may be shown besides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Somebody types.
    Typing,
    /// Their messages were read.
    Read,
}

/// What a conversation can carry now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Features {
    /// Whether a message would be accepted now.
    pub can_reply: bool,
    /// Why not.
    pub refusal: Option<RefusalView>,
    /// The messaging window.
    pub window: Option<WindowView>,
    /// The message budget.
    pub budget: Option<BudgetView>,
    /// Each kind of content, with its limits.
    pub contents: Vec<ContentFeature>,
    /// Which statuses can be known.
    pub statuses: Statuses,
    /// What can be shown besides messages.
    pub signals: Vec<Signal>,
    /// When this was found.
    pub at: Timestamp,
}

/// What a channel can carry, whatever the conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChannelFeatures {
    /// Each kind of content, with its limits, in both directions.
    pub contents: Vec<ContentRule>,
    /// Which statuses can be known, and how.
    pub statuses: Statuses,
    /// What can be shown besides messages.
    pub signals: Vec<Signal>,
    /// The length of the messaging window in milliseconds; null if the platform has none.
    pub window_ms: Option<u64>,
    /// Messages until the contact writes again; null if the platform does not count.
    pub budget_limit: Option<u32>,
    /// Whether a business may write first.
    pub may_write_first: bool,
    /// Whether one message may go to many.
    pub broadcast: bool,
}

/// One kind of content, in this conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContentFeature {
    /// What the connector declares, tightened by the operator.
    #[serde(flatten)]
    pub rule: ContentRule,
    /// Whether it may be sent here, as far as is known.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl Host {
    /// Judges a message and puts it into the outbox. A refusal is kept so that it can explain itself.
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
            .conversation(caller, conversation)
            .await?
            .ok_or(EnqueueError::NoConversation)?;
        let serving = self.serving(&channel.app).await.map_err(unserved)?;
        let conversation = self
            .probed(&serving, &channel, conversation, request.content.kind())
            .await;
        let rules = serving.book.rules(&channel);
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
            let now = self.now();
            let judged = may_send(&rules, &channel, &conversation, draft.clone(), Stage::Accept, now);
            // What a rule refuses is left to the record to refuse: it knows whether this very request was accepted before.
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
            content: contents.next().expect("content is split into one part at least"),
            then: contents.collect(),
            reply_to: request.reply_to,
            client_ref: request.client_ref,
            origin: request.origin,
            idempotency: request.idempotency,
        };
        let enqueued = self.0.store.enqueue(new, &serving.book, self.now()).await;
        if let Err(EnqueueError::Refused(refusal)) = enqueued {
            return Err(self.refuse(&channel, conversation.id, None, refusal).await);
        }
        let enqueued = enqueued?;
        if matches!(enqueued, Enqueued::New(_)) {
            self.told();
            self.0.wakes.messages.notify_one();
        }
        Ok(enqueued)
    }

    /// Keeps a no to a caller's message, and says it.
    async fn refuse(
        &self,
        channel: &Channel,
        conversation: ConversationId,
        message: Option<MessageId>,
        refusal: Refusal,
    ) -> AcceptError {
        AcceptError::Refused {
            id: self
                .keep_send_refusal(channel, Some(conversation), message, &refusal)
                .await,
            by_operator: refusal.is_set_by(&channel.policy),
            refusal,
        }
    }

    /// Queues a failed or uncertain message again, judged anew. None if there is none of this id.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub async fn retry(&self, caller: &Caller, id: MessageId) -> Result<Option<Message>, AcceptError> {
        let Some(message) = self
            .0
            .store
            .message(caller.workspace_id(), id)
            .await
            .map_err(EnqueueError::from)?
        else {
            return Ok(None);
        };
        let Some(channel) = self
            .0
            .store
            .channel(message.channel_id)
            .await
            .map_err(EnqueueError::from)?
        else {
            return Ok(None);
        };
        let serving = self.serving(&channel.app).await.map_err(unserved)?;
        let retried = self
            .0
            .store
            .retry_message(caller.workspace_id(), id, &serving.book, self.now())
            .await;
        if let Err(EnqueueError::Refused(refusal)) = retried {
            return Err(self.refuse(&channel, message.conversation_id, Some(id), refusal).await);
        }
        let retried = retried?;
        self.told();
        self.0.wakes.messages.notify_one();
        Ok(retried)
    }

    /// Takes a queued message back, and gives one in doubt up: it fails, and is asked about no more. None if there is none of
    /// this id; the inner error is the message as it stands when neither can be done.
    ///
    /// # Errors
    /// The record.
    pub async fn cancel(&self, caller: &Caller, id: MessageId) -> Result<Option<Result<Message, Message>>, StoreError> {
        let store = &self.0.store;
        let mut cancelled = store.cancel_message(caller.workspace_id(), id, self.now()).await?;
        if matches!(&cancelled, Some(Err(message)) if message.status == Status::Uncertain)
            && store.resolve_uncertain(id, Resolution::GivenUp, self.now()).await?
        {
            cancelled = store.message(caller.workspace_id(), id).await?.map(Ok);
        }
        if matches!(cancelled, Some(Ok(_))) {
            self.told();
            // The next message of the conversation may go now.
            self.0.wakes.messages.notify_one();
        }
        Ok(cancelled)
    }

    /// Shows the contact that somebody types, or that their messages were read.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn signal(&self, caller: &Caller, conversation: ConversationId, signal: Signal) -> Result<(), ActError> {
        let (conversation, channel) = self
            .conversation(caller, conversation)
            .await?
            .ok_or(ActError::NotFound)?;
        if signal == Signal::Read {
            // Somebody here looked, whether or not the platform can be told of it.
            self.0.store.looked_at(caller.workspace_id(), conversation.id).await?;
        }
        let serving = self.serving(&channel.app).await?;
        may_use(&serving.book.rules(&channel), &channel)?;
        let facts = ConversationFacts::from(&conversation);
        let signal = match signal {
            Signal::Typing => weir_runtime::Signal::Typing,
            Signal::Read => weir_runtime::Signal::Read,
        };
        self.call(&channel, |connector, context| {
            let facts = facts.clone();
            Box::pin(async move { connector.signal(context, &facts, signal).await })
        })
        .await?;
        Ok(())
    }

    /// What a conversation can carry now; asks the platform where the connector says that it must be asked.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn features(&self, caller: &Caller, conversation: ConversationId) -> Result<Features, ActError> {
        let (conversation, channel) = self
            .conversation(caller, conversation)
            .await?
            .ok_or(ActError::NotFound)?;
        let serving = self.serving(&channel.app).await?;
        let rules = serving.book.rules(&channel);
        let probed = rules
            .contents
            .iter()
            .find(|rule| rule.probed && rule.outbound == Support::Full);
        let kind = probed.map(|rule| rule.kind);
        let conversation = self.probed(&serving, &channel, conversation, kind).await;
        let now = self.now();
        let view = ConversationView::of(&conversation, &channel, &rules, now);
        let manifest = &serving.book.manifest;
        let contents = rules
            .contents
            .iter()
            .map(|rule| ContentFeature::of(rule, &rules, &channel, &conversation))
            .collect();
        Ok(Features {
            can_reply: view.can_reply,
            refusal: view.refusal,
            window: view.window,
            budget: view.budget,
            contents,
            statuses: manifest.statuses,
            signals: signals(manifest),
            at: now,
        })
    }

    /// What a channel can carry, by the platform's rules and what the operator tightened.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn channel_features(&self, channel: &Channel) -> Result<ChannelFeatures, ActError> {
        let serving = self.serving(&channel.app).await?;
        let rules = serving.book.rules(channel);
        let manifest = &serving.book.manifest;
        Ok(ChannelFeatures {
            statuses: manifest.statuses,
            signals: signals(manifest),
            window_ms: rules
                .window
                .map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
            budget_limit: rules.budget,
            may_write_first: rules.initiation,
            broadcast: rules.broadcast,
            contents: rules.contents,
        })
    }

    /// A conversation as the API shows it.
    ///
    /// # Errors
    /// The record.
    pub async fn view(&self, conversation: &Conversation) -> Result<ConversationView, StoreError> {
        let id = conversation.channel_id;
        let channel = self.0.store.channel(id).await?.ok_or_else(|| StoreError::Damaged {
            place: format!("channel {id}"),
            reason: format!(
                "the conversation {} goes through it, and it is not there",
                conversation.id
            ),
        })?;
        match self.serving(&channel.app).await {
            Ok(serving) => {
                let rules = serving.book.rules(&channel);
                Ok(ConversationView::of(conversation, &channel, &rules, self.now()))
            }
            Err(NotServed::Store(error)) => Err(error),
            Err(error) => Ok(without_rules(conversation, &error.to_string())),
        }
    }

    async fn conversation(
        &self,
        caller: &Caller,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Channel)>, StoreError> {
        let Some(conversation) = self.0.store.conversation(caller.workspace_id(), id).await? else {
            return Ok(None);
        };
        let channel = self.0.store.channel(conversation.channel_id).await?;
        Ok(channel.map(|channel| (conversation, channel)))
    }

    /// The draft of a request, with what the record knows of its attachment and of the message that it quotes.
    async fn draft(
        &self,
        caller: &Caller,
        mut content: Content,
        reply_to: Option<MessageId>,
    ) -> Result<Draft, EnqueueError> {
        let workspace = caller.workspace_id();
        if let Some(id) = content.media().map(|media| media.id) {
            let row = self
                .0
                .store
                .media(id)
                .await?
                .filter(|row| row.workspace_id == workspace);
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
                .0
                .store
                .message(workspace, id)
                .await?
                .and_then(|message| message.platform_id),
            None => None,
        };
        Ok(Draft { content, reply_to })
    }

    /// The conversation with what the platform says that it can carry, asked if that is not known and `kind` depends on it.
    /// Best effort: what cannot be asked stays unknown, and the platform decides at the send.
    async fn probed(
        &self,
        serving: &Serving,
        channel: &Channel,
        mut conversation: Conversation,
        kind: Option<ContentKind>,
    ) -> Conversation {
        let rule = kind.and_then(|kind| serving.book.manifest.content_rule(kind));
        let is_asked = rule.is_some_and(|rule| rule.probed && rule.kind == ContentKind::Image)
            && serving.book.manifest.provides("probing")
            && conversation.images_allowed.is_none();
        if !is_asked {
            return conversation;
        }
        let facts = ConversationFacts::from(&conversation);
        let probed = self
            .call(channel, |connector, context| {
                let facts = facts.clone();
                Box::pin(async move { connector.probe(context, &facts).await })
            })
            .await;
        match probed {
            Ok(capabilities) => {
                let images = capabilities.iter().find(|found| found.kind == ContentKind::Image);
                if let Some(images) = images {
                    conversation.images_allowed = Some(images.allowed);
                    let until = self.now().after(images.keep);
                    let kept = self
                        .0
                        .store
                        .set_images_allowed(conversation.id, images.allowed, until)
                        .await;
                    if let Err(error) = kept {
                        tracing::warn!(conversation.id = %conversation.id, "What it can carry was not kept: {error}");
                    }
                }
            }
            Err(error) => {
                tracing::debug!(conversation.id = %conversation.id, "The platform could not be asked: {error}");
            }
        }
        conversation
    }
}

fn signals(manifest: &Manifest) -> Vec<Signal> {
    if manifest.provides("signals") {
        vec![Signal::Typing, Signal::Read]
    } else {
        Vec::new()
    }
}

impl ContentFeature {
    fn of(rule: &ContentRule, rules: &Rules, channel: &Channel, conversation: &Conversation) -> Self {
        let reason = match rule.outbound {
            Support::Full if rule.kind == ContentKind::Image => {
                let country = channel.country.as_deref().unwrap_or_default();
                let denied = rules
                    .without_images
                    .iter()
                    .any(|denied| denied.eq_ignore_ascii_case(country));
                (denied || conversation.images_allowed == Some(false)).then_some("media_not_allowed_in_region")
            }
            Support::Full => None,
            Support::OptIn => Some("switched_off"),
            Support::Fallback | Support::Rejected => Some("content_type_not_supported"),
        };
        Self {
            rule: rule.clone(),
            allowed: reason.is_none(),
            reason: reason.map(str::to_owned),
        }
    }
}

/// A conversation while no version serves: nobody can say what its rules are, so nothing can be sent.
fn without_rules(conversation: &Conversation, detail: &str) -> ConversationView {
    ConversationView {
        id: conversation.id,
        channel_id: conversation.channel_id,
        contact: ContactView::of(&conversation.contact),
        platform_id: conversation.platform_id.clone(),
        status: conversation.status,
        opened_by: conversation.opened_by,
        can_reply: false,
        refusal: Some(RefusalView {
            code: "connector_not_serving".to_owned(),
            detail: detail.to_owned(),
        }),
        window: None,
        budget: None,
        last_message_at: conversation.last_message_at,
        unread: conversation.unread,
        created_at: conversation.created_at,
    }
}

fn unserved(error: NotServed) -> AcceptError {
    match error {
        NotServed::Store(error) => EnqueueError::from(error).into(),
        NotServed::NoSuchApp(connector) | NotServed::NotServing { connector } => {
            ConnectorError::NotServing { connector }.into()
        }
        error @ NotServed::SetAside { .. } => ConnectorError::SetAside(error.to_string()).into(),
    }
}

impl From<StoreError> for AcceptError {
    fn from(error: StoreError) -> Self {
        EnqueueError::from(error).into()
    }
}

impl From<NotServed> for ActError {
    fn from(error: NotServed) -> Self {
        match error {
            NotServed::Store(error) => error.into(),
            NotServed::NoSuchApp(connector) | NotServed::NotServing { connector } => {
                ConnectorError::NotServing { connector }.into()
            }
            error @ NotServed::SetAside { .. } => ConnectorError::SetAside(error.to_string()).into(),
        }
    }
}

impl From<CallFailure> for ActError {
    fn from(error: CallFailure) -> Self {
        match error {
            CallFailure::NotServed(error) => error.into(),
            CallFailure::Unauthorized => Refusal::ReauthorizationRequired.into(),
            CallFailure::Call(error) => ConnectorError::from(error).into(),
            CallFailure::Store(error) => error.into(),
        }
    }
}
