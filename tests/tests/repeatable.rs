//! The same conversation with the same seed, a clock controlled by the test and the sandbox as network shows the same
//! events at the same moments every time.

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::Connected;
use weir_tests::HOUR_MS;

/// A Monday morning, for every run.
const START_MS: i64 = 1_772_445_600_000;

/// One run: its events, with times to the millisecond. Ids are replaced by the order in which they appear: they start
/// with a timestamp, and end in randomness that must not be predictable.
async fn run() -> anyhow::Result<Vec<Value>> {
    let mut weir = Connected::with(|options| {
        options.seed = 42;
        options.start_ms = Some(START_MS);
        options.stopped = true;
    })
    .await?;
    let thread = weir.conversation().await?;
    weir.stack.time_passes(1_000).await?;
    weir.say(&thread, "first").await?;
    let throttled = json!({"on": "send", "fault": {"code": 40100}});
    weir.stack.phone.order_fault(throttled).await?;
    let queued = weir.stack.api.say(&thread, "second").await?.expect(202)?;
    // Refused once; the second attempt is due within the longest first delay.
    weir_tests::until("the first try", async || {
        Ok((weir.stack.phone.calls("send").await?.len() == 2).then_some(()))
    })
    .await?;
    weir.stack.time_passes(2_000).await?;
    weir.event_of("message.sent", &queued["id"]).await?;
    weir.stack.phone.does("read", json!({})).await?;
    weir.events.wait_for("message.read").await?;
    weir.events.wait_for("message.read").await?;
    weir.stack.time_passes(48 * HOUR_MS).await?;
    weir.stack.receives(&mut weir.events, "back again").await?;
    let log = weir.stack.api.get("/v1/events?limit=200").await?.expect(200)?;
    let mut names = BTreeMap::new();
    let events = log["data"].as_array().into_iter().flatten();
    Ok(events.map(|event| plain(event, &mut names)).collect())
}

fn plain(value: &Value, names: &mut BTreeMap<String, usize>) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), plain(value, names)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| plain(item, names)).collect(),
        Value::String(text) if is_id(text) => {
            let next = names.len();
            json!(format!("id {}", names.entry(text.clone()).or_insert(next)))
        }
        Value::String(text) if text.starts_with("http://127.0.0.1:") => json!("link"),
        other => other.clone(),
    }
}

fn is_id(text: &str) -> bool {
    let is_platforms = text.len() == 28 && text.ends_with('=');
    is_platforms
        || text.split_once('_').is_some_and(|(prefix, rest)| {
            prefix.len() <= 3 && rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

#[tokio::test]
async fn two_runs_are_identical() -> anyhow::Result<()> {
    let (first, second) = (run().await?, run().await?);
    assert!(first.len() > 8, "{first:#?}");
    assert_eq!(first, second);
    Ok(())
}
