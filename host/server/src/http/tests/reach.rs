//! The reach of a key: some channels, a workspace, the host. Checked on every documented route.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use weir_domain::channel::Channel;
use weir_domain::id::ConnectSessionId;
use weir_domain::signature::RawWebhook;
use weir_store::{ConnectEnd, ConnectSession, DeadLetter};

use super::input::Examples;
use super::*;
use crate::testing;

/// Text that another workspace's key must never read.
const WORDS: &str = "The words of";

/// An account of the app `echo` in a workspace, with a conversation in which `name` wrote and came by a link.
async fn account(api: &Api, workspace: &str, name: &str) -> Channel {
    let host = &api.host;
    let mut new = testing::account(name);
    workspace.clone_into(&mut new.workspace_id);
    let connected = host
        .store()
        .connect_channel(new, testing::token(host), host.now())
        .await;
    let body = json!({"account": name, "events": [
        {"type": "arrival", "id": "1", "conversation": "c", "contact": {"id": name, "name": name}, "ref": name},
        {"type": "message", "id": "2", "conversation": "c", "contact": {"id": name, "name": name},
            "text": format!("{WORDS} {name}"), "at": host.now().as_millis()},
    ]});
    let at = host.now().as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"echo-webhook-secret").expect("any key");
    mac.update(format!("{at}.{body}").as_bytes());
    let proof = format!("t={at},s={}", hex::encode(mac.finalize().into_bytes()));
    let request = Request::post("/hooks/echo").header("echo-signature", proof);
    let answered = api
        .call(request.body(Body::from(body.to_string())).expect("a request"))
        .await;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    connected.expect("a database").0
}

/// The first id of a list.
async fn first(api: &Api, path: &str) -> String {
    let listed = api.get(path).await;
    let id = listed.body["data"][0]["id"].as_str();
    id.unwrap_or_else(|| panic!("{path}: {listed:?}")).to_owned()
}

/// All objects of a channel, by the prefixes of the ids.
async fn things(api: &Api, channel: &Channel) -> Ids {
    let of = |path: &str| format!("{path}?channel_id={}", channel.id);
    let conversation = first(api, &of("/v1/conversations")).await;
    let message = first(api, &format!("/v1/conversations/{conversation}/messages")).await;
    let card = json!({"content": {"type": "card", "card": "list", "title": "t", "buttons": []}});
    let path = format!("/v1/conversations/{conversation}/messages");
    let refused = api.json("POST", &path, card).await;
    let refusal = refused.body["refusal_id"].as_str();
    let session = ConnectSession {
        channel_id: Some(channel.id),
        workspace_id: channel.workspace_id.clone(),
        ..session(api)
    };
    let host = &api.host;
    host.store()
        .insert_connect_session(session.clone())
        .await
        .expect("a database");
    let ids = [
        ("chn", channel.id.to_string()),
        ("ctc", first(api, &of("/v1/contacts")).await),
        ("ref", first(api, &of("/v1/referrals")).await),
        ("evt", first(api, &of("/v1/events")).await),
        ("rfs", refusal.unwrap_or_else(|| panic!("{refused:?}")).to_owned()),
        ("cs", session.id.to_string()),
        ("cnv", conversation),
        ("msg", message),
        ("name", "echo".to_owned()),
        ("words", format!("{WORDS} {}", channel.name)),
    ];
    Ids(ids.map(|(prefix, id)| (prefix.to_owned(), id)).into())
}

fn session(api: &Api) -> ConnectSession {
    let now = api.host.now();
    let secret = || weir_domain::credential::Secret::new("secret");
    let id: ConnectSessionId = api.host.mint().id(now);
    ConnectSession {
        id,
        workspace_id: "default".to_owned(),
        app: "echo".to_owned(),
        channel_id: None,
        name: None,
        labels: BTreeMap::new(),
        country: None,
        redirect_url: None,
        state: weir_domain::credential::Secret::new(id.to_string()),
        browser: secret(),
        verifier: secret(),
        created_at: now,
        expires_at: now.after(Duration::from_secs(3_600)),
        end: ConnectEnd::Pending,
        tokens: None,
    }
}

