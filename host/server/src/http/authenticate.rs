//! Authentication of API requests: only a request with a valid key or session passes.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::caller::ClientAddress;
use super::identify::{caller_of, cookie};
use super::problem::{ApiResult, Problem};
use super::standing::Standing;
use crate::core::codes;

/// Passes a request with a valid key or session on, with its [`Caller`] as an extension.
pub(crate) async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> ApiResult<Response> {
    let now = api.host.now();
    match caller_of(&api, request.headers(), !request.method().is_safe(), now).await? {
        Ok((caller, session)) => {
            let standing = Standing::of(&api, &caller, &request);
            request.extensions_mut().insert(caller);
            if let Some(session) = session {
                request.extensions_mut().insert(session);
            }
            match standing {
                Some(standing) => standing.bound(next.run(request)).await,
                None => Ok(next.run(request).await),
            }
        }
        // A request without credentials is no guess: a browser that checks whether it is signed in must not count as a
        // client with wrong keys.
        Err(denied) if !shows_something(&api, request.headers()) => Err(denied.into()),
        Err(denied) => {
            // A valid key is accepted even so, since behind a proxy all callers share one address; 256 random bits
            // cannot be guessed, and the limit keeps a misconfigured client from flooding the log.
            let address = request.extensions().get::<ClientAddress>().map(|address| address.0);
            match address.and_then(|address| api.failures.count(address, now)) {
                None => Err(denied.into()),
                Some(wait) => Err(Problem::of(&codes::TOO_MANY_ATTEMPTS).retry_after(wait)),
            }
        }
    }
}

fn shows_something(api: &Api, headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || cookie(&api.host, headers).is_some()
}
