//! The whole router over a host of its own: every route is described and guarded, and every request gets a response of
//! the documented type or a problem document.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use weir_domain::event::EventType;

use super::{codes, description, event_types, openapi, router};
use crate::{Config, Host};

mod document;
mod grants;
mod hangups;
mod input;
mod reach;
mod session;
mod standing;
mod start;

/// A host without background tasks.
struct Api {
    router: Router,
    host: Host,
    key: String,
    closing: CancellationToken,
    _folder: TempDir,
}

/// The response.
#[derive(Debug)]
struct ApiResponse {
    status: StatusCode,
    kind: String,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Api {
    async fn open() -> Self {
        let folder = TempDir::new().expect("a directory");
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the first key");
        Self::over(folder, host, key.trim())
    }

    fn over(folder: TempDir, host: Host, key: &str) -> Self {
        let closing = CancellationToken::new();
        Self {
            router: router(host.clone(), closing.clone()),
            host,
            key: key.to_owned(),
            closing,
            _folder: folder,
        }
    }

    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key))
    }

    async fn raw(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("infallible")
    }

    async fn call(&self, request: Request<Body>) -> ApiResponse {
        let response = self.raw(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let kind = parts
            .headers
            .get("content-type")
            .map_or("", |kind| kind.to_str().expect("ASCII"));
        ApiResponse {
            status: parts.status,
            kind: kind.to_owned(),
            headers: parts.headers.clone(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> ApiResponse {
        let request = self.request(method, path).header("content-type", "application/json");
        self.call(request.body(Body::from(body.to_string())).expect("a request"))
            .await
    }

    async fn get(&self, path: &str) -> ApiResponse {
        self.call(self.request("GET", path).body(Body::empty()).expect("a request"))
            .await
    }
}

impl ApiResponse {
    /// Checks that it is a documented problem; returns its code.
    fn problem(&self) -> &str {
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        let code = self.body["code"].as_str().expect("a code");
        let known = codes::named(code).expect("a documented code");
        assert_eq!(self.body["status"], self.status.as_u16());
        assert_eq!(self.body["type"], format!("/docs/errors#{code}"));
        assert_eq!(self.body["fault"], codes::fault(known.fault));
        let id = self.body["request_id"].as_str().expect("an id");
        assert!(id.starts_with("req_"), "{id}");
        assert_eq!(self.headers["x-request-id"], id);
        code
    }
}

/// Every operation below `/v1`, as (method, path).
fn operations() -> Vec<(String, String)> {
    let mut api = description();
    let mut all = Vec::new();
    for (path, item) in &mut api.paths.paths {
        all.extend(openapi::operations(item).map(|(method, _)| (method.to_uppercase(), path.clone())));
    }
    all.retain(|(_, path)| path.starts_with("/v1/"));
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// Ids by their prefix; an unlisted prefix gets a well-formed id of no object.
#[derive(Clone, Debug, Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    fn of(&self, prefix: &str) -> String {
        let nothing = || format!("{prefix}_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f");
        self.0.get(prefix).cloned().unwrap_or_else(nothing)
    }
}

/// The path with well-formed ids of no object.
fn filled(path: &str) -> String {
    filled_with(path, &Ids::default())
}

/// The path with these ids.
fn filled_with(path: &str, ids: &Ids) -> String {
    let prefix = match path.split('/').nth(2).unwrap_or_default() {
        "channels" => "chn",
        "conversations" => "cnv",
        "messages" => "msg",
        "contacts" => "ctc",
        "media" => "med",
        "endpoints" => "ep",
        "deliveries" => "dlv",
        "connect-sessions" => "cs",
        "dead-letters" => "dl",
        "refusals" => "rfs",
        "keys" => "key",
        "referrals" => "ref",
        _ => "nothing",
    };
    path.replace("{id}", &ids.of(prefix))
        .replace(
            "{name}",
            &ids.0.get("name").cloned().unwrap_or_else(|| "nothing".to_owned()),
        )
        .replace("{version}", "1.0.0")
}
