//! Webhooks: the routes that platforms call. Input is untrusted until its signature is verified on the bytes as
//! received; 200 is sent after the commit.
//!
//! A flood is cheap to reject: a webhook that cannot be genuine by its app, its headers and its time is rejected before
//! its body is read, and an address that sent a few forged ones is rejected for a while. The bytes being read are
//! bounded, and each app and address has a share of them. Behind a proxy on a private address all callers share one
//! address, so none is rejected for another's failures; limiting each caller is then the proxy's task.

use std::net::IpAddr;

use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use weir_domain::limits;
use weir_domain::policy::{Reach, address};
use weir_domain::signature::RawWebhook;

use super::failures::{Failures, network};
use super::problem::{ApiResult, COME_BACK, Problem};
use super::{Api, ClientAddress, body, codes};
use crate::http::share::{Share, Shares};
use crate::messages::inbound::{Hook, HookError};

/// Receive a webhook of a platform
#[utoipa::path(post, path = "/hooks/{app}", tag = "webhooks of platforms", params(("app" = String, Path, description = "The app's name")), security(()),
    responses((status = 200, description = "It is recorded")))]
pub(crate) async fn post(state: State<Api>, app: Path<String>, request: Request) -> ApiResult<Response> {
    receive(state, app, request).await
}

/// Answer a platform's verification challenge
#[utoipa::path(get, path = "/hooks/{app}", tag = "webhooks of platforms", params(("app" = String, Path, description = "The app's name")), security(()),
    responses((status = 200, description = "The challenge's response, as the platform requires", content_type = "text/plain", body = String)))]
pub(crate) async fn get(state: State<Api>, app: Path<String>, request: Request) -> ApiResult<Response> {
    receive(state, app, request).await
}

/// Checks before anything is read.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    forged: Failures,
    bytes: Shares<Sender>,
}

/// The parties for which webhook bytes in memory are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sender {
    Anyone,
    App(String),
    Network(IpAddr),
}

impl Gate {
    /// A webhook's share of the bytes in memory.
    fn share(&self, app: &str, from: Option<IpAddr>) -> Share<Sender> {
        let mut bounds = vec![
            (Sender::Anyone, limits::WEBHOOK_BYTES_IN_FLIGHT),
            (Sender::App(app.to_owned()), limits::WEBHOOK_BYTES_PER_APP),
        ];
        bounds.extend(from.map(|from| (Sender::Network(network(from)), limits::WEBHOOK_BYTES_PER_ADDRESS)));
        self.bytes.open(bounds)
    }
}

/// The source address of a request, if it identifies one caller.
fn caller_of(request: &Request) -> Option<IpAddr> {
    let address = request.extensions().get::<ClientAddress>()?.0;
    address::admit(address, Reach::Public).is_ok().then_some(address)
}

async fn receive(State(api): State<Api>, Path(app): Path<String>, request: Request) -> ApiResult<Response> {
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
    // On the heap: the layers around a handler move its future, and each of these is some kilobytes.
    let received = match Box::pin(host.inbound.admit_webhook(&app, &raw)).await {
        Ok(()) => {
            let share = api.hooks.share(&app, from);
            let body = body::read_within(stream, limits::WEBHOOK_BODY_BYTES, limits::WEBHOOK_READ, share).await?;
            Box::pin(host.inbound.receive(&app, RawWebhook { body, ..raw })).await
        }
        Err(error) => Err(error),
    };
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
            // The reason is only logged: a caller without the secret learns nothing.
            HookError::Forged(_) => Self::of(&codes::WEBHOOK_FORGED),
            HookError::ChallengeFailed => Self::of(&codes::WEBHOOK_CHALLENGE_FAILED),
            HookError::Busy(_) => Self::of(&codes::HOST_BUSY).retry_after(COME_BACK),
            // If the database fails, the platform is asked to redeliver.
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
    async fn one_address_leaves_room_for_the_webhooks_of_others() {
        let gate = Gate::default();
        let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let read = async |app: &str, from, size: usize| {
            let share = gate.share(app, from);
            body::read_within(
                axum::body::Body::from(vec![0; size]),
                usize::MAX,
                limits::WEBHOOK_READ,
                share,
            )
            .await
        };
        let most = limits::WEBHOOK_BYTES_PER_ADDRESS;
        let first = read("one", address(1), most).await.expect("capacity is left");
        let no = read("two", address(1), 1).await.expect_err("it has used its share");
        assert_eq!(no.code(), &codes::HOST_BUSY);
        let second = read("one", address(2), most).await.expect("another address");
        let no = read("one", address(3), 1)
            .await
            .expect_err("the app has used its share");
        assert_eq!(no.code(), &codes::HOST_BUSY);
        let third = read("two", address(3), most).await.expect("another app");
        drop((first, second, third));
        assert!(read("one", address(1), most).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_or_oversized_body_is_dropped() {
        let gate = Gate::default();
        let read = |body, limit| body::read_within(body, limit, limits::WEBHOOK_READ, gate.share("one", None));
        let began = tokio::time::Instant::now();
        let endless = axum::body::Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let no = read(endless, 10).await.expect_err("no data arrives");
        assert_eq!(
            (no.code(), began.elapsed()),
            (&codes::REQUEST_TIMEOUT, limits::WEBHOOK_READ)
        );
        let no = read(axum::body::Body::from(vec![0; 11]), 10)
            .await
            .expect_err("too long");
        assert_eq!(no.code(), &codes::BODY_TOO_LARGE);
    }
}
