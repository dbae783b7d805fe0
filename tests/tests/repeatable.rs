//! The same conversation with the same seed, clock and network shows the same events every time.

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::Connected;
use weir_tests::{Options, Stack};

/// A Monday morning, for every run.
const START_MS: i64 = 1_772_445_600_000;

/// One run: what was told, with moments left out and ids replaced by the order in which they appear.
async fn run() -> anyhow::Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let options = Options {
        seed: 42,
        start_ms: Some(START_MS),
        ..Options::new(&folder.path().join("data"))
    };
    let stack = Stack::start(options).await?;
    stack.install("tiktok").await?;
    stack.put_app().await?;
    let channel = stack.connect("acme_store").await?;
    let mut weir = Connected::of(stack, channel, folder).await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "first").await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "send", "fault": {"code": 40100}}))
        .await?;
    weir.say(&thread, "second").await?;
    weir.stack.phone.does("read", json!({})).await?;
    weir.events.wait_for("message.read").await?;
    let now = weir.stack.phone.wait_hours(48).await?;
    weir.stack.clock_reaches(now).await?;
    weir.stack.hears(&mut weir.events, "back again").await?;
    let log = weir.stack.api.get("/v1/events?limit=200").await?.expect(200)?;
    let mut names = BTreeMap::new();
    Ok(log["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| plain(event, &mut names))
        .collect())
}

fn plain(value: &Value, names: &mut BTreeMap<String, usize>) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), plain(value, names)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| plain(item, names)).collect(),
        Value::String(text) if is_moment(text) => json!("moment"),
        Value::String(text) if is_id(text) => {
            let next = names.len();
            json!(format!("id {}", names.entry(text.clone()).or_insert(next)))
        }
        Value::String(text) if text.starts_with("http://127.0.0.1:") => json!("link"),
        other => other.clone(),
    }
}

fn is_moment(text: &str) -> bool {
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T'
}

fn is_id(text: &str) -> bool {
    let is_platforms = text.len() == 28 && text.ends_with('=');
    is_platforms
        || text.split_once('_').is_some_and(|(prefix, rest)| {
            prefix.len() <= 3 && rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

#[tokio::test]
async fn two_runs_tell_the_same() -> anyhow::Result<()> {
    let (first, second) = (run().await?, run().await?);
    assert!(first.len() > 8, "{first:#?}");
    assert_eq!(first, second);
    Ok(())
}
