//! What platforms call. Nothing is believed before the proof is checked on the bytes as they came; 200 comes after the commit.

use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use weir_domain::limits;
use weir_domain::signature::RawWebhook;

use super::problem::{Answer, COME_BACK, Problem};
use super::{body, codes};
use crate::Host;
use crate::inbound::{Hook, HookError};

/// Take a webhook of a platform
#[utoipa::path(post, path = "/hooks/{app}", tag = "webhooks of platforms", params(("app" = String, Path, description = "The app's name")), security(()),
    responses((status = 200, description = "It is in the record")))]
pub(crate) async fn post(state: State<Host>, app: Path<String>, request: Request) -> Answer<Response> {
    receive(state, app, request).await
}

/// Answer a platform's verification question
#[utoipa::path(get, path = "/hooks/{app}", tag = "webhooks of platforms", params(("app" = String, Path, description = "The app's name")), security(()),
    responses((status = 200, description = "The answer that the platform asked for", content_type = "text/plain", body = String)))]
pub(crate) async fn get(state: State<Host>, app: Path<String>, request: Request) -> Answer<Response> {
    receive(state, app, request).await
}

async fn receive(State(host): State<Host>, Path(app): Path<String>, request: Request) -> Answer<Response> {
    let (parts, stream) = request.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let raw = RawWebhook {
        method: parts.method.as_str().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body::read(stream, limits::WEBHOOK_BODY_BYTES).await?,
    };
    Ok(match host.receive(&app, raw).await? {
        Hook::Accepted(_) | Hook::DeadLettered(_) => ([(CONTENT_TYPE, "text/plain")], "ok").into_response(),
        Hook::Challenge(answer) => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], answer).into_response(),
    })
}

impl From<HookError> for Problem {
    fn from(error: HookError) -> Self {
        match error {
            HookError::NoSuchApp => Self::of(&codes::NOT_FOUND).detail(&error),
            // The words are for our log: whoever knocks without the secret learns nothing.
            HookError::Forged(_) => Self::of(&codes::WEBHOOK_FORGED),
            HookError::ChallengeFailed => Self::of(&codes::WEBHOOK_CHALLENGE_FAILED),
            HookError::Busy(_) => Self::of(&codes::HOST_BUSY).retry_after(COME_BACK),
            // Whatever is amiss with the record, the platform is asked to repeat.
            HookError::Unavailable(error) => {
                tracing::error!(%error, "A webhook could not be recorded");
                Self::of(&codes::STORE_UNAVAILABLE).retry_after(COME_BACK)
            }
        }
    }
}
