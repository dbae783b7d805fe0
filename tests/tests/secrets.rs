//! No secret leaks into the database, the logs, the events, the errors or the metrics.

mod support;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::{HOUR_MS, Page, Site};

type Result = anyhow::Result<()>;

/// Tokens as the sandbox mints them: a mark, a dot, and 43 characters of base64.
const MARKS: [&[u8]; 3] = [b"act.", b"rft.", b"code."];
const TOKEN: usize = 43;

fn tokens_in(bytes: &[u8]) -> Vec<String> {
    let is_token = |at: usize, mark: &[u8]| {
        let rest = bytes.get(at + mark.len()..at + mark.len() + TOKEN);
        bytes[at..].starts_with(mark)
            && rest.is_some_and(|rest| {
                rest.iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            })
    };
    (0..bytes.len())
        .filter(|at| MARKS.iter().any(|mark| is_token(*at, mark)))
        .map(|at| String::from_utf8_lossy(&bytes[at..at + 12]).into_owned())
        .collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if !path.ends_with("sandbox.log") {
            // The sandbox is the platform: what it writes down is its own.
            found.push(path);
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_of_any_kind_is_found_where_it_does_not_belong() -> Result {
    const MASTER: &str = "5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0ffee5ec2e7c0ffee5ec2";
    const WRONG_KEY: &str = "weir_canarycanarycanarycanarycanarycanarycanary";
    let collector = Site::start(|_, _| Page::status(200)).await?;
    let mut weir = Connected::with(|options| {
        options.env.extend([
            // As loud as it goes: what is never logged is not logged at any level.
            ("WEIR_LOG".into(), "trace".into()),
            ("WEIR_MASTER_KEY".into(), MASTER.into()),
            ("WEIR_OTLP".into(), format!("http://{}", collector.host())),
        ]);
    })
    .await?;
    // Messages both ways, a dead token that is renewed, a no of the platform, a no of a rule.
    let thread = weir.conversation().await?;
    weir.say(&thread, "an answer").await?;
    for (code, text) in [(40105, "with a dead token"), (40064, "that the platform refuses")] {
        let fault = json!({"on": "send", "fault": {"code": code, "message": "Access token is incorrect."}});
        weir.stack.phone.order_fault(fault).await?;
        let queued = weir.stack.api.say(&thread, text).await?.expect(202)?;
        let of = |event: &Value| event["data"]["id"] == queued["id"];
        let kind = if code == 40105 {
            "message.sent"
        } else {
            "message.failed"
        };
        weir.events.wait_where(kind, of).await?;
    }
    weir.stack.api.say(&thread, "").await?.problem(422)?;
    weir.stack.time_passes(49 * HOUR_MS).await?;
    weir.stack.api.say(&thread, "too late").await?.problem(409)?;
    // A key, an endpoint, a rotation: each is shown once, or never.
    let api = weir.stack.api.clone();
    let key = api
        .post("/v1/keys", json!({"name": "n", "scopes": ["read"]}))
        .await?
        .expect(201)?;
    let endpoint = json!({"url": "https://hooks.example/x"});
    let endpoint = api.post("/v1/endpoints", endpoint).await?.expect(201)?;
    let rotated = json!({"secrets": {"client_secret": "rotated-canary-secret"}});
    api.post("/v1/apps/tiktok/secrets/rotate", rotated).await?.expect(200)?;
    let secrets = [
        support::SECRET.to_owned(),
        "rotated-canary-secret".to_owned(),
        MASTER.to_owned(),
        WRONG_KEY.to_owned(),
        api.key().to_owned(),
        text_of(&key["key"])?,
        text_of(&endpoint["secret"])?,
    ];
    // Strangers with keys, proofs and callbacks that are wrong, who put them where they do not belong.
    for path in [
        "/v1/channels",
        "/v1/channels?key=",
        "/oauth/callback?state=",
        "/hooks/tiktok?secret=",
    ] {
        let path = if path.ends_with('=') {
            format!("{path}{WRONG_KEY}")
        } else {
            path.to_owned()
        };
        let refused = api.with_key(WRONG_KEY).get(&path).await?;
        ensure!(refused.status >= 400, "{path}");
        ensure!(
            !refused.body.to_string().contains(WRONG_KEY),
            "{path}: {:#}",
            refused.body
        );
    }
    let channel = text_of(&weir.channel["id"])?;
    let mut answers = Vec::new();
    for path in [
        "/v1/apps".to_owned(),
        "/v1/apps/tiktok".to_owned(),
        "/v1/audit-log?limit=200".to_owned(),
        "/v1/channels".to_owned(),
        format!("/v1/channels/{channel}"),
        format!("/v1/channels/{channel}/diagnostics"),
        format!("/v1/channels/{channel}/features"),
        format!("/v1/conversations/{thread}/messages"),
        "/v1/connectors/tiktok".to_owned(),
        "/v1/deliveries".to_owned(),
        "/v1/endpoints".to_owned(),
        "/v1/events?limit=200".to_owned(),
        "/v1/keys".to_owned(),
        "/v1/refusals".to_owned(),
        "/v1/refusals/counts".to_owned(),
        "/metrics".to_owned(),
    ] {
        let answer = api.get(&path).await?;
        ensure!(answer.status == 200, "{path}: {:#}", answer.body);
        answers.push((path, answer.body.to_string().into_bytes()));
    }
    for message in weir.messages(&thread).await? {
        let path = format!("/v1/messages/{}/attempts", text_of(&message["id"])?);
        let body = api.get(&path).await?.body.to_string();
        answers.push((path, body.into_bytes()));
    }
    weir.stack.stop_weir().await?;
    let mut kept = Vec::new();
    files(weir.stack.data(), &mut kept)?;
    ensure!(
        kept.iter().any(|path| path.ends_with("weir.log")),
        "no log was found: {kept:?}"
    );
    for path in kept {
        answers.push((path.display().to_string(), std::fs::read(&path)?));
    }
    for spans in collector.requests() {
        answers.push(("a collector".to_owned(), spans.bytes));
    }
    for (place, bytes) in &answers {
        for secret in &secrets {
            let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            ensure!(!held, "{place} holds {secret}");
        }
        let tokens = tokens_in(bytes);
        ensure!(tokens.is_empty(), "{place} holds {tokens:?}");
    }
    // The search works: messages are found in the database, and the log is verbose.
    let holds = |end: &str, text: &[u8]| {
        answers
            .iter()
            .any(|(place, bytes)| place.ends_with(end) && bytes.windows(text.len()).any(|window| window == text))
    };
    ensure!(holds("weir.db", b"an answer") || holds("weir.db-wal", b"an answer"));
    ensure!(
        holds("weir.log", b"TRACE") || holds("weir.log", b"DEBUG"),
        "the log is not loud"
    );
    ensure!(holds("a collector", b"webhook") && holds("a collector", b"settle"));
    ensure!(tokens_in(b"x act.0123456789012345678901234567890123456789012 y").len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_customer_who_writes_a_secrets_name_gets_that_text() -> Result {
    let mut weir = Connected::begin().await?;
    for text in [
        "{access_token}",
        "{{client_secret}}",
        "$ACCESS_TOKEN",
        "header:Access-Token",
    ] {
        let received = weir.stack.receives(&mut weir.events, text).await?;
        let thread = received["data"]["conversation_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        weir.say(&thread, text).await?;
        assert_eq!(weir.on_phone().await?.last().map(String::as_str), Some(text));
    }
    Ok(())
}