/// Objects of the workspace that belong to no channel.
async fn more_things(api: &Api, ids: &mut Ids) {
    let host = &api.host;
    let endpoint = json!({"url": "https://crm.example/weir"});
    let endpoint = api.json("POST", "/v1/endpoints", endpoint).await;
    let id = endpoint.body["id"].as_str().expect("an id").to_owned();
    let example = api
        .json("POST", &format!("/v1/endpoints/{id}/send-example"), json!({}))
        .await;
    let delivery = example.body["delivery_id"].as_str().expect("an id").to_owned();
    let letter = DeadLetter {
        id: host.mint().id(host.now()),
        app: "echo".to_owned(),
        version: "0.1.0".to_owned(),
        reason: format!("{WORDS} nobody"),
        received_at: host.now(),
        webhook: RawWebhook {
            method: "POST".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: format!("{WORDS} nobody").into(),
        },
    };
    host.store().keep_dead_letter(letter.clone()).await.expect("a database");
    let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n\u{89}PNG\r\n--x--\r\n";
    let upload = api
        .request("POST", "/v1/media")
        .header("content-type", "multipart/form-data; boundary=x");
    let upload = api.call(upload.body(Body::from(form)).expect("a request")).await;
    let more = [
        ("ep", id),
        ("dlv", delivery),
        ("dl", letter.id.to_string()),
        ("key", first(api, "/v1/keys").await),
        ("letter", format!("{WORDS} nobody")),
        (
            "med",
            upload.body["id"]
                .as_str()
                .unwrap_or_else(|| panic!("{upload:?}"))
                .to_owned(),
        ),
    ];
    ids.0.extend(more.map(|(prefix, id)| (prefix.to_owned(), id)));
}

/// The administrator's view of these objects.
async fn seen(api: &Api, ids: &Ids) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/v1/apps/{name}",
        "/v1/channels/{id}",
        "/v1/contacts/{id}",
        "/v1/conversations/{id}/messages",
        "/v1/connect-sessions/{id}",
        "/v1/connectors/{name}",
        "/v1/endpoints",
        "/v1/dead-letters",
        "/v1/keys",
    ] {
        let mut answered = api.get(&filled_with(path, ids)).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}: {answered:?}");
        // A media link contains its expiry.
        answered.body["now"] = Value::Null;
        all.push(answered.body);
    }
    all
}

