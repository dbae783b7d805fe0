//! From a draft to the outbox, and what else a caller does in a conversation.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::caller::Caller;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ConversationId, MessageId};
use weir_domain::manifest::{ContentRule, Statuses};
use weir_domain::message::{Content, Message, MessageError, Origin};
use weir_domain::policy::{BudgetView, ConversationView, Refusal, RefusalView, WindowView};
use weir_domain::time::Timestamp;
use weir_store::{Enqueued, EnqueueError, StoreError};

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
        let _ = (caller, conversation, request);
        Err(EnqueueError::NoConversation.into())
    }

    /// Queues a failed or uncertain message again, judged anew. None if there is none of this id.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub async fn retry(&self, caller: &Caller, id: MessageId) -> Result<Option<Message>, AcceptError> {
        let _ = (caller, id);
        Ok(None)
    }

    /// Takes a queued message back. None if there is none of this id; the inner error is the message as it stands when it
    /// cannot be taken back any more.
    ///
    /// # Errors
    /// The record.
    pub async fn cancel(&self, caller: &Caller, id: MessageId) -> Result<Option<Result<Message, Message>>, StoreError> {
        let _ = (caller, id);
        Ok(None)
    }

    /// Shows the contact that somebody types, or that their messages were read.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn signal(&self, caller: &Caller, conversation: ConversationId, signal: Signal) -> Result<(), ActError> {
        let _ = (caller, conversation, signal);
        Err(ActError::NotFound)
    }

    /// What a conversation can carry now; asks the platform where the connector says that it must be asked.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn features(&self, caller: &Caller, conversation: ConversationId) -> Result<Features, ActError> {
        let _ = (caller, conversation);
        Err(ActError::NotFound)
    }

    /// A conversation as the API shows it.
    ///
    /// # Errors
    /// The record.
    pub async fn view(&self, conversation: &Conversation) -> Result<ConversationView, StoreError> {
        let _ = conversation;
        Err(StoreError::Database("not yet".to_owned()))
    }
}
