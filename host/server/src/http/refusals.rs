//! Refusals: each no that was said, so that it can explain itself later.

use axum::Json as Answered;
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
use super::problem::{Answer, Problem};
use crate::Host;

/// A no that was said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(crate) struct RefusalView {
    /// Its id.
    id: RefusalId,
    /// What was asked: `send`, `request`, `state`, `grant`.
    #[schema(value_type = String)]
    about: RefusedWhat,
    /// Who asked: the channel of a message, the connector of all else.
    whom: String,
    /// The rule that decided.
    rule: String,
    /// Both sides of it, in a sentence.
    detail: String,
    /// The facts that decided.
    #[schema(value_type = Object)]
    facts: Value,
    /// What has to happen before the answer is another.
    changes: String,
    /// What would allow it.
    remedy: String,
    /// Where the rule is explained; none for a rule that only connectors meet.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The channel it is about.
    channel_id: Option<ChannelId>,
    /// The conversation it is about.
    conversation_id: Option<ConversationId>,
    /// The message it is about.
    message_id: Option<MessageId>,
    /// When.
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

/// How often a rule said no to somebody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalCountView {
    /// What was asked: `send`, `request`, `state`, `grant`.
    #[schema(value_type = String)]
    about: RefusedWhat,
    /// Who asked: the channel of a message, the connector of all else.
    whom: String,
    /// The rule that decided.
    rule: String,
    /// How often.
    count: u64,
    /// The first time.
    first_at: Timestamp,
    /// The last time.
    last_at: Timestamp,
    /// The last of them; refusals are forgotten after a time, and stay counted.
    last_id: RefusalId,
}

/// Count refusals, by rule and by whom, the most frequent first
///
/// With a key that is bound to channels: those of messages in its channels.
#[utoipa::path(get, path = "/v1/refusals/counts", operation_id = "count_refusals", tag = "refusals", responses((status = 200, body = List<RefusalCountView>)))]
pub(crate) async fn counts(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
) -> Answer<Answered<List<RefusalCountView>>> {
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
/// With a key that is bound to channels: those about its channels. Such a page may be short or empty while `has_more` is true.
#[utoipa::path(get, path = "/v1/refusals", tag = "refusals", params(Paging), responses((status = 200, body = List<RefusalView>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(paging): Params<Paging>,
) -> Answer<Answered<List<RefusalView>>> {
    let listed = host
        .store()
        .refusals(caller.workspace_id(), caller.channels().clone(), paging.page()?)
        .await?;
    Ok(List::of(listed, RefusalView::of))
}

/// Ask why something was refused
#[utoipa::path(get, path = "/v1/refusals/{id}", tag = "refusals", params(("id" = RefusalId, Path)), responses((status = 200, body = RefusalView)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<RefusalId>,
) -> Answer<Answered<RefusalView>> {
    let refusal = host.store().refusal(caller.workspace_id(), id).await?;
    let refusal = refusal.filter(|refusal| caller.sees(refusal.channel_id));
    Ok(Answered(RefusalView::of(
        refusal.ok_or_else(|| Problem::no_such("refusal"))?,
    )))
}
