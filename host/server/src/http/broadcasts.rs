//! Broadcasts: one message to many people. No platform with a connector carries them, and Weir does not emulate them.
//! The route exists so that a program that tries receives the reason, and the refusal is stored like any other.

use std::convert::Infallible;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ConversationId};
use weir_domain::policy::Refusal;

use super::body::{self, Json};
use super::caller::{InChannels, May, MessagesWrite};
use super::channels::find;
use super::problem::{ApiResult, Problem};
use super::types::message::Content;
use crate::Host;

/// A message to many recipients.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"channel_id": "chn_…", "content": {"type": "text", "text": "We have new things."}}))]
pub(crate) struct Broadcast {
    /// The account that would send it.
    channel_id: ChannelId,
    /// The content.
    #[serde(deserialize_with = "body::whole")]
    #[expect(dead_code, reason = "read so that a malformed body is reported")]
    content: Content,
    /// The recipients; default: all.
    #[serde(default)]
    #[expect(dead_code, reason = "read so that a malformed body is reported")]
    conversation_ids: Vec<ConversationId>,
}

/// Send one message to many recipients: always refused, with the reason
#[utoipa::path(post, path = "/v1/broadcasts", operation_id = "broadcast", tag = "messages", request_body = Broadcast,
    responses((status = 422, description = "`broadcast_not_supported`: send to each conversation in its own window")))]
pub(crate) async fn create(
    caller: May<MessagesWrite, InChannels>,
    State(host): State<Host>,
    Json(body): Json<Broadcast>,
) -> ApiResult<Infallible> {
    let channel = find(&host, &caller, body.channel_id).await?;
    let refusal = Refusal::BroadcastNotSupported;
    let problem = Problem::refusal(&refusal);
    Err(
        match host.core.keep_send_refusal(&channel, None, None, &refusal).await {
            Some(id) => problem.with("refusal_id", id),
            None => problem,
        },
    )
}
