//! Every input gets a well-formed response, and invalid input is rejected unread.

use weir_domain::event::ChannelNotice;
use weir_domain::record::{About, NewEvent};

use super::*;

#[tokio::test]
async fn nothing_below_v1_answers_without_a_key() {
    let api = Api::open().await;
    for (method, path) in operations() {
        let request = Request::builder().method(method.as_str()).uri(filled(&path));
        let answered = api.call(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(
            (answered.status.as_u16(), answered.problem()),
            (401, "key_unknown"),
            "{method} {path}"
        );
        assert_eq!(answered.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn missing_scope_is_refused_before_body() {
    let mut api = Api::open().await;
    let made = api
        .json("POST", "/v1/keys", json!({ "name": "n", "scopes": ["policy:loosen"] }))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    api.key = made.body["key"].as_str().expect("shown once").to_owned();
    // Any valid key may read its own session and sign in.
    let operations = operations().into_iter().filter(|(_, path)| path != "/v1/session");
    for (method, path) in operations {
        let request = api
            .request(&method, &filled(&path))
            .header("content-type", "application/json");
        let answered = api.call(request.body(Body::from("{")).expect("a request")).await;
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
                    // A stream does not end; its own test reads it.
                    continue;
                }
                let answered = api.call(request).await;
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
async fn each_bad_input_has_its_message() {
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
            .call(request.body(Body::from(body.to_owned())).expect("a request"))
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
        api.call(request)
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
    let rotate = async |n: i64| {
        let notice = ChannelNotice {
            notice: "renamed".to_owned(),
            detail: json!({ "n": n }),
            at: api.host.now(),
        };
        let event = NewEvent::of(About::workspace("default"), EventType::ChannelUpdated, &notice);
        let event = api.host.store().append_event(event, api.host.now()).await;
        event.expect("written").to_string()
    };
    let first = rotate(1).await;
    rotate(2).await;
    let request = api
        .request("GET", "/v1/events/stream?types=channel.updated")
        .header("last-event-id", &first);
    let response = api.raw(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    let mut third_event = false;
    while !text.contains("\"n\":3") {
        let frame = body.frame().await.expect("the stream continues").expect("no error");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
        if text.contains("\"n\":2") && !std::mem::replace(&mut third_event, true) {
            rotate(3).await;
        }
    }
    assert!(
        text.starts_with(": connected\n") || text.contains("retry: 2000"),
        "{text}"
    );
    assert!(!text.contains("\"n\":1"), "received events are not repeated");
    api.closing.cancel();
    while let Some(frame) = body.frame().await {
        assert!(frame.is_ok(), "the stream ends normally");
    }
}

#[tokio::test]
async fn wrong_keys_throttle_but_right_key_works() {
    let api = Api::open().await;
    let knock = |key: &str| {
        let address = super::super::ClientAddress("192.0.2.1".parse().expect("an address"));
        let request = Request::builder().uri("/v1/channels").extension(address);
        let request = request.header("authorization", format!("Bearer {key}"));
        api.call(request.body(Body::empty()).expect("a request"))
    };
    for _ in 0..20 {
        assert_eq!(knock("weir_0000000000000000").await.problem(), "key_unknown");
    }
    let held = knock("weir_0000000000000000").await;
    assert_eq!((held.status.as_u16(), held.problem()), (429, "too_many_attempts"));
    assert!(held.headers.contains_key("retry-after"));
    assert_eq!(knock(&api.key).await.status, StatusCode::OK);
}

#[tokio::test]
async fn unproven_webhooks_are_throttled_unread() {
    use std::net::IpAddr;
    let api = Api::open().await;
    let forged = async |address: &str| {
        let mut request = Request::post("/hooks/nobody")
            .body(Body::from("{}"))
            .expect("a request");
        let address: IpAddr = address.parse().expect("an address");
        request.extensions_mut().insert(super::super::ClientAddress(address));
        let answered = api.call(request).await;
        (answered.status.as_u16(), answered.problem().to_owned())
    };
    let (mut tries, mut last) = (0, forged("8.8.8.8").await);
    while last.0 == 404 && tries < 100 {
        (tries, last) = (tries + 1, forged("8.8.8.8").await);
    }
    assert_eq!(last, (429, "too_many_forged".to_owned()), "after {tries} attempts");
    assert!(tries > 5, "single mistakes are tolerated");
    // Another address is not affected by it, and behind a proxy none is.
    assert_eq!(forged("8.8.4.4").await.0, 404);
    for _ in 0..100 {
        assert_eq!(forged("10.0.0.1").await.0, 404);
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let api = Api::open().await;
    let silence = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    // From here on time is virtual and advances when no task can run.
    tokio::time::pause();
    let request = api
        .request("POST", "/v1/keys")
        .header("content-type", "application/json");
    let answered = api
        .call(request.body(Body::from_stream(silence)).expect("a request"))
        .await;
    assert_eq!((answered.status.as_u16(), answered.problem()), (408, "request_timeout"));
    // A webhook that cannot be a platform's is not waited for at all.
    let silence = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let began = tokio::time::Instant::now();
    let request = Request::post("/hooks/nobody").body(Body::from_stream(silence));
    let answered = api.call(request.expect("a request")).await;
    assert_eq!((answered.status.as_u16(), began.elapsed().as_secs()), (404, 0));
}

#[tokio::test]
async fn unknown_query_parameters_are_refused_everywhere() {
    let api = Api::open().await;
    for (method, path) in operations() {
        let path = format!("{}?username=rose", filled(&path));
        let answered = api.json(&method, &path, json!({})).await;
        let case = (answered.status.as_u16(), answered.problem());
        assert_eq!(case, (400, "invalid_parameter"), "{method} {path}");
        assert_eq!(answered.body["errors"][0]["parameter"], "username", "{method} {path}");
        assert_eq!(answered.body["errors"][0]["code"], "unknown", "{method} {path}");
    }
    for (path, words) in [
        ("/v1/contacts?chanel_id=x", "did you mean channel_id?"),
        ("/v1/contacts?username=rose", "it has channel_id, limit, cursor"),
        ("/v1/endpoints/ep_1?force=1", "has no query parameters"),
    ] {
        let method = if path.contains("force") { "DELETE" } else { "GET" };
        let answered = api.json(method, path, json!({})).await;
        let detail = answered.body["detail"].as_str().expect("text");
        assert!(detail.contains(words), "{path}: {detail}");
    }
    let stranger = Request::builder().uri("/v1/contacts?username=rose");
    let stranger = api.call(stranger.body(Body::empty()).expect("a request")).await;
    assert_eq!(
        stranger.status,
        StatusCode::UNAUTHORIZED,
        "an unauthenticated caller learns no names"
    );
}

#[tokio::test]
async fn unknown_members_are_refused_wherever_they_stand() {
    let api = Api::open().await;
    let document = openapi::document(&description());
    let mut number = 0;
    for (method, path) in operations() {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        for body in Examples(&document, &Ids::default()).of(schema) {
            for body in with_one_more_member(&body) {
                let answered = api.json(&method, &filled(&path), body.clone()).await;
                let error = &answered.body["errors"][0];
                let case = (answered.status.as_u16(), answered.problem(), error["code"].as_str());
                assert_eq!(
                    case,
                    (422, "invalid_request", Some("unknown")),
                    "{method} {path} {body}: {answered:?}"
                );
                number += 1;
            }
        }
    }
    assert!(number > 40, "only {number} bodies were sent");
}

/// Documents that fit the schemas of a description.
pub(super) struct Examples<'d>(pub(super) &'d Value, pub(super) &'d Ids);

impl Examples<'_> {
    /// One for each variant of the schema, each with all its members.
    pub(super) fn of(&self, schema: &Value) -> Vec<Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').expect("within the document");
            return self.of(self.0.pointer(pointer).expect("a schema"));
        }
        if let Some(variants) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let variants = variants.iter().filter(|variant| variant["type"] != "null");
            return variants.flat_map(|variant| self.of(variant)).collect();
        }
        if let Some(value) = schema.get("const") {
            return vec![value.clone()];
        }
        if let Some(value) = schema["enum"].as_array().and_then(|values| values.first()) {
            return vec![value.clone()];
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") => self.objects(schema),
            Some("array") => self
                .of(&schema["items"])
                .into_iter()
                .map(|item| json!([item]))
                .collect(),
            Some("integer" | "number") => vec![schema.get("minimum").cloned().unwrap_or(json!(1))],
            Some("boolean") => vec![json!(true)],
            Some("string") => vec![self.text(schema).into()],
            _ => vec![json!({})],
        }
    }

    fn objects(&self, schema: &Value) -> Vec<Value> {
        let mut objects = vec![json!({})];
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let values = self.of(member);
            let pairs = values
                .iter()
                .flat_map(|value| objects.iter().map(move |object| (object, value)));
            let with = |(object, value): (&Value, &Value)| {
                let mut object = object.clone();
                object[name] = value.clone();
                object
            };
            objects = pairs.map(with).collect();
        }
        objects
    }

    fn text(&self, schema: &Value) -> String {
        let pattern = schema["pattern"].as_str().and_then(|pattern| pattern.get(1..));
        match (pattern.and_then(|pattern| pattern.split_once('_')), &schema["format"]) {
            (Some((prefix, _)), _) => self.1.of(prefix),
            (None, format) if format == "date-time" => "2026-03-02T10:00:00.000Z".to_owned(),
            (None, _) => "text".to_owned(),
        }
    }
}

/// Variants of the document: for each object in it with members, one copy with an additional member. Objects without
/// members are excluded: their keys are user-defined.
fn with_one_more_member(document: &Value) -> Vec<Value> {
    let Value::Object(members) = document else {
        let items = document.as_array().into_iter().flatten();
        return items.flat_map(with_one_more_member).map(|item| json!([item])).collect();
    };
    if members.is_empty() {
        return Vec::new();
    }
    let mut all = vec![document.clone()];
    all[0]["color"] = json!("red");
    for (name, value) in members {
        all.extend(with_one_more_member(value).into_iter().map(|value| {
            let mut document = document.clone();
            document[name] = value;
            document
        }));
    }
    all
}
