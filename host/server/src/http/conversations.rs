//! Conversations: their messages, what they can carry, and sending in them.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonBody};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_domain::caller::Caller;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_store::{ConversationFilter, EnqueueError, Enqueued, Listed};

use super::body::{self, Json, Named, Params};
use super::caller::{InChannels, May, MessagesWrite, Read};
use super::codes;
use super::contacts::narrowed;
use super::idempotency::{Idempotency, REPLAYED};
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use super::types::conversation::{ConversationView, Features};
use super::types::message::{Content, Message, PlatformError};
use crate::Host;
use crate::accounts::calls::ActError;
use crate::accounts::features::Signal;
use crate::connectors::serving::ConnectorError;
use crate::messages::outbound::{AcceptError, SendRequest};

/// Longest reference of a caller.
const CLIENT_REF_CHARS: usize = 255;

/// A message to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"content": {"type": "text", "text": "Yes, we have it in red."}, "client_ref": "order-17"}))]
pub(crate) struct SendMessage {
    /// The content. For an attachment give only the `id`.
    #[serde(deserialize_with = "body::whole")]
    content: Content,
    /// A message of this conversation to quote.
    reply_to: Option<MessageId>,
    /// Your own reference, unique in the channel; every event includes it.
    client_ref: Option<String>,
    /// Whether it may be split into several messages: a text that is too long in parts, a picture and its caption if
    /// the platform supports no captions. Each part counts toward the budget; either all are accepted or none. The
    /// response is then a list.
    #[serde(default)]
    split: bool,
}

/// A filter of conversations.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Of this channel only.
    channel_id: Option<ChannelId>,
    /// Only those whose contact's name or handle contains this.
    name: Option<String>,
}

/// A conversation in a list, with its newest message, so that a list view need not fetch each thread.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Glance {
    #[serde(flatten)]
    view: ConversationView,
    /// The newest message; null if there are no messages yet.
    last_message: Option<Message>,
}

/// A signal to a contact besides messages.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "typing"}))]
pub(crate) struct Activity {
    /// The signal.
    #[serde(rename = "type")]
    kind: Signal,
}

/// List conversations, sorted by the newest message
#[utoipa::path(get, path = "/v1/conversations", tag = "conversations", params(Which, Paging),
    responses((status = 200, body = List<Glance>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<Glance>>> {
    let filter = ConversationFilter {
        channels: narrowed(&caller, which.channel_id)?,
        name: which.name.filter(|name| !name.is_empty()),
    };
    let Listed { rows, next } = host
        .store()
        .conversations(caller.workspace_id(), filter, paging.page()?)
        .await?;
    let ids = rows.iter().map(|conversation| conversation.id).collect();
    let mut newest = host.store().last_messages(caller.workspace_id(), ids).await?;
    let mut glances = Vec::with_capacity(rows.len());
    for conversation in &rows {
        glances.push(Glance {
            view: host.accounts.view(caller.workspace_id(), conversation).await?.into(),
            last_message: newest
                .remove(&conversation.id)
                .map(|message| Message::of(message, &host.media)),
        });
    }
    Ok(List::of(Listed { rows: glances, next }, |glance| glance))
}

async fn find(host: &Host, caller: &Caller, id: ConversationId) -> ApiResult<Conversation> {
    let conversation = host.store().conversation(caller.workspace_id(), id).await?;
    conversation
        .filter(|conversation| caller.sees(Some(conversation.channel_id)))
        .ok_or_else(|| Problem::no_such("conversation"))
}

/// Get a conversation
#[utoipa::path(get, path = "/v1/conversations/{id}", tag = "conversations", params(("id" = ConversationId, Path)),
    responses((status = 200, body = ConversationView)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ConversationId>,
) -> ApiResult<JsonBody<ConversationView>> {
    let conversation = find(&host, &caller, id).await?;
    Ok(JsonBody(
        host.accounts.view(caller.workspace_id(), &conversation).await?.into(),
    ))
}

/// List messages of a conversation, newest first
#[utoipa::path(get, path = "/v1/conversations/{id}/messages", tag = "messages", params(("id" = ConversationId, Path), Paging),
    responses((status = 200, body = List<Message>)))]
pub(crate) async fn messages(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ConversationId>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<Message>>> {
    let page = paging.page()?;
    find(&host, &caller, id).await?;
    let listed = host.store().messages(caller.workspace_id(), id, page).await?;
    Ok(List::of(listed, |message| Message::of(message, &host.media)))
}

/// Send a message
///
/// 202 means that it is in the outbox: its result follows as events. A refusal by a rule (409, 422) sends nothing.
#[utoipa::path(post, path = "/v1/conversations/{id}/messages", tag = "messages", params(("id" = ConversationId, Path)),
    request_body = SendMessage, responses((status = 202, body = Message)))]
