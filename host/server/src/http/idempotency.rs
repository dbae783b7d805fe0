//! `Idempotency-Key`: a repeated request has no second effect, and receives the same response.
//!
//! The key is claimed in the database before the request acts. A send is claimed and answered with its message in one
//! transaction; every other POST is claimed, executed, and answered. Only successful responses are stored: a refused
//! request had no effect and may be repeated. If the process dies in between, the claim remains. The next start
//! releases it if nothing was written for it; otherwise a repeated request receives an error, because it is unknown
//! which steps completed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_domain::caller::Caller;
use weir_domain::claim::{Claim, Claimed, Progress};
use weir_domain::id::ContactId;
use weir_domain::limits;
use weir_store::{HeldClaim, Store, StoreError, StoredResponse};

use super::problem::{ApiResult, COME_BACK, Problem};
use super::{Api, acts, body, codes};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a response as a replay of an earlier one.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The route whose responses the store keeps with the message.
pub(crate) const SEND: &str = "/v1/conversations/{id}/messages";
/// Number of attempts to store the end of a claim after the database failed, and the delay between two: a full disk or a
/// lock clears within minutes. Until then the key reports that its request is in progress, so that nothing is executed
/// twice.
const RETRIES: (u32, Duration) = (60, Duration::from_secs(5));

/// How a claimed request ended.
#[derive(Clone, Debug)]
enum ClaimEnd {
    /// It succeeded with this response, which concerns this contact.
    Answered(StoredResponse, Option<ContactId>),
    /// It changed nothing.
    Released,
    /// Which of its steps completed is unknown.
    Interrupted,
}

impl ClaimEnd {
    async fn store(&self, store: &dyn Store, claim: HeldClaim) -> Result<(), StoreError> {
        match self {
            Self::Answered(response, about) => store.answer_claim(claim, response.clone(), *about).await,
            Self::Released => store.release_claim(claim).await,
            Self::Interrupted => store.interrupt_claim(claim).await,
        }
    }
}

/// The claim of a request, for a handler that acts on it itself; `None` without a key. For a streamed request the file
/// is not known yet: see [`Idempotency::for_file`].
#[derive(Clone, Debug)]
pub(crate) struct Idempotency(pub(crate) Option<Claim>);

/// What is stored in place of a response's body that contains a secret that is shown once.
#[derive(Clone, Debug)]
pub(crate) struct KeepInstead(pub(crate) Value);

impl Idempotency {
    /// The claim of a request with this file: by its digest, since a repeated form has a different boundary.
    pub(crate) fn for_file(self, digest: &[u8], name: &str) -> Option<Claim> {
        let mut claim = self.0?;
        claim.fingerprint = fingerprint(&[claim.fingerprint.as_bytes(), digest, name.as_bytes()]);
        Some(claim)
    }
}

/// Runs after the authentication, since idempotency keys belong to their caller, and in the request's own task, so that
/// every claim is settled.
pub(crate) async fn once(State(api): State<Api>, mut request: Request, next: Next) -> ApiResult<Response> {
    if *request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let key = key_of(request.headers())?;
    let caller = request.extensions().get::<Caller>().cloned();
    let (Some(key), Some(caller)) = (key, caller) else {
        request.extensions_mut().insert(Idempotency(None));
        return Ok(next.run(request).await);
    };
    let is_streamed = acts::is_streamed(&request);
    let path = request.extensions().get::<MatchedPath>();
    let is_send = path.is_some_and(|path| path.as_str() == SEND);
    let (mut parts, stream) = request.into_parts();
    let (bytes, stream) = if is_streamed {
        (bytes::Bytes::new(), stream)
    } else {
        let bytes = body::read(stream, limits::API_BODY_BYTES).await?;
        (bytes.clone(), Body::from(bytes))
    };
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let claim = Claim {
        workspace_id: caller.workspace_id().to_owned(),
        api_key: caller.key(),
        key,
        fingerprint: fingerprint(&[parts.method.as_str().as_bytes(), path.as_bytes(), &bytes]),
    };
    if is_send || is_streamed {
        parts.extensions.insert(Idempotency(Some(claim)));
        return Ok(next.run(Request::from_parts(parts, stream)).await);
    }
    // Claimed here, and not again by a handler that also accepts files.
    parts.extensions.insert(Idempotency(None));
    api.once(Some(claim), next.run(Request::from_parts(parts, stream)))
        .await
}

