//! The whole router over a host of its own: every route is described and guarded, and whatever comes in, what goes out is an
//! answer of its kind or a problem.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;
use weir_domain::event::EventType;

use super::{codes, description, event_types, openapi, router};
use crate::{Config, Host};

/// A host without loops.
struct Api {
    router: Router,
    host: Host,
    key: String,
    close: watch::Sender<bool>,
    _folder: TempDir,
}

/// What came back.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    kind: String,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Api {
    async fn open() -> Self {
        let folder = TempDir::new().expect("a folder");
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the first key");
        let (close, closing) = watch::channel(false);
        Self {
            router: router(host.clone(), closing),
            host,
            key: key.trim().to_owned(),
            close,
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

    async fn ask(&self, request: Request<Body>) -> Answered {
        let response = self.raw(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let kind = parts
            .headers
            .get("content-type")
            .map_or("", |kind| kind.to_str().expect("ASCII"));
        Answered {
            status: parts.status,
            kind: kind.to_owned(),
            headers: parts.headers.clone(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Answered {
        let request = self.request(method, path).header("content-type", "application/json");
        self.ask(request.body(Body::from(body.to_string())).expect("a request"))
            .await
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask(self.request("GET", path).body(Body::empty()).expect("a request"))
            .await
    }
}

impl Answered {
    /// Whether it is a problem as documented; gives its code.
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

/// The path with ids of the right form that name nothing.
fn filled(path: &str) -> String {
    let id = "0193a4c6b2f07c5e8d1f2a3b4c5d6e7f";
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
        _ => "nothing",
    };
    path.replace("{id}", &format!("{prefix}_{id}"))
        .replace("{name}", "nothing")
        .replace("{version}", "1.0.0")
}

#[tokio::test]
async fn nothing_below_v1_answers_without_a_key() {
    let api = Api::open().await;
    for (method, path) in operations() {
        let request = Request::builder().method(method.as_str()).uri(filled(&path));
        let answered = api.ask(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(
            (answered.status.as_u16(), answered.problem()),
            (401, "key_unknown"),
            "{method} {path}"
        );
        assert_eq!(answered.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn a_key_without_the_scope_is_turned_away_before_its_body_is_read() {
    let mut api = Api::open().await;
    let made = api
        .json("POST", "/v1/keys", json!({ "name": "n", "scopes": ["policy:loosen"] }))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    api.key = made.body["key"].as_str().expect("shown once").to_owned();
    // Whoever has a key may ask who they are and sign in with it.
    let operations = operations().into_iter().filter(|(_, path)| path != "/v1/session");
    for (method, path) in operations {
        let request = api
            .request(&method, &filled(&path))
            .header("content-type", "application/json");
        let answered = api.ask(request.body(Body::from("{")).expect("a request")).await;
        assert_eq!(
            (answered.status.as_u16(), answered.problem()),
            (403, "scope_missing"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn whatever_comes_in_is_never_answered_as_our_own_failure() {
    let api = Api::open().await;
    let bodies: [(&str, &[u8]); 9] = [
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b"null"),
        ("application/json", b"{\"x\":\"\\u0000\\ud83d\\ude00\"}"),
        (
            "application/json",
            b"{\"type\":\"' OR 1=1 --\",\"url\":\"file:///etc/passwd\",\"scopes\":[\"\"]}",
        ),
        ("application/wasm", b"\0asm"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--"),
        ("text/plain", b"\xff\xfe"),
    ];
    for (method, path) in operations() {
        for filled in [
            filled(&path),
            path.replace("{id}", "%00'%22;DROP")
                .replace("{name}", "%ff")
                .replace("{version}", ".."),
        ] {
            for (kind, body) in bodies {
                let request = api.request(&method, &filled).header("content-type", kind);
                let request = request.body(Body::from(body)).expect("a request");
                if path.ends_with("/stream") && !filled.contains('{') {
                    // A stream goes on for ever; its own test reads it.
                    continue;
                }
                let answered = api.ask(request).await;
                assert!(
                    answered.status.as_u16() < 500,
                    "{method} {filled} {body:?}: {answered:?}"
                );
                if answered.status.is_client_error() {
                    answered.problem();
                }
            }
        }
    }
}

#[tokio::test]
async fn each_kind_of_bad_input_has_its_own_words() {
    let api = Api::open().await;
    let long = "x".repeat(300 << 10);
    let cases = [
        ("GET", "/v1/nothing", None, "", 404, "not_found"),
        ("GET", "/nothing", None, "", 404, "not_found"),
        ("PUT", "/v1/channels", None, "", 405, "method_not_allowed"),
        (
            "GET",
            "/v1/channels/cnv_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f",
            None,
            "",
            404,
            "not_found",
        ),
        ("GET", "/v1/channels?limit=0", None, "", 400, "invalid_parameter"),
        ("GET", "/v1/channels?limit=201", None, "", 400, "invalid_parameter"),
        ("GET", "/v1/channels?limit=x", None, "", 400, "invalid_parameter"),
        (
            "GET",
            "/v1/events?types=message.invented",
            None,
            "",
            400,
            "invalid_parameter",
        ),
        (
            "GET",
            "/v1/events?after=evt_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f",
            None,
            "",
            400,
            "invalid_parameter",
        ),
        ("POST", "/v1/keys", None, "{}", 415, "unsupported_media_type"),
        (
            "POST",
            "/v1/keys",
            Some("text/plain"),
            "{}",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/v1/keys", Some("application/json"), "{", 400, "invalid_json"),
        (
            "POST",
            "/v1/keys",
            Some("application/json"),
            &long,
            413,
            "body_too_large",
        ),
        (
            "POST",
            "/v1/keys",
            Some("application/json"),
            "{}",
            422,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/keys",
            Some("application/json; charset=utf-8"),
            r#"{"name":"n","scopes":["root"]}"#,
            422,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/endpoints",
            Some("application/json"),
            r#"{"url":"http://example.com/"}"#,
            422,
            "url_refused",
        ),
        (
            "POST",
            "/v1/endpoints",
            Some("application/json"),
            r#"{"url":"https://127.0.0.1/"}"#,
            422,
            "url_refused",
        ),
        (
            "POST",
            "/v1/endpoints",
            Some("application/json"),
            r#"{"url":"https://a.example/","types":["x"]}"#,
            422,
            "invalid_request",
        ),
        (
            "PUT",
            "/v1/apps/Upper",
            Some("application/json"),
            r#"{"connector":"tiktok"}"#,
            400,
            "invalid_parameter",
        ),
        (
            "PUT",
            "/v1/apps/shop",
            Some("application/json"),
            r#"{"connector":"nothing"}"#,
            422,
            "connector_unknown",
        ),
        (
            "PUT",
            "/v1/apps/shop",
            Some("application/json"),
            r#"{"connector":"tiktok","settings":{"queries_per_second":"50"}}"#,
            422,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/connectors",
            Some("application/json"),
            "{}",
            415,
            "unsupported_media_type",
        ),
        (
            "POST",
            "/v1/connectors",
            Some("application/wasm"),
            "no component",
            422,
            "component_refused",
        ),
        (
            "POST",
            "/hooks/nothing",
            Some("application/json"),
            "{}",
            404,
            "not_found",
        ),
        (
            "GET",
            "/media/med_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f?expires=1&signature=00",
            None,
            "",
            403,
            "media_link_invalid",
        ),
    ];
    for (method, path, kind, body, status, code) in cases {
        let mut request = api.request(method, path);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let answered = api
            .ask(request.body(Body::from(body.to_owned())).expect("a request"))
            .await;
        assert_eq!(
            (answered.status.as_u16(), answered.problem()),
            (status, code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_repeated_request_acts_once_and_a_secret_is_shown_once() {
    let api = Api::open().await;
    let post = |body: Value| {
        let request = api
            .request("POST", "/v1/keys")
            .header("content-type", "application/json");
        let request = request
            .header("idempotency-key", "k1")
            .body(Body::from(body.to_string()))
            .expect("a request");
        api.ask(request)
    };
    let first = post(json!({ "name": "crm", "scopes": ["read"] })).await;
    let second = post(json!({ "name": "crm", "scopes": ["read"] })).await;
    assert_eq!(
        (first.status, second.status),
        (StatusCode::CREATED, StatusCode::CREATED)
    );
    assert_eq!(first.body["id"], second.body["id"]);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert!(first.body["key"].is_string() && second.body["key"].is_null());
    let other = post(json!({ "name": "other", "scopes": ["read"] })).await;
    assert_eq!(
        (other.status.as_u16(), other.problem()),
        (422, "idempotency_key_reused")
    );
    assert_eq!(
        api.get("/v1/keys").await.body["data"].as_array().map(Vec::len),
        Some(2),
        "the first key and one more"
    );
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off_without_a_gap() {
    let api = Api::open().await;
    let tell = async |n: i64| {
        let data = json!({ "n": n });
        let event = api
            .host
            .store()
            .append_event("default", None, EventType::ChannelUpdated, data, api.host.now())
            .await;
        api.host.told();
        event.expect("written").id.to_string()
    };
    let first = tell(1).await;
    tell(2).await;
    let request = api
        .request("GET", "/v1/events/stream?types=channel.updated")
        .header("last-event-id", &first);
    let response = api.raw(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    let mut told_third = false;
    while !text.contains("\"n\":3") {
        let frame = body.frame().await.expect("the stream goes on").expect("no error");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
        if text.contains("\"n\":2") && !std::mem::replace(&mut told_third, true) {
            tell(3).await;
        }
    }
    assert!(
        text.starts_with(": connected\n") || text.contains("retry: 2000"),
        "{text}"
    );
    assert!(!text.contains("\"n\":1"), "what was seen does not come again");
    api.close.send_replace(true);
    while let Some(frame) = body.frame().await {
        assert!(frame.is_ok(), "the stream ends, it does not break");
    }
}

#[tokio::test]
async fn an_address_with_many_wrong_keys_is_told_to_wait_and_a_right_key_still_opens() {
    let api = Api::open().await;
    let knock = |key: &str| {
        let address = super::ClientAddress("192.0.2.1".parse().expect("an address"));
        let request = Request::builder().uri("/v1/channels").extension(address);
        let request = request.header("authorization", format!("Bearer {key}"));
        api.ask(request.body(Body::empty()).expect("a request"))
    };
    for _ in 0..20 {
        assert_eq!(knock("weir_0000000000000000").await.problem(), "key_unknown");
    }
    let held = knock("weir_0000000000000000").await;
    assert_eq!((held.status.as_u16(), held.problem()), (429, "too_many_attempts"));
    assert!(held.headers.contains_key("retry-after"));
    assert_eq!(knock(&api.key).await.status, StatusCode::OK);
}

/// A browser: it signs in with the key and then shows only its cookie.
struct Browser<'a> {
    api: &'a Api,
    cookie: String,
    token: String,
}

impl<'a> Browser<'a> {
    async fn sign_in(api: &'a Api) -> Self {
        let begun = api.json("POST", "/v1/session", json!({})).await;
        assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
        let cookie = begun.headers["set-cookie"].to_str().expect("ASCII").to_owned();
        for word in [
            "weir-session=",
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
            "; Max-Age=604800",
        ] {
            assert!(cookie.contains(word), "{cookie} lacks {word}");
        }
        Self {
            api,
            cookie: cookie.split(';').next().expect("a pair").to_owned(),
            token: begun.body["csrf_token"].as_str().expect("a token").to_owned(),
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", format!("other=1; {}", self.cookie))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.api
            .ask(request.body(Body::from(body.to_string())).expect("a request"))
            .await
    }
}

#[tokio::test]
async fn a_session_reads_by_its_cookie_and_changes_only_with_its_token() {
    let api = Api::open().await;
    let browser = Browser::sign_in(&api).await;
    let seen = browser.ask("GET", "/v1/session", &[], json!({})).await;
    assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
    assert_eq!(seen.body["csrf_token"], browser.token);
    assert_eq!(
        browser.ask("GET", "/v1/channels", &[], json!({})).await.status,
        StatusCode::OK
    );
    let token = ("x-csrf-token", browser.token.as_str());
    let key = json!({ "name": "n", "scopes": ["read"] });
    let wrong = "0".repeat(64);
    for headers in [
        &[][..],
        &[("x-csrf-token", "")],
        &[("x-csrf-token", wrong.as_str())],
        &[token, ("sec-fetch-site", "cross-site")],
        &[token, ("sec-fetch-site", "same-site")],
    ] {
        let no = browser.ask("POST", "/v1/keys", headers, key.clone()).await;
        assert_eq!(
            (no.status.as_u16(), no.problem()),
            (403, "csrf_token_missing"),
            "{headers:?}"
        );
    }
    // Another port of this machine is the same site for cookies, and still somebody else's page.
    let read = browser
        .ask("GET", "/v1/channels", &[("sec-fetch-site", "same-site")], json!({}))
        .await;
    assert_eq!(read.problem(), "csrf_token_missing");
    let headers = [token, ("sec-fetch-site", "same-origin")];
    assert_eq!(
        browser.ask("POST", "/v1/keys", &headers, key).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_session_ends_when_somebody_signs_out_and_with_its_key_and_never_renews_itself() {
    let mut api = Api::open().await;
    let admin = api.key.clone();
    let made = api
        .json("POST", "/v1/keys", json!({ "name": "n", "scopes": ["read"] }))
        .await;
    api.key = made.body["key"].as_str().expect("shown once").to_owned();
    let browser = Browser::sign_in(&api).await;
    let other = Browser::sign_in(&api).await;
    assert_ne!(browser.cookie, other.cookie);
    let renewed = browser
        .ask("POST", "/v1/session", &[("x-csrf-token", &browser.token)], json!({}))
        .await;
    assert_eq!(renewed.problem(), "invalid_request");
    let out = browser
        .ask("DELETE", "/v1/session", &[("x-csrf-token", &browser.token)], json!({}))
        .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT, "{out:?}");
    assert!(
        out.headers["set-cookie"]
            .to_str()
            .expect("ASCII")
            .contains("weir-session=; Path=/; Max-Age=0")
    );
    assert_eq!(
        browser.ask("GET", "/v1/session", &[], json!({})).await.problem(),
        "session_over"
    );
    assert_eq!(
        other.ask("GET", "/v1/session", &[], json!({})).await.status,
        StatusCode::OK
    );
    let id = made.body["id"].as_str().expect("an id");
    let request = Request::builder()
        .method("DELETE")
        .uri(format!("/v1/keys/{id}"))
        .header("authorization", format!("Bearer {admin}"));
    let revoked = api.ask(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT, "{revoked:?}");
    assert_eq!(
        other.ask("GET", "/v1/session", &[], json!({})).await.problem(),
        "key_ended"
    );
}

#[tokio::test]
async fn the_record_holds_no_session_in_the_clear() {
    let api = Api::open().await;
    let browser = Browser::sign_in(&api).await;
    let text = browser.cookie.split_once('=').expect("a pair").1;
    let session = api
        .host
        .store()
        .session(weir_domain::caller::digest(text))
        .await
        .expect("read");
    assert!(session.is_some_and(|session| hex::encode(session.digest) != text));
}

#[tokio::test]
async fn the_console_is_one_page_that_loads_only_its_own() {
    let api = Api::open().await;
    for path in ["/", "/inbox", "/channels", "/events", "/settings"] {
        let answered = api
            .raw(Request::builder().uri(path).body(Body::empty()).expect("a request"))
            .await;
        assert_eq!(answered.status(), StatusCode::OK, "{path}");
        let policy = answered.headers()["content-security-policy"]
            .to_str()
            .expect("ASCII")
            .to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "frame-ancestors 'none'",
            "trusted-types 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(answered.headers()["referrer-policy"], "no-referrer");
        let tag = answered.headers()["etag"].clone();
        let again = Request::builder().uri(path).header("if-none-match", tag);
        let again = api.raw(again.body(Body::empty()).expect("a request")).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn every_answer_forbids_browsers_to_guess_or_load() {
    let api = Api::open().await;
    for path in [
        "/",
        "/docs/errors",
        "/healthz",
        "/v1/channels",
        "/nothing",
        "/connect/nothing",
        "/oauth/callback",
    ] {
        let answered = api.get(path).await;
        assert_eq!(answered.headers["x-content-type-options"], "nosniff", "{path}");
        let policy = answered.headers["content-security-policy"].to_str().expect("ASCII");
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert!(answered.status.as_u16() < 500, "{path}");
    }
}

#[test]
fn every_route_is_described_once_and_documented() {
    let api = description();
    let document = openapi::document(&api);
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md")).expect("docs/api.md");
    for path in api.paths.paths.keys() {
        assert!(text.contains(&format!("`{path}`")), "docs/api.md lacks {path}");
    }
    let mut ids: Vec<_> = operation_ids(&document["paths"]);
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
    assert_eq!(dangling(&document, &document), BTreeSet::new());
}

#[test]
fn every_event_type_has_a_schema_that_is_whole_in_itself() {
    let catalogue = event_types::Catalogue::of(&openapi::document(&description()));
    assert_eq!(catalogue.schemas().count(), EventType::ALL.len());
    for (name, schema) in catalogue.schemas() {
        assert_eq!(schema["properties"]["type"]["const"], name);
        assert_eq!(dangling(schema, schema), BTreeSet::new(), "{name}");
        let data = schema["properties"]["data"].to_string();
        assert!(data.contains("#/$defs/"), "{name}: {data}");
        let defs = schema["$defs"].as_object().expect("definitions");
        assert!(defs.values().all(Value::is_object), "{name}: {schema:#}");
    }
}

fn operation_ids(paths: &Value) -> Vec<String> {
    let items = paths.as_object().expect("paths").values();
    items
        .flat_map(|item| item.as_object().expect("an item").values())
        .filter_map(|operation| operation["operationId"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// References below `value` that name nothing in the document.
fn dangling(document: &Value, value: &Value) -> BTreeSet<String> {
    let below: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let own = value.get("$ref").and_then(Value::as_str);
    let is_there = |reference: &str| {
        let pointer = reference.strip_prefix('#').expect("within the document");
        document.pointer(pointer).is_some()
    };
    let own = own.filter(|reference| !is_there(reference)).map(ToOwned::to_owned);
    below
        .into_iter()
        .flat_map(|value| dangling(document, value))
        .chain(own)
        .collect()
}

#[test]
fn every_event_type_is_a_webhook_and_documented() {
    let document = serde_json::to_value(description()).expect("JSON");
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md")).expect("docs/events.md");
    for kind in EventType::ALL {
        assert!(
            document["webhooks"][kind.as_str()]["post"].is_object(),
            "{}",
            kind.as_str()
        );
        assert!(
            text.contains(&format!("| `{}` |", kind.as_str())),
            "docs/events.md lacks {}",
            kind.as_str()
        );
    }
}

/// Operations that change nothing which outlives them, or whose change is an event of its own.
const NOT_AUDITED: [&str; 7] = [
    // A message is an event, with who sent it; a typing mark leaves nothing.
    "/v1/conversations/{id}/messages",
    "/v1/conversations/{id}/activity",
    // Bytes until a message names them.
    "/v1/media",
    // Asks the platform anew, or begins a look.
    "/v1/channels/{id}/refresh",
    "/v1/channels/{id}/test",
    // Always refused, and kept as a refusal.
    "/v1/broadcasts",
    // Signing in is written down; signing out only ends it.
    "/v1/session",
];

#[test]
fn every_change_is_written_into_the_audit_log() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut changes = 0;
    for entry in std::fs::read_dir(folder).expect("the routes") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        for handler in text.split("#[utoipa::path(").skip(1) {
            let path = handler.split('"').nth(1).unwrap_or_default();
            let changes_something = ["post", "put", "patch", "delete"]
                .iter()
                .any(|method| handler.starts_with(method));
            if !changes_something || !path.starts_with("/v1/") || NOT_AUDITED.contains(&path) {
                continue;
            }
            assert!(handler.contains("record("), "{path} changes something and tells nobody");
            changes += 1;
        }
    }
    assert!(changes > 20, "only {changes} changes were looked at");
}

#[tokio::test]
async fn an_address_whose_webhooks_prove_nothing_is_turned_away_unread() {
    use std::net::IpAddr;
    let api = Api::open().await;
    let forged = async |address: &str| {
        let mut request = Request::post("/hooks/nobody")
            .body(Body::from("{}"))
            .expect("a request");
        let address: IpAddr = address.parse().expect("an address");
        request.extensions_mut().insert(super::ClientAddress(address));
        let answered = api.ask(request).await;
        (answered.status.as_u16(), answered.problem().to_owned())
    };
    let (mut tries, mut last) = (0, forged("8.8.8.8").await);
    while last.0 == 404 && tries < 100 {
        (tries, last) = (tries + 1, forged("8.8.8.8").await);
    }
    assert_eq!(last, (429, "too_many_forged".to_owned()), "after {tries} tries");
    assert!(tries > 5, "a mistake or two are forgiven");
    // Another address is not held for it, and behind a proxy nobody is.
    assert_eq!(forged("8.8.4.4").await.0, 404);
    for _ in 0..100 {
        assert_eq!(forged("10.0.0.1").await.0, 404);
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let api = Api::open().await;
    let silence = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    // From here on time passes as fast as nothing else happens.
    tokio::time::pause();
    let request = Request::post("/hooks/tiktok").body(Body::from_stream(silence));
    let answered = api.ask(request.expect("a request")).await;
    assert_eq!((answered.status.as_u16(), answered.problem()), (408, "request_timeout"));
}