/// Calls every route for `theirs` with this key: it must return and change nothing of them, and list none of them.
async fn reaches_nothing(api: &Api, key: &str, theirs: &Ids, refused_with: &[&str]) {
    let document = openapi::document(&description());
    let before = seen(api, theirs).await;
    let asking = Api {
        key: key.to_owned(),
        router: api.router.clone(),
        host: api.host.clone(),
        closing: api.closing.clone(),
        _folder: TempDir::new().expect("a directory"),
    };
    for (method, path) in operations() {
        // A stream does not end; its own test reads it. Any key may sign in and out.
        if path.ends_with("/stream") || path == "/v1/session" {
            continue;
        }
        let operation = &document["paths"][&path][method.to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let bodies = if schema.is_null() {
            vec![json!({})]
        } else {
            Examples(&document, theirs).of(schema)
        };
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let required: Vec<String> = parameters
            .filter(|one| one["in"] == "query" && one["required"] == true)
            .map(|one| format!("{}=text", one["name"].as_str().expect("a name")))
            .collect();
        let question = if required.is_empty() { "" } else { "?" };
        let filled = format!("{}{question}{}", filled_with(&path, theirs), required.join("&"));
        for body in bodies {
            let answered = asking.json(&method, &filled, body.clone()).await;
            let case = format!("{method} {filled} {body}: {answered:?}");
            let text = answered.body.to_string();
            let names = |id: &&String| *id != "echo" && !filled.contains(*id) && text.contains(*id);
            assert_eq!(theirs.0.values().find(names), None, "{case}");
            if answered.status.is_success() {
                let is_list = answered.body["data"].is_array() && !path.contains("{id}");
                let is_catalog = path.starts_with("/v1/event-types") || path.starts_with("/v1/workspaces");
                let is_own = method == "POST" && matches!(path.as_str(), "/v1/keys" | "/v1/endpoints");
                let is_read = method == "GET" && path.starts_with("/v1/connectors");
                assert!(is_list || is_catalog || is_own || is_read, "{case}");
            } else if path.contains("{id}") {
                assert!(refused_with.contains(&answered.problem()), "{case}");
            }
        }
    }
    assert_eq!(seen(api, theirs).await, before, "nothing of theirs was changed");
}

async fn opened() -> Api {
    let folder = TempDir::new().expect("a directory");
    let host = testing::with_echo(&folder).await;
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the first key");
    Api::over(folder, host, key.trim())
}

async fn made(api: &Api, key: Value) -> String {
    let made = api.json("POST", "/v1/keys", key).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.body["key"].as_str().expect("shown once").to_owned()
}

#[tokio::test]
async fn a_bound_key_reaches_its_channels_alone() {
    let mut api = opened().await;
    let (mine, other) = (
        account(&api, "default", "mine").await,
        account(&api, "default", "other").await,
    );
    let third = account(&api, "default", "third").await;
    let (ours, theirs) = (things(&api, &mine).await, things(&api, &other).await);
    let scopes = ["read", "messages:write", "channels:write", "policy:loosen"];
    let key = made(
        &api,
        json!({"name": "shop", "scopes": scopes, "channel_ids": [mine.id, third.id]}),
    )
    .await;
    let mut workspace = theirs.clone();
    more_things(&api, &mut workspace).await;
    // An upload belongs to no channel.
    workspace.0.remove("med");
    let refused = [
        "not_found",
        "key_bound",
        "scope_missing",
        "invalid_request",
        "unsupported_media_type",
    ];
    reaches_nothing(&api, &key, &workspace, &refused).await;
    api.key = key;
    for path in [
        "/v1/channels/{id}",
        "/v1/channels/{id}/queue",
        "/v1/contacts/{id}",
        "/v1/conversations/{id}",
        "/v1/conversations/{id}/messages",
        "/v1/messages/{id}",
        "/v1/messages/{id}/attempts",
        "/v1/refusals/{id}",
        "/v1/connect-sessions/{id}",
        "/v1/event-types",
    ] {
        let answered = api.get(&filled_with(path, &ours)).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}: {answered:?}");
    }
    for (path, count) in [
        ("/v1/channels", 2),
        ("/v1/contacts", 2),
        ("/v1/conversations", 2),
        ("/v1/conversations?limit=1", 1),
        ("/v1/conversations?name=third", 1),
        ("/v1/conversations?name=other", 0),
        ("/v1/referrals", 2),
        ("/v1/refusals", 1),
        ("/v1/refusals/counts", 1),
        ("/v1/messages?search=words", 2),
        ("/v1/events?types=message.received", 2),
    ] {
        let answered = api.get(path).await;
        let data = answered.body["data"].as_array();
        assert_eq!(data.map(Vec::len), Some(count), "{path}: {answered:?}");
    }
    let path = format!("/v1/conversations/{}/messages", ours.of("cnv"));
    let sent = api
        .json("POST", &path, json!({"content": {"type": "text", "text": "hello"}}))
        .await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{sent:?}");
    let path = format!("/v1/conversations?channel_id={}", other.id);
    assert_eq!(api.get(&path).await.problem(), "not_found");
}

#[tokio::test]
async fn pages_of_a_bound_key_go_through_all_its_channels() {
    let mut api = opened().await;
    let mut channels = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        channels.push(account(&api, "default", name).await.id);
    }
    let bound: BTreeSet<_> = channels[1..4].iter().copied().collect();
    api.key = made(&api, json!({"name": "n", "scopes": ["read"], "channel_ids": bound})).await;
    for list in ["/v1/channels", "/v1/contacts", "/v1/conversations", "/v1/referrals"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("{list}?limit=1{cursor}")).await;
            for row in page.body["data"].as_array().unwrap_or_else(|| panic!("{page:?}")) {
                seen.push(
                    row["channel_id"]
                        .as_str()
                        .or(row["id"].as_str())
                        .expect("a channel")
                        .to_owned(),
                );
            }
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let newest_first: Vec<String> = bound.iter().rev().map(ToString::to_string).collect();
        assert_eq!(seen, newest_first, "{list}");
    }
}

#[tokio::test]
async fn a_bound_key_has_no_scope_of_the_whole_workspace() {
    let api = opened().await;
    let channel = account(&api, "default", "mine").await.id;
    for (scopes, channels, pointer) in [
        (json!(["admin"]), json!([channel]), "/scopes"),
        (json!(["read", "connectors:write"]), json!([channel]), "/scopes"),
        (json!(["read", "events:write"]), json!([channel]), "/scopes"),
        (json!(["read"]), json!([]), "/channel_ids"),
        (
            json!(["read"]),
            json!(["chn_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f"]),
            "/channel_ids",
        ),
    ] {
        let key = json!({"name": "n", "scopes": scopes, "channel_ids": channels});
        let refused = api.json("POST", "/v1/keys", key.clone()).await;
        assert_eq!(refused.problem(), "invalid_request", "{key}");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{key}");
    }
    let listed = api.get("/v1/keys").await;
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(1), "{listed:?}");
    assert_eq!(listed.body["data"][0]["channel_ids"], Value::Null);
}

