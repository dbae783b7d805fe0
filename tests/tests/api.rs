//! Every invalid request to the API gets a problem document that names the error and its place, never a 5xx.

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::Connected;

type Result = anyhow::Result<()>;

#[tokio::test]
async fn a_bad_body_is_a_problem_with_a_pointer_to_the_member() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let path = format!("/v1/conversations/{thread}/messages");
    let cases = [
        (json!({}), "/content"),
        (json!({"content": {"type": "text"}}), "/content"),
        (json!({"content": {"type": "text", "text": 7}}), "/content"),
        (json!({"content": {"type": "hologram"}}), "/content"),
        (
            json!({"content": {"type": "text", "text": "x"}, "reply_to": "not-an-id"}),
            "/reply_to",
        ),
        (json!({"content": {"type": "text", "text": "x"}, "color": "blue"}), ""),
    ];
    for (body, pointer) in cases {
        let answer = weir.stack.api.post(&path, body.clone()).await?;
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.status);
        answer.problem(answer.status)?;
        let found = answer.body["errors"][0]["pointer"].as_str().unwrap_or("none");
        assert!(found.starts_with(pointer), "{body}: {found} {:#}", answer.body);
    }
    Ok(())
}

#[tokio::test]
async fn invalid_requests_get_their_own_problem() -> Result {
    let weir = Connected::begin().await?;
    let api = &weir.stack.api;
    let send = async |method: Method, path: &str, kind: &str, body: Vec<u8>| {
        api.send(api.request(method, path).header("content-type", kind).body(body))
            .await
    };
    let json = "application/json";
    let cases = [
        (
            send(Method::POST, "/v1/connect-sessions", json, b"{".to_vec()).await?,
            400,
        ),
        (
            send(Method::POST, "/v1/connect-sessions", "text/plain", b"{}".to_vec()).await?,
            415,
        ),
        (
            send(Method::POST, "/v1/connect-sessions", json, vec![b' '; 300 << 10]).await?,
            413,
        ),
        (send(Method::GET, "/v1/nowhere", json, Vec::new()).await?, 404),
        (send(Method::DELETE, "/v1/connectors", json, Vec::new()).await?, 405),
        (
            send(Method::GET, "/v1/channels/chn_nonsense", json, Vec::new()).await?,
            404,
        ),
        (send(Method::GET, "/v1/channels?limit=0", json, Vec::new()).await?, 400),
        (
            send(Method::GET, "/v1/channels?limit=many", json, Vec::new()).await?,
            400,
        ),
        (
            send(
                Method::GET,
                "/v1/messages/msg_00000000000070008000000000000000",
                json,
                Vec::new(),
            )
            .await?,
            404,
        ),
    ];
    for (number, (answer, status)) in cases.into_iter().enumerate() {
        answer
            .problem(status)
            .map_err(|error| error.context(format!("case {number}")))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_opens_only_what_it_was_made_for() -> Result {
    let weir = Connected::begin().await?;
    let api = &weir.stack.api;
    let made = api
        .post("/v1/keys", json!({"name": "reader", "scopes": ["read"]}))
        .await?
        .expect(201)?;
    let reader = api.with_key(made["key"].as_str().unwrap_or_default());
    reader.get("/v1/channels").await?.expect(200)?;
    assert_eq!(
        reader
            .post("/v1/connect-sessions", json!({"app": "tiktok"}))
            .await?
            .status,
        403
    );
    assert_eq!(reader.get("/v1/keys").await?.status, 403);
    assert_eq!(api.with_key("weir_wrong").get("/v1/channels").await?.status, 401);
    // The list never shows the key itself.
    let listed = api.get("/v1/keys").await?.expect(200)?.to_string();
    assert!(!listed.contains(made["key"].as_str().unwrap_or("none")));
    let id = made["id"].as_str().unwrap_or_default();
    let revoked = api.delete(&format!("/v1/keys/{id}")).await?;
    assert!(revoked.status < 300, "{revoked:?}");
    assert_eq!(reader.get("/v1/channels").await?.status, 401);
    Ok(())
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() -> Result {
    let mut weir = Connected::begin().await?;
    for number in 0..5 {
        weir.stack
            .receives(&mut weir.events, &format!("message {number}"))
            .await?;
    }
    let first = weir.stack.api.get("/v1/events?limit=3").await?.expect(200)?;
    assert_eq!(
        (first["data"].as_array().map(Vec::len), first["has_more"].as_bool()),
        (Some(3), Some(true))
    );
    let conversation = &weir.events.seen().last().expect("five were received")["data"]["conversation_id"];
    let path = format!(
        "/v1/conversations/{}/messages",
        conversation.as_str().unwrap_or_default()
    );
    let mut texts = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = weir
            .stack
            .api
            .get(&format!("{path}?limit=2{cursor}"))
            .await?
            .expect(200)?;
        texts.extend(
            page["data"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|message| message["content"]["text"].clone()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    let wanted: Vec<Value> = (0..5).rev().map(|number| json!(format!("message {number}"))).collect();
    assert_eq!(texts, wanted);
    Ok(())
}

#[tokio::test]
async fn the_event_stream_goes_on_after_the_last_event_that_was_seen() -> Result {
    let mut weir = Connected::begin().await?;
    let first = weir.stack.receives(&mut weir.events, "before").await?;
    weir.stack.receives(&mut weir.events, "meanwhile").await?;
    let id = first["id"].as_str().unwrap_or_default();
    let mut resumed = weir.stack.api.listen_after(Some(id)).await?;
    let next = resumed.wait_for("message.received").await?;
    assert_eq!(next["data"]["content"]["text"], "meanwhile");
    Ok(())
}

#[tokio::test]
async fn a_component_that_is_none_is_refused_with_its_reason() -> Result {
    let weir = Connected::begin().await?;
    let api = &weir.stack.api;
    let install = async |bytes: Vec<u8>| {
        api.send(
            api.request(Method::POST, "/v1/connectors")
                .header("content-type", "application/wasm")
                .body(bytes),
        )
        .await
    };
    let mut truncated = weir.stack.binaries().connector("tiktok")?;
    truncated.truncate(truncated.len() / 2);
    let cases = [
        ("nothing", Vec::new()),
        ("a text", b"hello".to_vec()),
        ("a core module", b"\0asm\x01\0\0\0".to_vec()),
        ("an empty component", b"\0asm\x0d\0\x01\0".to_vec()),
        ("half a component", truncated),
    ];
    for (what, bytes) in cases {
        let answer = install(bytes).await?;
        assert_eq!(answer.status, 422, "{what}: {:#}", answer.body);
        assert!(
            answer.body["detail"].as_str().is_some_and(|detail| detail.len() > 20),
            "{what}: {:#}",
            answer.body
        );
    }
    assert_eq!(install(vec![0; (16 << 20) + 1]).await?.status, 413);
    // The channel is served as before.
    api.get("/v1/connectors/tiktok").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn the_description_of_the_api_is_openapi_and_names_every_event() -> Result {
    let weir = Connected::begin().await?;
    let document = weir.stack.api.get("/v1/openapi.json").await?.expect(200)?;
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    assert!(document["paths"]["/v1/conversations/{id}/messages"]["post"].is_object());
    for event in [
        "message.received",
        "message.uncertain",
        "channel.inbound_withheld",
        "endpoint.disabled",
    ] {
        assert!(document["webhooks"][event].is_object(), "{event}");
    }
    Ok(())
}

#[tokio::test]
async fn health_readiness_and_metrics_are_there_for_machines() -> Result {
    let mut weir = Connected::begin().await?;
    weir.conversation().await?;
    weir.stack.api.get("/healthz").await?.expect(200)?;
    weir.stack.api.get("/readyz").await?.expect(200)?;
    let metrics = weir.stack.api.get("/metrics").await?.expect(200)?;
    let text = metrics.as_str().unwrap_or_default();
    assert!(text.contains("weir_"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("# TYPE")), "{text}");
    Ok(())
}
