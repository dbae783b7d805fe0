//! Common parts of every response: a request id, security headers for browsers, and for an error a problem document.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use weir_domain::id::RequestId;

use super::Api;
use super::problem::Problem;

/// The request's id in responses and in the log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The media type of a problem (RFC 9457, 6.1).
pub(crate) const PROBLEM: &str = "application/problem+json";
/// Responses may not load, frame or submit anything, unless a page overrides this.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The outermost layer.
pub(crate) async fn finish(State(api): State<Api>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id: RequestId = api.host.mint().id(api.host.now());
    let id = id.to_string();
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let route = response
        .extensions_mut()
        .remove::<Route>()
        .map_or_else(|| "none".to_owned(), |route| route.0);
    if let Some(problem) = problem_of(&mut response) {
        write_down(&mut response, problem, &id);
    }
    let headers = response.headers_mut();
    set_default(headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set_default(headers, REFERRER_POLICY, "no-referrer");
    set_default(headers, CONTENT_SECURITY_POLICY, NOTHING);
    set_default(headers, CACHE_CONTROL, "no-store");
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    tracing::debug!(
        request.id = id, %method, route, status = response.status().as_u16(), elapsed_ms = started.elapsed().as_millis() as u64,
        "Answered {method} {route}"
    );
    response
}

/// The route that answered, for the log: never the path itself, which may contain user input.
#[derive(Clone, Debug)]
struct Route(String);

/// Stores the route in the response's extensions; runs inside the router, where it is known.
pub(crate) async fn note_route(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| Route(path.as_str().to_owned()));
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// The problem of a handler, or the meaning of a bare status from a lower layer. HTML pages are left unchanged.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let status = response.status();
    let is_page = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    ((status.is_client_error() || status.is_server_error()) && !is_page).then(|| Problem::of_status(status))
}

fn write_down(response: &mut Response, problem: Problem, id: &str) {
    *response.status_mut() = problem.status();
    let wait = problem.wait();
    let is_too_large = problem.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE;
    let is_unauthorized = problem.status() == axum::http::StatusCode::UNAUTHORIZED;
    // Every member is a string, a number or a value that was JSON already.
    let body = serde_json::to_vec(&problem.document(id)).unwrap_or_default();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    if let Some(wait) = wait {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    // The rest of the body is not read, so the connection cannot be reused; the response says so with `Connection:
    // close`.
    if is_too_large {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if is_unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    *response.body_mut() = body.into();
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