pub(crate) async fn send(
    caller: May<MessagesWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ConversationId>,
    Extension(Idempotency(claim)): Extension<Idempotency>,
    Json(body): Json<SendMessage>,
) -> ApiResult<Response> {
    if body
        .client_ref
        .as_ref()
        .is_some_and(|text| text.is_empty() || text.chars().count() > CLIENT_REF_CHARS)
    {
        return Err(Problem::member(
            "/client_ref",
            format_args!("write 1 to {CLIENT_REF_CHARS} characters"),
        ));
    }
    let request = SendRequest {
        content: body.content.into(),
        reply_to: body.reply_to,
        client_ref: body.client_ref,
        origin: caller.origin(),
        split: body.split,
        claim,
    };
    let (messages, is_replayed) = match host.outbound.accept(&caller, id, request).await? {
        Enqueued::New(messages) => (messages, false),
        Enqueued::Replayed(messages) => (messages, true),
    };
    let mut shown = messages.into_iter().map(|message| Message::of(message, &host.media));
    let mut response = if body.split {
        (StatusCode::ACCEPTED, List::whole(shown.collect())).into_response()
    } else {
        (StatusCode::ACCEPTED, JsonBody(shown.next())).into_response()
    };
    if is_replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Show a typing indicator or a read receipt to the contact
#[utoipa::path(post, path = "/v1/conversations/{id}/activity", tag = "conversations", params(("id" = ConversationId, Path)),
    request_body = Activity, responses((status = 204, description = "The platform accepted it")))]
pub(crate) async fn activity(
    caller: May<MessagesWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ConversationId>,
    Json(body): Json<Activity>,
) -> ApiResult<StatusCode> {
    host.outbound.signal(&caller, id, body.kind).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show what a conversation can carry now
#[utoipa::path(get, path = "/v1/conversations/{id}/features", tag = "conversations", params(("id" = ConversationId, Path)),
    responses((status = 200, body = Features)))]
pub(crate) async fn features(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ConversationId>,
) -> ApiResult<JsonBody<Features>> {
    Ok(JsonBody(host.accounts.features(&caller, id).await?.into()))
}

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Refused(refusal) => Self::refusal(&refusal),
            EnqueueError::NoConversation => Self::no_such("conversation"),
            EnqueueError::NoReplyTarget => Self::of(&codes::REPLY_TO_UNKNOWN)
                .at("/reply_to", "unknown", &error)
                .detail(&error),
            EnqueueError::KeyReused => Self::of(&codes::IDEMPOTENCY_KEY_REUSED),
            EnqueueError::ClientRefTaken(message) => Self::of(&codes::CLIENT_REF_TAKEN)
                .at("/client_ref", "taken", &error)
                .with("message_id", message)
                .detail(&error),
            EnqueueError::Store(error) => error.into(),
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Refused {
                refusal,
                id,
                by_operator,
            } => {
                let problem = Self::refusal(&refusal).refused_as(id);
                if by_operator {
                    problem.set_by_operator()
                } else {
                    problem
                }
            }
            AcceptError::Enqueue(error) => error.into(),
            AcceptError::Connector(error) => error.into(),
        }
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::NotFound => Self::of(&codes::NOT_FOUND).detail(&error),
            ActError::Refused(refusal) => Self::refusal(&refusal),
            ActError::Connector(error) => error.into(),
            ActError::Store(error) => error.into(),
        }
    }
}

impl From<ConnectorError> for Problem {
    fn from(error: ConnectorError) -> Self {
        match error {
            ConnectorError::NotServing { .. } => Self::of(&codes::APP_INCOMPLETE).detail(&error),
            ConnectorError::Busy => Self::of(&codes::HOST_BUSY)
                .detail(&error)
                .retry_after(super::problem::COME_BACK),
            ConnectorError::NotProvided { interface: "signals" } => {
                Self::of(&codes::SIGNAL_NOT_SUPPORTED).detail(&error)
            }
            ConnectorError::NotProvided { .. } => Self::of(&codes::ABILITY_NOT_SUPPORTED).detail(&error),
            // The platform's error text is included: its support needs it.
            ConnectorError::Failed(failure) => {
                let documented = codes::named(&failure.code).filter(|code| code.status != 0);
                Self::of(documented.unwrap_or(&codes::PLATFORM_REFUSED))
                    .detail(&failure.detail)
                    .with("reason", &failure.code)
                    .with("platform", failure.platform.map(PlatformError::from))
            }
            ConnectorError::Broken(_) | ConnectorError::Quarantined(_) => {
                Self::of(&codes::CONNECTOR_FAILED).detail(&error)
            }
        }
    }
}
