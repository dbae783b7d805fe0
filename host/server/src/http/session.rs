//! The console's session: a key, shown once, becomes a cookie that no script can read.
//!
//! The cookie gives access to the same routes as the key, no more. It ends with the key, on sign-out, and after
//! [`limits::SESSION`]. A request that changes state must also send the session's token, which only a page of this host
//! can have read.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json as JsonBody};
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::caller::{self, Caller, Scope};
use weir_domain::id::{ChannelId, KeyId};
use weir_domain::limits;
use weir_domain::time::Timestamp;

use super::audit::record;
use super::identify::InSession;
use super::problem::{ApiResult, Problem};
use crate::Host;
use crate::core::cookie::SESSION;

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// The workspace.
    workspace_id: String,
    /// The key of the request or of the sign-in.
    key_id: KeyId,
    /// A label for people.
    key_name: String,
    /// Their scopes.
    scopes: BTreeSet<Scope>,
    /// The channels to which the key is restricted; null means all of the workspace.
    channel_ids: Option<BTreeSet<ChannelId>>,
    /// The value that a state-changing request must send in `X-CSRF-Token`; null for a caller with a key, which needs
    /// none.
    csrf_token: Option<String>,
    /// When the session expires; null for a caller with a key.
    expires_at: Option<Timestamp>,
    /// The host's clock, which decides when windows close.
    now: Timestamp,
}

impl SessionView {
    fn of(caller: &Caller, host: &Host, session: Option<(&str, Timestamp)>) -> Self {
        Self {
            workspace_id: caller.workspace_id().to_owned(),
            key_id: caller.key(),
            key_name: caller.key_name().to_owned(),
            scopes: caller.scopes().clone(),
            channel_ids: Some(caller.channels().clone()).filter(|channels| !channels.is_empty()),
            csrf_token: session.map(|(text, _)| caller::csrf_token(text)),
            expires_at: session.map(|(_, end)| end),
            now: host.now(),
        }
    }
}

/// Sign in: creates a session from the key, with a cookie
#[utoipa::path(post, path = "/v1/session", operation_id = "begin_session", tag = "session",
    responses((status = 201, body = SessionView, headers(("set-cookie" = String, description = "The session")))))]
pub(crate) async fn begin(
    Extension(caller): Extension<Caller>,
    State(host): State<Host>,
    session: Option<Extension<InSession>>,
) -> ApiResult<(StatusCode, HeaderMap, JsonBody<SessionView>)> {
    if session.is_some() {
        // Otherwise a session could renew itself forever.
        return Err(Problem::member(
            "",
            "a session starts with a key; send Authorization: Bearer <key>",
        ));
    }
    let text = caller::new_session(host.mint());
    let now = host.now();
    let end = now.after(limits::SESSION);
    host.store()
        .insert_session(caller::digest(&text), caller.key(), end, now)
        .await?;
    // It may have ended the oldest session of the key.
    host.core.keys_ended();
    record(
        &host,
        &caller,
        "session.begin",
        &caller.key().to_string(),
        serde_json::json!({}),
    )
    .await;
    let headers = set_cookie(&host, &text, limits::SESSION.as_secs());
    let view = SessionView::of(&caller, &host, Some((&text, end)));
    Ok((StatusCode::CREATED, headers, JsonBody(view)))
}

/// Show the caller, and the CSRF token
#[utoipa::path(get, path = "/v1/session", operation_id = "get_session", tag = "session", responses((status = 200, body = SessionView)))]
pub(crate) async fn get(
    Extension(caller): Extension<Caller>,
    State(host): State<Host>,
    session: Option<Extension<InSession>>,
) -> JsonBody<SessionView> {
    let session = session
        .as_ref()
        .map(|Extension(InSession(session, text))| (text.expose(), session.expires_at));
    JsonBody(SessionView::of(&caller, &host, session))
}

/// Sign out
#[utoipa::path(delete, path = "/v1/session", operation_id = "end_session", tag = "session", responses((status = 204, description = "The session has ended")))]
pub(crate) async fn end(
    Extension(_): Extension<Caller>,
    State(host): State<Host>,
    session: Option<Extension<InSession>>,
) -> ApiResult<(StatusCode, HeaderMap)> {
    if let Some(Extension(InSession(session, _))) = session {
        host.store().end_session(session.digest).await?;
        host.core.keys_ended();
    }
    Ok((StatusCode::NO_CONTENT, set_cookie(&host, "", 0)))
}

fn set_cookie(host: &Host, value: &str, seconds: u64) -> HeaderMap {
    let cookie = SESSION.set(host.config(), value, seconds);
    // Hexadecimal digits and constant text are always a valid header value.
    cookie
        .parse()
        .ok()
        .map(|cookie| (SET_COOKIE, cookie))
        .into_iter()
        .collect()
}
