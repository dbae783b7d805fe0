//! Refusals: each is stored, so that it can be explained later.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ConversationId, MessageId, RefusalId};
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::{RefusalCount, RefusalRecord, RefusedWhat};

use super::body::{Named, Params};
use super::caller::{InChannels, May, Read};
use super::codes;
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use crate::Host;

/// A refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(crate) struct RefusalView {
    /// Its id.
    id: RefusalId,
    /// The action: `send`, `request`, `state`, `grant`.
    #[schema(value_type = String)]
    about: RefusedWhat,
    /// The requester: the channel of a message, the connector of everything else.
    whom: String,
    /// The rule that decided.
    rule: String,
    /// The decision with its facts, in one sentence.
    detail: String,
    /// The facts that decided.
    #[schema(value_type = Object)]
    facts: Value,
    /// What has to happen before the decision changes.
    changes: String,
    /// How to make it allowed.
    remedy: String,
    /// Where the rule is explained; null for a rule that applies only to connectors.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Its channel.
    channel_id: Option<ChannelId>,
    /// Its conversation.
    conversation_id: Option<ConversationId>,
    /// Its message.
    message_id: Option<MessageId>,
    /// The time.
    at: Timestamp,
}

impl RefusalView {
    fn of(refusal: RefusalRecord) -> Self {
        Self {
            id: refusal.id,
            about: refusal.about,
            whom: refusal.whom,
            kind: codes::named(&refusal.rule).map(|code| format!("/docs/errors#{}", code.name)),
            rule: refusal.rule,
            detail: refusal.detail,
            facts: refusal.facts,
            changes: refusal.changes,
            remedy: refusal.remedy,
            channel_id: refusal.channel_id,
            conversation_id: refusal.conversation_id,
            message_id: refusal.message_id,
            at: refusal.at,
        }
    }
}

/// How often a rule refused a requester.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalCountView {
    /// The action: `send`, `request`, `state`, `grant`.
    #[schema(value_type = String)]
    about: RefusedWhat,
    /// The requester: the channel of a message, the connector of everything else.
    whom: String,
    /// The rule that decided.
    rule: String,
    /// The count.
    count: u64,
    /// The first time.
    first_at: Timestamp,
    /// The last time.
    last_at: Timestamp,
    /// The last of them; refusals are deleted after a time, and remain counted.
    last_id: RefusalId,
}

/// Count refusals, by rule and by requester, the most frequent first
///
/// With a key that is restricted to channels: those of messages in its channels.
#[utoipa::path(get, path = "/v1/refusals/counts", operation_id = "count_refusals", tag = "refusals", responses((status = 200, body = List<RefusalCountView>)))]
pub(crate) async fn counts(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
) -> ApiResult<JsonBody<List<RefusalCountView>>> {
    let counts = host
        .store()
        .refusal_counts(caller.workspace_id(), caller.channels().clone(), limits::COUNTS)
        .await?;
    let view = |count: RefusalCount| RefusalCountView {
        about: count.about,
        whom: count.whom,
        rule: count.rule,
        count: count.count,
        first_at: count.first_at,
        last_at: count.last_at,
        last_id: count.last,
    };
    Ok(List::whole(counts.into_iter().map(view).collect()))
}

/// List refusals, newest first
///
/// With a key that is restricted to channels: those about its channels. Such a page may be short or empty while
/// `has_more` is true.
#[utoipa::path(get, path = "/v1/refusals", tag = "refusals", params(Paging), responses((status = 200, body = List<RefusalView>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<RefusalView>>> {
    let listed = host
        .store()
        .refusals(caller.workspace_id(), caller.channels().clone(), paging.page()?)
        .await?;
    Ok(List::of(listed, RefusalView::of))
}

/// Explain a refusal
#[utoipa::path(get, path = "/v1/refusals/{id}", tag = "refusals", params(("id" = RefusalId, Path)), responses((status = 200, body = RefusalView)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<RefusalId>,
) -> ApiResult<JsonBody<RefusalView>> {
    let refusal = host.store().refusal(caller.workspace_id(), id).await?;
    let refusal = refusal.filter(|refusal| caller.sees(refusal.channel_id));
    Ok(JsonBody(RefusalView::of(
        refusal.ok_or_else(|| Problem::no_such("refusal"))?,
    )))
}