impl Api {
    /// Executes once for a claim; without a claim, each time.
    pub(crate) async fn once(
        &self,
        claim: Option<Claim>,
        work: impl Future<Output = Response> + Send,
    ) -> ApiResult<Response> {
        let Some(claim) = claim else { return Ok(work.await) };
        let store = self.host.store();
        let node = self.host.core.node.id();
        let claimed = store.claim(claim.clone(), &node, self.host.now()).await;
        if matches!(claimed, Err(StoreError::Unknown { .. })) {
            // The claim may be in the database, and no work follows. Not released: another request may hold it by now.
            let claim = HeldClaim {
                claim: claim.clone(),
                node: node.clone(),
            };
            self.end_claim(claim, ClaimEnd::Interrupted).await;
        }
        match claimed? {
            Claimed::New => {}
            Claimed::Before(Progress::Answered(kept)) => return Ok(replayed(kept)),
            Claimed::Before(Progress::AtWork) => {
                return Err(Problem::of(&codes::REQUEST_IN_PROGRESS).retry_after(COME_BACK));
            }
            Claimed::Before(Progress::Interrupted) => return Err(Problem::of(&codes::REQUEST_INTERRUPTED)),
            Claimed::Reused => return Err(Problem::of(&codes::IDEMPOTENCY_KEY_REUSED)),
        }
        let claim = HeldClaim { claim, node };
        let ended = AssertUnwindSafe(weir_store::for_claim(claim.clone(), work))
            .catch_unwind()
            .await;
        match ended.as_ref().ok().map(Response::status) {
            Some(status) if status.is_success() => {}
            // The error is unknown, and so is which steps completed.
            Some(StatusCode::INTERNAL_SERVER_ERROR) | None => {
                self.end_claim(claim.clone(), ClaimEnd::Interrupted).await;
            }
            Some(_) => self.end_claim(claim.clone(), ClaimEnd::Released).await,
        }
        match ended {
            Ok(response) if response.status().is_success() => self.keep(claim, response).await,
            Ok(response) => Ok(response),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Stores a response, then returns it. Its effects have happened, so it is returned even if it cannot be stored
    /// yet.
    async fn keep(&self, claim: HeldClaim, response: Response) -> ApiResult<Response> {
        let (mut parts, stream) = response.into_parts();
        // Our own response, which is in memory already.
        let bytes = axum::body::to_bytes(stream, usize::MAX)
            .await
            .map_err(Problem::internal)?;
        let body = match parts.extensions.remove::<KeepInstead>() {
            Some(KeepInstead(document)) => document.to_string(),
            None => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let about = about(&body);
        let answer = StoredResponse {
            status: parts.status.as_u16(),
            body,
        };
        let end = if answer.body.len() > limits::KEPT_ANSWER_BYTES {
            // Reports can be large and change nothing, so they are recomputed.
            ClaimEnd::Released
        } else {
            ClaimEnd::Answered(answer, about)
        };
        self.end_claim(claim, end).await;
        Ok(Response::from_parts(parts, Body::from(bytes)))
    }

    /// Stores how a claimed request ended; if the database fails, retries in the background, so that the caller gets its
    /// response.
    async fn end_claim(&self, claim: HeldClaim, end: ClaimEnd) {
        let Err(error) = end.store(self.host.store(), claim.clone()).await else {
            return;
        };
        let Ok(slot) = Arc::clone(&self.acts).try_acquire_owned() else {
            tracing::warn!(%error, "The end of a request could not be stored under its idempotency key");
            return;
        };
        tracing::warn!(%error, "The end of a request could not be stored under its idempotency key; the write is retried");
        let host = self.host.clone();
        let retries = async move {
            for _ in 0..RETRIES.0 {
                tokio::time::sleep(RETRIES.1).await;
                if end.store(host.store(), claim.clone()).await.is_ok() {
                    break;
                }
            }
        };
        let host = self.host.clone();
        tokio::spawn(async move { host.core.detached(slot, retries).await });
    }
}

/// The contact in a response: the author of a message, or the contact itself. The response is deleted when the contact
/// is erased.
fn about(body: &str) -> Option<ContactId> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let named = |member| {
        answer
            .get(member)
            .and_then(Value::as_str)
            .and_then(|id| id.parse().ok())
    };
    named("contact_id").or_else(|| named("id"))
}

fn replayed(kept: StoredResponse) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = (status, kept.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The key, bare or as a quoted string (draft-ietf-httpapi-idempotency-key-header, 2.1).
fn key_of(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let mut values = headers.get_all(&KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let invalid =
        |why: &str| Problem::of(&codes::IDEMPOTENCY_KEY_INVALID).detail(format_args!("Idempotency-Key: {why}"));
    if values.next().is_some() {
        return Err(invalid("the header is repeated"));
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

/// Identifies a request by its method, path and body.
fn fingerprint(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
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
        let print = |method: &str, path: &str, body: &[u8]| fingerprint(&[method.as_bytes(), path.as_bytes(), body]);
        let first = print("POST", "/v1/a", b"bc");
        assert_eq!(first, print("POST", "/v1/a", b"bc"));
        assert_ne!(first, print("POST", "/v1/ab", b"c"));
        assert_ne!(first, print("POST", "/v1/a?b=c", b"bc"));
        assert_ne!(first, print("POST", "/v1/a", b"bd"));
    }

    #[test]
    fn an_answer_names_the_contact_it_is_about() {
        let id = "ctc_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f";
        let other = "msg_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f";
        let named = |body: Value| about(&body.to_string()).map(|id| id.to_string());
        assert_eq!(
            named(serde_json::json!({"id": other, "contact_id": id})).as_deref(),
            Some(id)
        );
        assert_eq!(named(serde_json::json!({"id": id})).as_deref(), Some(id));
        assert_eq!(named(serde_json::json!({"id": other})), None);
        assert_eq!(about(""), None);
    }
}
