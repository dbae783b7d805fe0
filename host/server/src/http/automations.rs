//! Messages that the platform sends automatically.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use weir_domain::id::ChannelId;
use weir_runtime::Automation;

use super::audit::record;
use super::body::Json;
use super::caller::{ChannelsWrite, InChannels, May, Read};
use super::channels::find;
use super::list::List;
use super::problem::{ApiResult, Problem};
use crate::Host;

/// Longest name of a kind, and of a platform's id: the host's limits for names and ids.
const NAME_BYTES: (usize, usize) = (weir_domain::limits::TOKEN_BYTES, weir_domain::limits::PLATFORM_ID_BYTES);

/// An automatic message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AutomationView {
    /// `welcome_message`, `suggested_question`, `chat_prompt`, `comment_to_message`.
    kind: String,
    /// The platform's id; null for a kind with a single message.
    id: Option<String>,
    /// Whether it is in use.
    enabled: bool,
    /// The state of the platform's review: `reviewing`, `approved`, `rejected`; null if the platform does not review
    /// it.
    audit: Option<String>,
    /// Its content, in the platform's members.
    #[schema(value_type = Object)]
    content: Value,
}

/// An automatic message to be created or replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": true, "content": {"content": "Hi! Ask us anything."}}))]
pub(crate) struct PutAutomation {
    /// The one to replace; omitted for a new one.
    id: Option<String>,
    /// Whether it is in use. On TikTok one switch applies to all of a kind.
    enabled: bool,
    /// Its content, in the platform's members; omit it to change only `enabled`. On TikTok `{"content"}` of a welcome
    /// message, `{"question", "answer"}` of a suggested question, `{"title", "content"}` of a chat prompt.
    #[serde(default)]
    #[schema(value_type = Object)]
    content: serde_json::Map<String, Value>,
}

/// The automatic message that was stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AutomationPut {
    /// The platform's id, if it assigns one.
    id: Option<String>,
}

impl AutomationView {
    fn of(automation: Automation) -> Self {
        Self {
            kind: automation.kind,
            id: automation.id,
            enabled: automation.enabled,
            audit: automation.audit,
            content: automation.content,
        }
    }
}

/// List a channel's automatic messages of a kind
#[utoipa::path(get, path = "/v1/channels/{id}/automations/{kind}", operation_id = "list_automations", tag = "channels",
    params(("id" = ChannelId, Path), ("kind" = String, Path, description = "`welcome_message`, `suggested_question`, `chat_prompt`, `comment_to_message`")),
    responses((status = 200, body = List<AutomationView>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Path((id, kind)): Path<(String, String)>,
) -> ApiResult<JsonBody<List<AutomationView>>> {
    let channel = find(&host, &caller, channel_id(&id)?).await?;
    let found = host.accounts.automations(&channel, word(&kind)?).await?;
    Ok(List::whole(found.into_iter().map(AutomationView::of).collect()))
}

/// Create or replace an automatic message, or switch its kind
#[utoipa::path(put, path = "/v1/channels/{id}/automations/{kind}", operation_id = "put_automation", tag = "channels",
    params(("id" = ChannelId, Path), ("kind" = String, Path)),
    request_body = PutAutomation, responses((status = 200, body = AutomationPut)))]
pub(crate) async fn put(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Path((id, kind)): Path<(String, String)>,
    Json(body): Json<PutAutomation>,
) -> ApiResult<JsonBody<AutomationPut>> {
    let channel = find(&host, &caller, channel_id(&id)?).await?;
    let automation = Automation {
        kind: word(&kind)?.to_owned(),
        id: body.id,
        enabled: body.enabled,
        audit: None,
        content: Value::Object(body.content),
    };
    let put = host.accounts.put_automation(&channel, &automation).await?;
    let changed = json!({ "kind": automation.kind, "id": put, "enabled": automation.enabled });
    record(&host, &caller, "automation.put", &id, changed).await;
    Ok(JsonBody(AutomationPut { id: put }))
}

/// Delete an automatic message
#[utoipa::path(delete, path = "/v1/channels/{id}/automations/{kind}/{automation}", operation_id = "remove_automation", tag = "channels",
    params(("id" = ChannelId, Path), ("kind" = String, Path), ("automation" = String, Path, description = "The platform's id")),
    responses((status = 204, description = "It is deleted, or switched off if the platform does not delete it")))]
pub(crate) async fn remove(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Path((id, kind, automation)): Path<(String, String, String)>,
) -> ApiResult<StatusCode> {
    let channel = find(&host, &caller, channel_id(&id)?).await?;
    if automation.len() > NAME_BYTES.1 {
        return Err(Problem::no_such("automatic message"));
    }
    host.accounts
        .remove_automation(&channel, word(&kind)?, &automation)
        .await?;
    let changed = json!({ "kind": kind, "id": automation });
    record(&host, &caller, "automation.remove", &id, changed).await;
    Ok(StatusCode::NO_CONTENT)
}

fn channel_id(text: &str) -> ApiResult<ChannelId> {
    text.parse().map_err(|_| Problem::no_such("channel"))
}

fn word(kind: &str) -> ApiResult<&str> {
    let is_word = !kind.is_empty()
        && kind.len() <= NAME_BYTES.0
        && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_word {
        Ok(kind)
    } else {
        Err(Problem::no_such("kind of automatic message"))
    }
}
