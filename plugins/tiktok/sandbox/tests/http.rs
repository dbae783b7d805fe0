//! A real sandbox over real sockets: behavior that only HTTP can show.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tiktok_sandbox::clock::Timestamp;
use tiktok_sandbox::{Config, Sandbox, signature};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const APP: &str = "7000000000000000001";
const SECRET: &str = "example-app-secret";
const SCOPES: &str = "user.info.basic,message.list.read,message.list.send,message.list.manage";
const REDIRECT: &str = "http://127.0.0.1:8080/callback";

/// A sandbox, a client that calls it, and a receiver of its webhooks.
struct Stage {
    sandbox: Sandbox,
    client: Client,
    token: String,
    open_id: String,
    hooks: mpsc::UnboundedReceiver<(HeaderMap, Bytes)>,
    hook_status: Arc<AtomicU16>,
}

impl Stage {
    async fn up() -> Self {
        let config = Config {
            client_secret: SECRET.into(),
            ..Config::default()
        };
        let sandbox = Sandbox::start(config).await.unwrap();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let (hook_sender, hooks) = mpsc::unbounded_channel();
        let hook_status = Arc::new(AtomicU16::new(200));
        let state = (hook_sender, Arc::clone(&hook_status));
        let receiver = Router::new()
            .route(
                "/hook",
                post(
                    async |State((hook_sender, status)): State<(mpsc::UnboundedSender<_>, Arc<AtomicU16>)>,
                           headers: HeaderMap,
                           body: Bytes| {
                        hook_sender.send((headers, body)).unwrap();
                        StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap()
                    },
                ),
            )
            .with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let callback = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, receiver).await });
        let mut stage = Self {
            sandbox,
            client,
            token: String::new(),
            open_id: String::new(),
            hooks,
            hook_status,
        };
        let tokens = stage.connect().await;
        stage.token = tokens["access_token"].as_str().unwrap().into();
        stage.open_id = tokens["open_id"].as_str().unwrap().into();
        let subscribed = stage
            .api(
                "/business/webhook/update/",
                json!({"app_id": APP, "secret": SECRET, "event_type": "DIRECT_MESSAGE", "callback_url": callback}),
            )
            .await;
        assert_eq!(subscribed["code"], 0);
        stage
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.origin())
    }

    async fn consent(&self, decision: &str, granted: &str) -> Response {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_key", APP),
                ("redirect_uri", REDIRECT),
                ("state", "s 1"),
                ("scope", SCOPES),
                ("account", "acme_store"),
                ("granted", granted),
                ("decision", decision),
            ])
            .finish();
        self.client
            .post(self.url("/v2/auth/authorize/"))
            .body(form)
            .send()
            .await
            .unwrap()
    }

    async fn connect(&self) -> Value {
        let redirect = location(&self.consent("allow", "*").await);
        assert_eq!(value_of(&redirect, "state"), "s 1");
        let body = json!({
            "client_id": APP, "client_secret": SECRET, "grant_type": "authorization_code",
            "auth_code": value_of(&redirect, "code"), "redirect_uri": REDIRECT,
        });
        self.api("/tt_user/oauth2/token/", body).await["data"].clone()
    }

    async fn try_api(&self, path: &str, body: Value) -> reqwest::Result<Response> {
        self.client
            .post(self.url(&format!("/open_api/v1.3{path}")))
            .header("access-token", &self.token)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
    }

    async fn api(&self, path: &str, body: Value) -> Value {
        parse(self.try_api(path, body).await.unwrap()).await
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self
            .client
            .request(method, self.url(&format!("/control{path}")))
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        parse(answer).await
    }

    async fn write(&self, what: Value) -> Value {
        self.control(Method::POST, "/chats/acme_store/jane_doe/write", what)
            .await
    }

    async fn fault(&self, order: Value) {
        self.control(Method::POST, "/faults", order).await;
    }

    fn text_to(&self, conversation: &Value) -> Value {
        json!({"business_id": self.open_id, "recipient_type": "CONVERSATION", "recipient": conversation, "message_type": "TEXT", "text": {"body": "hello"}})
    }

    async fn send(&self, conversation: &Value) -> Value {
        self.api("/business/message/send/", self.text_to(conversation)).await
    }

    /// The next webhook: its headers, envelope and content.
    async fn hook(&mut self) -> (HeaderMap, Bytes, Value, Value) {
        let (headers, body) = tokio::time::timeout(Duration::from_secs(180), self.hooks.recv())
            .await
            .unwrap()
            .unwrap();
        let envelope: Value = serde_json::from_slice(&body).unwrap();
        let content = serde_json::from_str(envelope["content"].as_str().unwrap()).unwrap();
        (headers, body, envelope, content)
    }

    async fn sent_messages(&self) -> usize {
        let chat = self.control(Method::GET, "/chats/acme_store/jane_doe", json!({})).await;
        chat["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["direction"] == "outbound")
            .count()
    }

    async fn upload(&self, body: &str) -> Response {
        self.client
            .post(self.url("/open_api/v1.3/business/message/media/upload/"))
            .header("access-token", &self.token)
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body.replace('\n', "\r\n"))
            .send()
            .await
            .unwrap()
    }
}

