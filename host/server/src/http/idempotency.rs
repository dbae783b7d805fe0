//! `Idempotency-Key`: the same request twice acts once, and both times gives the same answer.
//!
//! A send is kept with its message, in the store's own transaction; every other POST with a JSON body is kept here, as its
//! answer. Only answers of success are kept: what was refused did nothing, and may be asked again. Uploads and components are
//! not covered; a component is known by its digest, and an upload twice is two files.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use weir_domain::caller::Caller;
use weir_domain::limits;
use weir_store::KeptAnswer;

use super::problem::{Answer, Problem};
use super::{Api, body, codes};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The route whose keys the store keeps with the message.
pub(crate) const SEND: &str = "/v1/conversations/{id}/messages";

/// The caller's key and the fingerprint of the request, for the handler of [`SEND`].
#[derive(Clone, Debug)]
pub(crate) struct Idempotency(pub(crate) Option<(String, String)>);

/// What is kept in place of the answer's body, where that holds a secret that is shown once.
#[derive(Clone, Debug)]
pub(crate) struct KeepInstead(pub(crate) serde_json::Value);

/// Keys of requests that are at work: the second one waits outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running(Arc<Mutex<HashSet<String>>>);

struct Claim {
    running: Running,
    key: String,
}

impl Running {
    fn claim(&self, key: &str) -> Option<Claim> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned())
            .then(|| Claim {
                running: self.clone(),
                key: key.to_owned(),
            })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.running
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

/// Runs inside the authentication: keys belong to the one who uses them.
pub(crate) async fn once(State(api): State<Api>, mut request: Request, next: Next) -> Answer<Response> {
    if !body::acts(request.method()) {
        return Ok(next.run(request).await);
    }
    let key = key_of(request.headers())?;
    let is_send = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|path| path.as_str() == SEND);
    let Some(key) = key else {
        request.extensions_mut().insert(Idempotency(None));
        return Ok(next.run(request).await);
    };
    if !is_send && !is_kept(request.headers()) {
        return Ok(next.run(request).await);
    }
    let (mut parts, stream) = request.into_parts();
    let bytes = body::read(stream, limits::API_BODY_BYTES).await?;
    let fingerprint = fingerprint(parts.method.as_str(), parts.uri.path(), &bytes);
    let caller = parts.extensions.get::<Caller>().cloned();
    if is_send {
        parts.extensions.insert(Idempotency(Some((key, fingerprint))));
        return Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await);
    }
    let Some(caller) = caller else {
        return Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await);
    };
    let key = format!("{}:{key}", caller.key());
    let workspace = caller.workspace_id().to_owned();
    let _claim = api
        .running
        .claim(&format!("{workspace}/{key}"))
        .ok_or_else(|| Problem::of(&codes::REQUEST_IN_PROGRESS).retry_after(super::problem::COME_BACK))?;
    if let Some(kept) = api.host.store().kept_answer(&workspace, &key, api.host.now()).await? {
        return if kept.fingerprint == fingerprint {
            Ok(replayed(kept))
        } else {
            Err(Problem::of(&codes::IDEMPOTENCY_KEY_REUSED))
        };
    }
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if response.status().is_success() {
        keep(&api, &workspace, &key, fingerprint, response).await
    } else {
        Ok(response)
    }
}

/// Keeps an answer, then gives it. An answer that cannot be kept is given all the same: what it tells of has happened.
async fn keep(api: &Api, workspace: &str, key: &str, fingerprint: String, response: Response) -> Answer<Response> {
    let (mut parts, stream) = response.into_parts();
    let bytes = axum::body::to_bytes(stream, limits::API_BODY_BYTES)
        .await
        .map_err(Problem::internal)?;
    let kept = match parts.extensions.remove::<KeepInstead>() {
        Some(KeepInstead(document)) => document.to_string(),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let answer = KeptAnswer {
        fingerprint,
        status: parts.status.as_u16(),
        body: kept,
    };
    if let Err(error) = api
        .host
        .store()
        .keep_answer(workspace, key, answer, api.host.now())
        .await
    {
        tracing::warn!(%error, "An answer could not be kept under its idempotency key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replayed(kept: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = (status, kept.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Whether this module keeps the answer: bodies of JSON, and none.
fn is_kept(headers: &HeaderMap) -> bool {
    body::is_json(headers) || !headers.contains_key(CONTENT_TYPE)
}

/// The key, bare or as a quoted string (draft-ietf-httpapi-idempotency-key-header, 2.1).
fn key_of(headers: &HeaderMap) -> Answer<Option<String>> {
    let mut values = headers.get_all(&KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let invalid =
        |why: &str| Problem::of(&codes::IDEMPOTENCY_KEY_INVALID).detail(format_args!("Idempotency-Key: {why}"));
    if values.next().is_some() {
        return Err(invalid("it stands there twice"));
    }
    let text = value.to_str().map_err(|_| invalid("it is not printable ASCII"))?.trim();
    let key = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    match key.len() {
        0 => Err(invalid("it is empty")),
        1..=limits::IDEMPOTENCY_KEY_CHARS => Ok(Some(key.to_owned())),
        _ => Err(invalid("it is longer than 255 characters")),
    }
}

/// Tells one request from another: method, path and body.
fn fingerprint(method: &str, path: &str, body: &[u8]) -> String {
    let mut digest = Sha256::new();
    for part in [method.as_bytes(), path.as_bytes(), body] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(KEY, HeaderValue::from_str(value).expect("a header"));
        key_of(&headers).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn a_key_is_taken_bare_or_quoted_up_to_its_bound() {
        assert_eq!(key_of(&HeaderMap::new()).ok(), Some(None));
        assert_eq!(key("abc"), Ok(Some("abc".into())));
        assert_eq!(key("\"abc\""), Ok(Some("abc".into())));
        assert_eq!(key(&"k".repeat(255)), Ok(Some("k".repeat(255))));
        assert_eq!(key(&"k".repeat(256)), Err(400));
        assert_eq!(key(""), Err(400));
        assert_eq!(key("\"\""), Err(400));
    }

    #[test]
    fn another_method_path_or_body_is_another_request() {
        let first = fingerprint("POST", "/v1/a", b"bc");
        assert_eq!(first, fingerprint("POST", "/v1/a", b"bc"));
        assert_ne!(first, fingerprint("POST", "/v1/ab", b"c"));
        assert_ne!(first, fingerprint("POST", "/v1/a", b"bd"));
    }

    #[test]
    fn the_second_of_two_requests_at_once_waits_outside() {
        let running = Running::default();
        let claim = running.claim("k").expect("free");
        assert!(running.claim("k").is_none());
        drop(claim);
        assert!(running.claim("k").is_some());
    }
}
