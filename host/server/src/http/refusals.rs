//! Refusals: each no that was said, so that it can explain itself later.

use axum::Json as Answered;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ConversationId, MessageId, RefusalId};
use weir_domain::time::Timestamp;
use weir_store::RefusalRecord;

use super::body::{Named, Params};
use super::caller::{May, Read};
use super::codes;
use super::list::{List, Paging};
use super::problem::{Answer, Problem};
use crate::Host;

/// A no that was said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// Its id.
    id: RefusalId,
    /// What was asked: `send`, `request`, `state`, `grant`, `webhook`.
    about: String,
    /// The rule that decided.
    rule: String,
    /// Both sides of it, in a sentence.
    detail: String,
    /// The facts that decided.
    #[schema(value_type = Object)]
    facts: Value,
    /// What would allow it.
    remedy: Option<&'static str>,
    /// Where the rule is explained.
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
        let code = codes::named(&refusal.rule);
        Self {
            id: refusal.id,
            about: refusal.about,
            remedy: code.map(|code| code.remedy),
            kind: code.map(|code| format!("/docs/errors#{}", code.name)),
            rule: refusal.rule,
            detail: refusal.detail,
            facts: refusal.facts,
            channel_id: refusal.channel_id,
            conversation_id: refusal.conversation_id,
            message_id: refusal.message_id,
            at: refusal.at,
        }
    }
}

/// List refusals, newest first
#[utoipa::path(get, path = "/v1/refusals", tag = "refusals", params(Paging), responses((status = 200, body = List<RefusalView>)))]
pub(crate) async fn list(
    caller: May<Read>,
    State(host): State<Host>,
    Params(paging): Params<Paging>,
) -> Answer<Answered<List<RefusalView>>> {
    let listed = host.store().refusals(caller.workspace_id(), paging.page()?).await?;
    Ok(List::of(listed, RefusalView::of))
}

/// Ask why something was refused
#[utoipa::path(get, path = "/v1/refusals/{id}", tag = "refusals", params(("id" = RefusalId, Path)), responses((status = 200, body = RefusalView)))]
pub(crate) async fn get(
    caller: May<Read>,
    State(host): State<Host>,
    Named(id): Named<RefusalId>,
) -> Answer<Answered<RefusalView>> {
    let refusal = host.store().refusal(caller.workspace_id(), id).await?;
    Ok(Answered(RefusalView::of(
        refusal.ok_or_else(|| Problem::no_such("refusal"))?,
    )))
}