async fn parse(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

fn location(answer: &Response) -> url::Url {
    assert_eq!(answer.status(), 302);
    answer.headers()["location"].to_str().unwrap().parse().unwrap()
}

fn value_of(url: &url::Url, name: &str) -> String {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_refusal_is_http_200_with_the_whole_envelope() {
    let stage = Stage::up().await;
    let answer = stage
        .try_api("/business/message/send/", json!({"business_id": stage.open_id}))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body = parse(answer).await;
    assert_eq!(body["code"], 40002);
    assert_eq!(body["message"], "Param message_type is required.");
    assert_eq!(body["data"], json!({}));
    assert_eq!(body["request_id"].as_str().unwrap().len(), 29);
}

#[tokio::test]
async fn a_path_without_its_slash_is_not_there() {
    let stage = Stage::up().await;
    for path in ["/business/message/send", "/tt_user/oauth2/token", "/no/such/path/"] {
        assert_eq!(stage.try_api(path, json!({})).await.unwrap().status(), 404, "{path}");
    }
    assert_eq!(
        stage
            .client
            .get(stage.url("/open_api/v1.3/business/get"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

#[tokio::test]
async fn a_plus_that_was_not_escaped_makes_the_conversation_unknown() {
    let stage = Stage::up().await;
    let chat = stage.write(json!({"type": "text", "text": "hi"})).await["conversation_id"].clone();
    let raw = chat.as_str().unwrap();
    let list = async |conversation: String| {
        let url = stage.url(&format!(
            "/open_api/v1.3/business/message/content/list/?business_id={}&conversation_id={conversation}",
            stage.open_id
        ));
        parse(
            stage
                .client
                .get(url)
                .header("access-token", &stage.token)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let escaped: String = url::form_urlencoded::byte_serialize(raw.as_bytes()).collect();
    assert_eq!(list(escaped).await["code"], 0);
    let refused = list(raw.to_owned()).await;
    assert_eq!(
        (refused["code"].clone(), refused["message"].clone()),
        (json!(40002), json!("Param conversation_id is invalid."))
    );
}

#[tokio::test]
async fn consent_page_grants_ticked_scopes() {
    let stage = Stage::up().await;
    let page = |scope: &str, redirect: &str| {
        stage.url(&format!(
            "/v2/auth/authorize?client_key={APP}&response_type=code&scope={scope}&redirect_uri={redirect}&state=%3Cb%3E&account=acme_store"
        ))
    };
    let shown = stage.client.get(page(SCOPES, REDIRECT)).send().await.unwrap();
    assert_eq!(shown.status(), 200);
    let html = shown.text().await.unwrap();
    assert!(html.contains("message.list.send") && html.contains(r#"value="acme_store" selected"#));
    assert!(html.contains("&lt;b&gt;") && !html.contains("<b>\""));
    for (scope, redirect) in [
        ("message.list.read,video.publish", REDIRECT),
        (SCOPES, "https://example.com/"),
    ] {
        assert_eq!(
            stage.client.get(page(scope, redirect)).send().await.unwrap().status(),
            400
        );
    }
    let denied = location(&stage.consent("deny", "*").await);
    assert_eq!(value_of(&denied, "error"), "access_denied");
    assert!(!value_of(&denied, "error_description").is_empty() && !value_of(&denied, "error_code").is_empty());
    assert_eq!(value_of(&denied, "state"), "s 1");
    let partial = stage.consent("allow", "message.list.read").await;
    let cookie = partial.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert!(!value_of(&location(&partial), "code").is_empty());
    // A person who granted all scopes before is redirected immediately, unless the app requires the page.
    let again = |query: &str| {
        let url = format!(
            "/v2/auth/authorize/?client_key={APP}&response_type=code&scope={SCOPES}&redirect_uri={REDIRECT}{query}"
        );
        stage.client.get(stage.url(&url)).header("cookie", &cookie).send()
    };
    assert!(!value_of(&location(&again("").await.unwrap()), "code").is_empty());
    assert_eq!(again("&disable_auto_auth=1").await.unwrap().status(), 200);
}

#[tokio::test]
async fn webhook_is_signed_and_retried() {
    let mut stage = Stage::up().await;
    stage.hook_status.store(500, Ordering::SeqCst);
    stage.write(json!({"type": "text", "text": "hi"})).await;
    let (headers, body, ..) = stage.hook().await;
    let signed_at = |headers: &HeaderMap, body: &[u8]| {
        let header = headers["tiktok-signature"].to_str().unwrap().to_owned();
        let seconds: i64 = header
            .strip_prefix("t=")
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(
            header,
            signature::sign(SECRET, Timestamp::from_ms(seconds * 1000), body)
        );
        seconds
    };
    let first = signed_at(&headers, &body);
    stage.hook_status.store(200, Ordering::SeqCst);
    stage
        .control(Method::POST, "/clock/advance", json!({"ms": 3_600_000}))
        .await;
    let (headers, again, ..) = stage.hook().await;
    assert_eq!(again, body);
    assert!(signed_at(&headers, &again) >= first + 3600);
}

#[tokio::test]
async fn an_early_echo_is_there_before_the_send_answers() {
    let mut stage = Stage::up().await;
    let chat = stage.write(json!({"type": "text", "text": "hi"})).await["conversation_id"].clone();
    stage.hook().await;
    stage
        .fault(json!({"on": "webhook", "fault": {"early_echo": true}}))
        .await;
    let answer = stage.send(&chat).await;
    let (_, body) = stage
        .hooks
        .try_recv()
        .expect("the echo was delivered before the response");
    let envelope: Value = serde_json::from_slice(&body).unwrap();
    let echo: Value = serde_json::from_str(envelope["content"].as_str().unwrap()).unwrap();
    assert_eq!(envelope["event"], "im_send_msg");
    assert_eq!(echo["message_id"], answer["data"]["message"]["message_id"]);
}

#[tokio::test]
async fn a_lost_answer_did_the_act_and_a_reset_did_not() {
    let stage = Stage::up().await;
    let chat = stage.write(json!({"type": "text", "text": "hi"})).await["conversation_id"].clone();
    stage.fault(json!({"on": "send", "fault": {"reset": true}})).await;
    assert!(
        stage
            .try_api("/business/message/send/", stage.text_to(&chat))
            .await
            .is_err()
    );
    assert_eq!(stage.sent_messages().await, 0);
    stage.fault(json!({"on": "send", "fault": {"lost": true}})).await;
    assert!(
        stage
            .try_api("/business/message/send/", stage.text_to(&chat))
            .await
            .is_err()
    );
    assert_eq!(stage.sent_messages().await, 1);
    assert_eq!(stage.send(&chat).await["code"], 0);
}

#[tokio::test]
async fn codes_statuses_pages_and_halves_come_as_ordered() {
    let stage = Stage::up().await;
    let chat = stage.write(json!({"type": "text", "text": "hi"})).await["conversation_id"].clone();
    let faults = [
        json!({"code": 51065, "message": "System error"}),
        json!({"http_status": 503}),
        json!({"html": true}),
        json!({"truncated": true}),
    ];
    for fault in faults {
        stage.fault(json!({"on": "send", "fault": fault})).await;
    }
    assert_eq!(stage.send(&chat).await["code"], 51065);
    let post = async || {
        stage
            .try_api("/business/message/send/", stage.text_to(&chat))
            .await
            .unwrap()
    };
    assert_eq!(post().await.status(), 503);
    assert!(post().await.text().await.unwrap().starts_with("<html>"));
    assert_eq!(stage.sent_messages().await, 0);
    assert!(serde_json::from_slice::<Value>(&post().await.bytes().await.unwrap()).is_err());
    assert_eq!(stage.sent_messages().await, 1);
    let calls = stage.control(Method::GET, "/calls?after=0", json!({})).await;
    let faults: Vec<&Value> = calls["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| &call["fault"])
        .filter(|fault| !fault.is_null())
        .collect();
    assert_eq!(faults, ["code 51065", "http 503", "html", "truncated"]);
    assert!(!calls.to_string().contains(&stage.token));
}

#[tokio::test]
async fn an_upload_without_filename_or_type_or_form_is_http_400() {
    let stage = Stage::up().await;
    let fields = format!(
        "--b\nContent-Disposition: form-data; name=\"business_id\"\n\n{}\n--b\nContent-Disposition: form-data; name=\"media_type\"\n\nIMAGE\n",
        stage.open_id
    );
    let file = |disposition: &str, kind: &str| {
        format!("{fields}--b\nContent-Disposition: form-data; name=\"file\"{disposition}\n{kind}\nGIF89a\n--b--\n")
    };
    let named = "; filename=\"a.png\"";
    for malformed in [
        file("", "Content-Type: image/png\n"),
        file(named, ""),
        fields.clone(),
        "not a form".to_owned(),
    ] {
        assert_eq!(stage.upload(&malformed).await.status(), 400, "{malformed}");
    }
    let gif = stage.upload(&file(named, "Content-Type: image/gif\n")).await;
    assert_eq!(gif.status(), 200);
    assert_eq!(parse(gif).await["code"], 40908);
}

#[tokio::test]
async fn a_received_image_is_downloaded_with_x_user_for_24_hours() {
    let stage = Stage::up().await;
    let written = stage.write(json!({"type": "image"})).await;
    let chat = stage
        .control(Method::GET, "/chats/acme_store/jane_doe", json!({}))
        .await;
    let body = json!({
        "business_id": stage.open_id, "conversation_id": written["conversation_id"], "message_id": written["message_id"],
        "media_id": chat["messages"][0]["media_id"], "media_type": "IMAGE",
    });
    let mut video = body.clone();
    video["media_type"] = "VIDEO".into();
    assert_eq!(
        stage.api("/business/message/media/download/", video).await["code"],
        40002
    );
    let answer = stage.api("/business/message/media/download/", body).await;
    let url = answer["data"]["download_url"].as_str().unwrap().to_owned();
    let fetch = async |token: &str| stage.client.get(&url).header("x-user", token).send().await.unwrap();
    assert_eq!(stage.client.get(&url).send().await.unwrap().status(), 403);
    assert_eq!(fetch("guess").await.status(), 403);
    let file = fetch(&stage.token).await;
    assert_eq!(file.headers()["content-type"], "image/jpeg");
    assert!(file.bytes().await.unwrap().starts_with(&[0xFF, 0xD8, 0xFF]));
    stage
        .control(Method::POST, "/clock/advance", json!({"ms": 24 * 3_600_000}))
        .await;
    let fresh = stage.connect().await;
    assert_eq!(fetch(fresh["access_token"].as_str().unwrap()).await.status(), 403);
}

#[tokio::test]
async fn a_revocation_in_the_app_ends_the_token_and_the_webhooks() {
    let mut stage = Stage::up().await;
    let chat = stage.write(json!({"type": "text", "text": "hi"})).await["conversation_id"].clone();
    stage.hook().await;
    stage
        .control(Method::POST, "/revoke", json!({"account": "acme_store"}))
        .await;
    assert_eq!(stage.send(&chat).await["code"], 40105);
    let written = stage.write(json!({"type": "text", "text": "anyone?"})).await;
    assert_eq!(written["webhooks"], 0);
}

#[tokio::test]
async fn a_load_writes_what_was_ordered_and_every_webhook_arrives() {
    let mut stage = Stage::up().await;
    let order = json!({"account": "acme_store", "people": 5, "per_second": 2000, "count": 60});
    stage.control(Method::POST, "/load", order).await;
    for _ in 0..60 {
        let (.., envelope, _) = stage.hook().await;
        assert_eq!(envelope["event"], "im_receive_msg");
    }
    let state = stage.control(Method::GET, "/load", json!({})).await;
    assert_eq!(state["load"]["written"], 60);
    assert!(stage.hooks.try_recv().is_err());
}

#[tokio::test]
async fn foreign_page_cannot_drive_sandbox() {
    let stage = Stage::up().await;
    let clock = |origin: String| {
        stage
            .client
            .get(stage.url("/control/clock"))
            .header("origin", origin)
            .send()
    };
    assert_eq!(clock("http://evil.example".into()).await.unwrap().status(), 403);
    assert_eq!(clock(stage.sandbox.origin()).await.unwrap().status(), 200);
    for path in ["/phone", "/phone/phone.js", "/phone/phone.css", "/phone/consent.css"] {
        let page = stage.client.get(stage.url(path)).send().await.unwrap();
        assert_eq!(page.status(), 200);
        let text = page.text().await.unwrap();
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"),
            "{path}"
        );
    }
    assert_eq!(location_of_root(&stage).await, "/phone");
}

async fn location_of_root(stage: &Stage) -> String {
    let answer = stage.client.get(stage.url("/")).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_taken_port_is_an_error_and_a_stopped_sandbox_frees_its_own() {
    let sandbox = Sandbox::start(Config::default()).await.unwrap();
    let listen = sandbox.origin().strip_prefix("http://").unwrap().parse().unwrap();
    let config = Config {
        listen,
        ..Config::default()
    };
    assert!(Sandbox::start(config.clone()).await.is_err());
    sandbox.shutdown().await;
    Sandbox::start(config).await.unwrap().shutdown().await;
    let open = Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::default()
    };
    assert!(Sandbox::start(open).await.is_err());
}
