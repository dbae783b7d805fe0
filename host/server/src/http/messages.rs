//! Single messages.

use axum::Json as JsonBody;
use axum::extract::State;
use utoipa::{IntoParams, ToSchema};
use weir_domain::caller::Caller;
use weir_domain::id::MessageId;
use weir_domain::limits;
use weir_domain::message::{self, Status};
use weir_domain::time::Timestamp;
use weir_store::{Attempt, RequestRecord};

use super::audit::record;
use super::body::{Named, Params};
use super::caller::{InChannels, May, MessagesWrite, Read};
use super::codes;
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use super::types::message::{Message, MessageError};
use crate::Host;

/// One attempt of a message, with its requests.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// From 1.
    number: u32,
    /// When it was stored, before any request was sent.
    started_at: Timestamp,
    /// When it was settled; null while it is open.
    ended_at: Option<Timestamp>,
    /// `open`, `sent`, `retry`, `held`, `uncertain`, `failed`.
    outcome: String,
    /// Why it failed.
    error: Option<MessageError>,
    /// The requests that were sent or refused.
    requests: Vec<RequestView>,
}

/// One request of an attempt, sent or refused.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct RequestView {
    /// The route of the manifest; empty if none matched.
    route: String,
    /// The method.
    method: String,
    /// The URL without its query.
    url: String,
    /// When it was made.
    at: Timestamp,
    /// The response's status.
    status: Option<u16>,
    /// The duration.
    elapsed_ms: u64,
    /// Why there is no response.
    error: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            outcome: attempt.outcome,
            error: attempt.error.map(Into::into),
            requests: attempt.requests.into_iter().map(RequestView::from).collect(),
        }
    }
}

impl From<RequestRecord> for RequestView {
    fn from(request: RequestRecord) -> Self {
        Self {
            route: request.route,
            method: request.method,
            url: request.url,
            at: request.at,
            status: request.status,
            elapsed_ms: request.elapsed_ms,
            error: request.error,
        }
    }
}

async fn find(host: &Host, caller: &Caller, id: MessageId) -> ApiResult<message::Message> {
    let message = host.store().message(caller.workspace_id(), id).await?;
    message
        .filter(|message| caller.sees(Some(message.channel_id)))
        .ok_or_else(|| Problem::no_such("message"))
}

/// The search parameters.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// The text to search for, case-insensitive; 2 to 200 characters.
    #[param(min_length = 2, max_length = 200)]
    search: String,
}

/// Search messages, newest first
///
/// One response searches ten thousand messages at most: it may be empty with `has_more` true, which means that older
/// ones were not searched yet.
#[utoipa::path(get, path = "/v1/messages", operation_id = "search_messages", tag = "messages", params(Search, Paging), responses((status = 200, body = List<Message>)))]
pub(crate) async fn search(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(wanted): Params<Search>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<Message>>> {
    let words = wanted.search.trim();
    if !(2..=limits::SEARCH_CHARS).contains(&words.chars().count()) {
        let right = format_args!("write 2 to {} characters", limits::SEARCH_CHARS);
        return Err(Problem::parameter("search", right));
    }
    let page = paging.page()?;
    let found = host
        .store()
        .search_messages(caller.workspace_id(), caller.channels().clone(), words, page)
        .await?;
    Ok(List::of(found, |message| Message::of(message, &host.media)))
}

/// Get a message
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", params(("id" = MessageId, Path)), responses((status = 200, body = Message)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<MessageId>,
) -> ApiResult<JsonBody<Message>> {
    Ok(JsonBody(Message::of(find(&host, &caller, id).await?, &host.media)))
}

/// Cancel a queued message, or mark an uncertain one as failed
///
/// An uncertain message fails, still counts toward the budget, and is not looked up at the platform again.
#[utoipa::path(delete, path = "/v1/messages/{id}", tag = "messages", params(("id" = MessageId, Path)), responses((status = 200, body = Message)))]
pub(crate) async fn cancel(
    caller: May<MessagesWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<MessageId>,
) -> ApiResult<JsonBody<Message>> {
    find(&host, &caller, id).await?;
    match host
        .outbound
        .cancel(&caller, id)
        .await?
        .ok_or_else(|| Problem::no_such("message"))?
    {
        Ok(message) => {
            record(&host, &caller, "message.cancel", &id.to_string(), serde_json::json!({})).await;
            Ok(JsonBody(Message::of(message, &host.media)))
        }
        Err(message) => Err(Problem::of(&codes::MESSAGE_NOT_CANCELLABLE)
            .detail(format_args!("the message is {}", message.status.as_str()))
            .with("message_status", message.status)),
    }
}

/// Queue a failed or uncertain message again, with a new policy check
#[utoipa::path(post, path = "/v1/messages/{id}/retry", tag = "messages", params(("id" = MessageId, Path)), responses((status = 202, body = Message)))]
pub(crate) async fn retry(
    caller: May<MessagesWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<MessageId>,
) -> ApiResult<(axum::http::StatusCode, JsonBody<Message>)> {
    let message = find(&host, &caller, id).await?;
    if !matches!(message.status, Status::Failed | Status::Uncertain) {
        return Err(not_retryable(&message));
    }
    match host.outbound.retry(&caller, id).await? {
        Some(message) => {
            record(&host, &caller, "message.retry", &id.to_string(), serde_json::json!({})).await;
            let shown = Message::of(message, &host.media);
            Ok((axum::http::StatusCode::ACCEPTED, JsonBody(shown)))
        }
        // Its status changed between the two reads.
        None => Err(not_retryable(&find(&host, &caller, id).await?)),
    }
}

fn not_retryable(message: &message::Message) -> Problem {
    Problem::of(&codes::MESSAGE_NOT_RETRYABLE)
        .detail(format_args!("the message is {}", message.status.as_str()))
        .with("message_status", message.status)
}

/// List the attempts of a message, oldest first
#[utoipa::path(get, path = "/v1/messages/{id}/attempts", tag = "messages", params(("id" = MessageId, Path)),
    responses((status = 200, body = List<AttemptView>)))]
pub(crate) async fn attempts(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<MessageId>,
) -> ApiResult<JsonBody<List<AttemptView>>> {
    find(&host, &caller, id).await?;
    let attempts = host.store().attempts(caller.workspace_id(), id).await?;
    Ok(List::whole(attempts.into_iter().map(AttemptView::from).collect()))
}