#[tokio::test]
async fn a_stream_of_a_bound_key_tells_of_its_channels_alone() {
    let api = opened().await;
    let (mine, other) = (
        account(&api, "default", "mine").await,
        account(&api, "default", "other").await,
    );
    let key = made(&api, json!({"name": "n", "scopes": ["read"], "channel_ids": [mine.id]})).await;
    let request = Request::get("/v1/events/stream?after=0").header("authorization", format!("Bearer {key}"));
    let stream = api.raw(request.body(Body::empty()).expect("a request")).await;
    let mut body = stream.into_body();
    let last = api
        .json(
            "PATCH",
            &format!("/v1/channels/{}", mine.id),
            json!({"name": "the last"}),
        )
        .await;
    assert_eq!(last.status, StatusCode::OK);
    let mut received = String::new();
    while !received.contains("the last") {
        let frame = body.frame().await.expect("the stream continues").expect("a frame");
        received.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
    }
    assert!(
        received.contains(&format!("{WORDS} mine")) && !received.contains(&other.id.to_string()),
        "{received}"
    );
    assert!(!received.contains("connector."), "events without a channel are hidden");
}

#[tokio::test]
async fn a_key_of_a_workspace_reaches_no_other() {
    let mut api = opened().await;
    let theirs = account(&api, "default", "other").await;
    let mut theirs = things(&api, &theirs).await;
    more_things(&api, &mut theirs).await;
    let workspace = api.json("POST", "/v1/workspaces", json!({"id": "acme"})).await;
    assert_eq!(workspace.status, StatusCode::CREATED, "{workspace:?}");
    let key = made(
        &api,
        json!({"name": "acme", "scopes": ["admin"], "workspace_id": "acme"}),
    )
    .await;
    let refused = [
        "not_found",
        "operator_only",
        "invalid_request",
        "invalid_parameter",
        "unsupported_media_type",
        "broadcast_not_supported",
    ];
    reaches_nothing(&api, &key, &theirs, &refused).await;
    api.key = key;
    let listed = api.get("/v1/workspaces").await;
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(1), "{listed:?}");
    assert_eq!(listed.body["data"][0]["id"], "acme");
}

