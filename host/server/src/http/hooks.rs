//! What platforms call. Nothing is believed before the proof is checked on the bytes as they came; 200 comes after the commit.
//!
//! A flood costs little: an address that forged a few webhooks is turned away unread for a while, and bodies in hand are
//! bounded in bytes, so that slow senders hold what they sent and no more. Behind a proxy on a private address all callers look
//! alike, so there none is turned away for another's faults; bounding each is then the proxy's.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::Semaphore;
use weir_domain::limits;
use weir_domain::policy::{Reach, address};
use weir_domain::signature::RawWebhook;

use super::failures::Failures;
use super::problem::{Answer, COME_BACK, Problem};
use super::{Api, ClientAddress, body, codes};
use crate::inbound::{Hook, HookError};

/// Take a webhook of a platform
#[utoipa::path(post, path = "/hooks/{app}", tag = "webhooks of platforms", params(("app" = String, Path, description = "The app's name")), security(()),
    responses((status = 200, description = "It is in the record")))]
pub(crate) async fn post(state: State<Api>, app: Path<String>, request: Request) -> Answer<Response> {
    receive(state, app, request).await
}

/// Answer a platform's verification question
#[utoipa::path(get, path = "/hooks/{app}", tag = "webhooks of platforms", params(("app" = String, Path, description = "The app's name")), security(()),
    responses((status = 200, description = "The answer that the platform asked for", content_type = "text/plain", body = String)))]
pub(crate) async fn get(state: State<Api>, app: Path<String>, request: Request) -> Answer<Response> {
    receive(state, app, request).await
}

/// What is looked at before anything is read.
#[derive(Debug)]
pub(crate) struct Gate {
    forged: Failures,
    bytes: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            forged: Failures::default(),
            bytes: Arc::new(Semaphore::new(limits::WEBHOOK_BYTES_IN_HAND)),
        }
    }
}

/// Where a request came from, if that tells one caller from another.
fn caller_of(request: &Request) -> Option<IpAddr> {
    let address = request.extensions().get::<ClientAddress>()?.0;
    address::admit(address, Reach::Public).is_ok().then_some(address)
}

async fn receive(State(api): State<Api>, Path(app): Path<String>, request: Request) -> Answer<Response> {
    let host = api.host;
    let from = caller_of(&request);
    if let Some(wait) = from.and_then(|from| api.hooks.forged.wait(from, host.now())) {
        return Err(Problem::of(&codes::TOO_MANY_FORGED).retry_after(wait));
    }
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
        body: Bytes::new(),
    };
    let body = body::read_within(stream, limits::WEBHOOK_BODY_BYTES, &api.hooks.bytes).await?;
    let received = host.receive(&app, RawWebhook { body, ..raw }).await;
    let proved_nothing = matches!(
        received,
        Err(HookError::Forged(_) | HookError::NoSuchApp | HookError::ChallengeFailed)
    );
    if let Some(from) = from.filter(|_| proved_nothing) {
        api.hooks.forged.count(from, host.now());
    }
    Ok(match received? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_in_hand_are_bounded_in_bytes() {
        let bytes = Arc::new(Semaphore::new(10));
        let read = |size: usize| body::read_within(axum::body::Body::from(vec![0; size]), 100, &bytes);
        let first = read(8).await.expect("there is room");
        assert_eq!(first.len(), 8);
        let no = read(3).await.expect_err("eight and three are more than ten");
        assert_eq!(no.code(), &codes::HOST_BUSY);
        assert_eq!(bytes.available_permits(), 2, "what was refused is given back");
        drop(first);
        assert!(read(10).await.is_ok());
    }
}