#[tokio::test]
async fn connectors_belong_to_the_operator() {
    let mut api = opened().await;
    let operators = made(&api, json!({"name": "n", "scopes": ["read", "connectors:write"]})).await;
    api.json("POST", "/v1/workspaces", json!({"id": "acme"})).await;
    let scopes = ["admin"];
    let tenants = made(&api, json!({"name": "n", "scopes": scopes, "workspace_id": "acme"})).await;
    let version = "/v1/connectors/echo/versions/0.1.0";
    for (method, path) in [
        ("GET", "/v1/connectors/echo/transcripts".to_owned()),
        ("GET", "/v1/connectors/echo/timeline".to_owned()),
        ("PUT", "/v1/connectors/echo/grants".to_owned()),
        ("POST", format!("{version}/promote")),
        ("POST", format!("{version}/replay")),
        ("POST", format!("{version}/canary")),
        ("POST", format!("{version}/rollback")),
        ("POST", format!("{version}/retire")),
        ("GET", format!("{version}/trial")),
        ("POST", "/v1/workspaces".to_owned()),
        ("DELETE", "/v1/workspaces/default".to_owned()),
    ] {
        api.key.clone_from(&tenants);
        let refused = api.json(method, &path, json!({})).await;
        assert_eq!(refused.problem(), "operator_only", "{method} {path}");
        api.key.clone_from(&operators);
        let allowed = api.json(method, &path, json!({})).await;
        assert!(allowed.body["code"] != "operator_only", "{method} {path}: {allowed:?}");
    }
    api.key = tenants;
    for path in ["/v1/connectors", "/v1/connectors/echo", version] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn origins_on_this_machine_are_the_operators() {
    let mut api = opened().await;
    let app = |to: &str| json!({"connector": "echo", "origins": {"https://echo.example": to}});
    let put = api.json("PUT", "/v1/apps/local", app("http://127.0.0.1:9100")).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    api.json("POST", "/v1/workspaces", json!({"id": "acme"})).await;
    api.key = made(
        &api,
        json!({"name": "n", "scopes": ["connectors:write"], "workspace_id": "acme"}),
    )
    .await;
    for inside in ["http://127.0.0.1:9100", "http://localhost:9100", "http://[::1]:9100"] {
        let refused = api.json("PUT", "/v1/apps/acme", app(inside)).await;
        assert!(!refused.status.is_success(), "{inside}: {refused:?}");
    }
    let refused = api.json("PUT", "/v1/apps/acme", app("http://127.0.0.1:9100")).await;
    assert_eq!(refused.problem(), "operator_only");
    let put = api.json("PUT", "/v1/apps/acme", app("https://sandbox.example")).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
}

#[tokio::test]
async fn metrics_can_be_made_to_need_a_key() {
    let folder = TempDir::new().expect("a directory");
    let mut config = Config::for_testing(folder.path());
    config.metrics_require_key = true;
    let host = Host::open(config).await.expect("a host");
    let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the first key");
    let mut api = Api::over(folder, host, key.trim());
    let stranger = Request::get("/metrics").body(Body::empty()).expect("a request");
    assert_eq!(api.call(stranger).await.problem(), "key_unknown");
    let reader = made(&api, json!({"name": "prometheus", "scopes": ["read"]})).await;
    api.json("POST", "/v1/workspaces", json!({"id": "acme"})).await;
    let tenant = made(&api, json!({"name": "n", "scopes": ["read"], "workspace_id": "acme"})).await;
    api.key = reader;
    assert_eq!(api.get("/metrics").await.status, StatusCode::OK);
    api.key = tenant;
    assert_eq!(api.get("/metrics").await.problem(), "operator_only");
    for open in ["/healthz", "/readyz"] {
        let stranger = Request::get(open).body(Body::empty()).expect("a request");
        assert_ne!(api.call(stranger).await.status, StatusCode::UNAUTHORIZED, "{open}");
    }
    let open = Api::open().await;
    let stranger = Request::get("/metrics").body(Body::empty()).expect("a request");
    assert_eq!(
        open.call(stranger).await.status,
        StatusCode::OK,
        "none is needed by default"
    );
}

#[tokio::test]
async fn a_removed_workspace_opens_nothing() {
    let mut api = opened().await;
    let admin = api.key.clone();
    for (id, code) in [
        ("default", "workspace_taken"),
        ("A", "invalid_request"),
        ("", "invalid_request"),
    ] {
        assert_eq!(
            api.json("POST", "/v1/workspaces", json!({"id": id})).await.problem(),
            code,
            "{id:?}"
        );
    }
    let nobodys = json!({"name": "n", "scopes": ["read"], "workspace_id": "acme"});
    assert_eq!(api.json("POST", "/v1/keys", nobodys).await.problem(), "invalid_request");
    api.json("POST", "/v1/workspaces", json!({"id": "acme"})).await;
    let tenant = made(&api, json!({"name": "n", "scopes": ["admin"], "workspace_id": "acme"})).await;
    let channel = account(&api, "acme", "theirs").await;
    let in_use = api.json("DELETE", "/v1/workspaces/acme", json!({})).await;
    assert_eq!(
        (in_use.problem(), &in_use.body["channels"]),
        ("workspace_in_use", &json!(1))
    );
    let default = api.json("DELETE", "/v1/workspaces/default", json!({})).await;
    assert_eq!(default.problem(), "workspace_in_use");
    api.key.clone_from(&tenant);
    let deleted = api
        .json("DELETE", &format!("/v1/channels/{}", channel.id), json!({}))
        .await;
    assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
    api.key.clone_from(&admin);
    let removed = api.json("DELETE", "/v1/workspaces/acme", json!({})).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{removed:?}");
    assert_eq!(
        api.json("DELETE", "/v1/workspaces/acme", json!({})).await.problem(),
        "not_found"
    );
    assert_eq!(api.get("/v1/workspaces/acme").await.problem(), "not_found");
    api.key = tenant;
    assert_eq!(api.get("/v1/channels").await.problem(), "key_ended");
    while api
        .host
        .store()
        .clear_workspaces(api.host.now(), 200)
        .await
        .expect("a database")
    {}
    assert!(
        api.host
            .store()
            .channel(&channel.workspace_id, channel.id)
            .await
            .expect("a database")
            .is_none()
    );
}
