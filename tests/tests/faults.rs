//! Failures of Weir's environment: the database file is locked, the disk is full, endpoints are slow or down, the clock
//! is set. Nothing is lost, nothing is duplicated, and each failure is reported clearly.

mod support;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::{Connected, text_of};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use weir_tests::{Answer, HOUR_MS, Reply, SteppingClock, Subscriber, until};

type Result = anyhow::Result<()>;

/// Posts a text under a key, as a caller that may have to come back would.
async fn post(weir: &Connected, thread: &str, text: &str) -> anyhow::Result<Answer> {
    let request = weir
        .stack
        .api
        .request(reqwest::Method::POST, &format!("/v1/conversations/{thread}/messages"))
        .header("Idempotency-Key", text.replace(' ', "-"))
        .json(&json!({"content": {"type": "text", "text": text}}));
    weir.stack.api.send(request).await
}

/// Whether this is the answer of a host that cannot write now: come back, and nothing happened.
fn asks_to_come_back(answer: &Answer) -> anyhow::Result<()> {
    assert_eq!(answer.problem(503)?, "store_unavailable");
    assert_eq!(answer.body["retryable"], true);
    assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
    Ok(())
}

/// How many events reported each text of the customers.
async fn times_received(weir: &Connected, text: &str) -> anyhow::Result<usize> {
    let log = weir
        .stack
        .api
        .get("/v1/events?limit=200&types=message.received")
        .await?
        .expect(200)?;
    let events = log["data"].as_array().cloned().unwrap_or_default();
    Ok(events
        .iter()
        .filter(|event| event["data"]["content"]["text"] == text)
        .count())
}

// ---- the database --------------------------------------------------------------------------------------------------

/// Another program that holds the lock of the database file until its input ends.
async fn lock(weir: &Connected) -> anyhow::Result<Child> {
    let script = "
import sqlite3, sys
record = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
record.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()
";
    let mut stranger = Command::new("python3")
        .args(["-c", script])
        .arg(weir.stack.data().join("weir.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut output = BufReader::new(stranger.stdout.take().context("no output")?).lines();
    assert_eq!(output.next_line().await?.as_deref(), Some("locked"));
    Ok(stranger)
}

#[tokio::test]
async fn locked_database_defers_without_loss() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    // One send is in flight meanwhile: its response arrives while the database cannot be written.
    let slow = json!({"on": "send", "fault": {"delay_ms": 300_000}});
    weir.stack.phone.order_fault(slow).await?;
    let in_flight = weir.stack.api.say(&thread, "in flight").await?.expect(202)?;
    let path = format!("/v1/messages/{}", text_of(&in_flight["id"])?);
    until("the send to begin", async || {
        let message = weir.stack.api.get(&path).await?.expect(200)?;
        Ok((message["status"] == "sending").then_some(()))
    })
    .await?;
    let stranger = lock(&weir).await?;
    asks_to_come_back(&post(&weir, &thread, "again and again").await?)?;
    // More requests at once than Weir processes: the excess is rejected, and none of it counts as stored.
    let mut bodies = Vec::new();
    for number in 0..200 {
        let message = format!("M{number:03}");
        bodies.push(weir.text_webhook("C+1==", &message, &format!("knock {number}")).await?);
    }
    let knocks = bodies.iter().map(|body| weir.webhook(body, 0));
    for status in futures_util::future::try_join_all(knocks).await? {
        assert_eq!(status, 503);
    }
    // Stored data can be read meanwhile.
    weir.stack.api.conversation(&thread).await?;
    weir.stack.phone.forget_faults().await?;
    until("the platform to have the message", async || {
        Ok((!weir.on_phone().await?.is_empty()).then_some(()))
    })
    .await?;
    drop(stranger);
    let accepted = until("the database to recover", async || {
        let answer = post(&weir, &thread, "again and again").await?;
        Ok((answer.status == 202).then_some(answer))
    })
    .await?;
    weir.event_of("message.sent", &accepted.body["id"]).await?;
    assert_eq!(weir.on_phone().await?, ["in flight", "again and again"]);
    let message = weir.stack.api.get(&path).await?.expect(200)?;
    assert_eq!(message["status"], "sent");
    assert_eq!(times_received(&weir, "knock 7").await?, 0);
    assert_eq!(weir.webhook(&bodies[7], 0).await?, 200);
    assert_eq!(weir.webhook(&bodies[7], 0).await?, 200);
    assert_eq!(times_received(&weir, "knock 7").await?, 1);
    Ok(())
}

/// Lets no file of a process be written beyond so many bytes, as a full disk would; none lifts it.
async fn allow_file_bytes(process: u32, bytes: Option<u64>) -> anyhow::Result<()> {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let status = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--fsize={limit}:")])
        .status()
        .await?;
    ensure!(status.success(), "prlimit ended with {status}");
    Ok(())
}

#[tokio::test]
async fn full_disk_defers_and_recovers() -> Result {
    // A write beyond the limit is then refused, as on a full disk, and does not end the process.
    let through = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let mut weir = Connected::with(|options| options.weir_through = through.map(str::to_owned).to_vec()).await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "before").await?;
    let process = weir
        .stack
        .weir
        .as_ref()
        .and_then(weir_tests::Program::id)
        .context("no process")?;
    allow_file_bytes(process, Some(0)).await?;
    asks_to_come_back(&post(&weir, &thread, "meanwhile").await?)?;
    let body = weir.text_webhook("C+1==", "M1", "knock").await?;
    assert_eq!(weir.webhook(&body, 0).await?, 503);
    // The sandbox's own webhook waits at the sandbox.
    weir.stack.phone.writes("Are you there?").await?;
    assert_eq!(times_received(&weir, "knock").await?, 0);
    allow_file_bytes(process, None).await?;
    let accepted = until("the database to recover", async || {
        let answer = post(&weir, &thread, "meanwhile").await?;
        Ok((answer.status == 202).then_some(answer))
    })
    .await?;
    weir.event_of("message.sent", &accepted.body["id"]).await?;
    weir.stack.phone.order("webhooks/retry", json!({})).await?;
    until("the customer's message", async || {
        Ok((times_received(&weir, "Are you there?").await? == 1).then_some(()))
    })
    .await?;
    assert_eq!(weir.webhook(&body, 0).await?, 200);
    assert_eq!(times_received(&weir, "knock").await?, 1);
    assert_eq!(weir.on_phone().await?, ["before", "meanwhile"]);
    // All of it is still there for the next start.
    weir.stack.kill_weir().await?;
    weir.stack.start_weir().await?;
    assert_eq!(times_received(&weir, "knock").await?, 1);
    Ok(())
}

// ---- endpoints -----------------------------------------------------------------------------------------------------

/// The texts of the messages whose events an endpoint received, in order.
fn texts(subscriber: &Subscriber) -> anyhow::Result<Vec<String>> {
    let texts = subscriber.delivered().into_iter().map(|delivered| {
        let event: Value = serde_json::from_str(&delivered.body)?;
        text_of(&event["data"]["content"]["text"])
    });
    texts.collect()
}

#[tokio::test]
async fn dead_endpoints_delay_no_others() -> Result {
    let mut weir = Connected::with_endpoints().await?;
    let silent = Subscriber::start(|_, _| Reply::Silence).await?;
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let dead =
        Subscriber::start(move |_, _| Reply::Status(if is_mended.load(Ordering::SeqCst) { 200 } else { 500 })).await?;
    let good = Subscriber::answering(vec![200]).await?;
    let mut made = Vec::new();
    for url in [silent.url(), dead.url(), good.url()] {
        let endpoint = json!({"url": url, "types": ["message.received"]});
        made.push(weir.stack.api.post("/v1/endpoints", endpoint).await?.expect(201)?);
    }
    weir.conversation().await?;
    let mut arrived = vec!["Hello!".to_owned()];
    // Six days with one message each.
    for day in 1..=6 {
        weir.stack.time_passes(24 * HOUR_MS).await?;
        let text = format!("day {day}");
        weir.stack.receives(&mut weir.events, &text).await?;
        arrived.push(text);
        until("the good endpoint to have it", async || {
            Ok((texts(&good)? == arrived).then_some(()))
        })
        .await?;
    }
    let about = async |kind: &str| -> anyhow::Result<Vec<Value>> {
        let log = weir
            .stack
            .api
            .get(&format!("/v1/events?types={kind}"))
            .await?
            .expect(200)?;
        let events = log["data"].as_array().cloned().unwrap_or_default();
        Ok(events
            .into_iter()
            .filter(|event| event["data"]["id"] == made[1]["id"])
            .collect())
    };
    let disabled = until("the dead endpoint to be switched off", async || {
        Ok(about("endpoint.disabled").await?.pop())
    })
    .await?;
    assert!(disabled["data"]["disabled_reason"].is_string());
    assert_eq!(about("endpoint.failing").await?.len(), 1, "warned once before");
    // Events that occur while it is off stay in the log.
    weir.stack.receives(&mut weir.events, "while it was off").await?;
    arrived.push("while it was off".to_owned());
    mended.store(true, Ordering::SeqCst);
    let before = dead.delivered().len();
    let path = format!("/v1/endpoints/{}", text_of(&made[1]["id"])?);
    let since = json!({"since": made[1]["created_at"]});
    let recovered = weir
        .stack
        .api
        .post(&format!("{path}/recover"), since)
        .await?
        .expect(202)?;
    assert!(
        recovered["recovered"].as_u64().is_some_and(|count| count > 0),
        "{recovered}"
    );
    // The missed events are requested before the endpoint is enabled, so that all arrive in order.
    weir.stack
        .api
        .patch(&path, json!({"enabled": true}))
        .await?
        .expect(200)?;
    until("the repaired endpoint to have everything", async || {
        let came: Vec<String> = texts(&dead)?.split_off(before);
        Ok((came == arrived).then_some(()))
    })
    .await?;
    let log = weir
        .stack
        .api
        .get(&format!("/v1/deliveries?endpoint_id={}", text_of(&made[1]["id"])?))
        .await?
        .expect(200)?;
    let oldest = log["data"]
        .as_array()
        .and_then(|rows| rows.last())
        .context("no delivery")?;
    let whole = weir
        .stack
        .api
        .get(&format!("/v1/deliveries/{}", text_of(&oldest["id"])?))
        .await?
        .expect(200)?;
    let tries = whole["attempts"].as_array().context("no tries")?;
    assert!(tries.len() > 2, "{whole:#}");
    assert_eq!(
        (&tries[0]["status"], &whole["status"]),
        (&json!(500), &json!("delivered"))
    );
    Ok(())
}

// ---- the clock -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn clock_steps_lose_and_duplicate_nothing() -> Result {
    let clock = SteppingClock::start().await?;
    let url = clock.url().to_owned();
    let mut weir = Connected::with(|options| options.env.push(("WEIR_CLOCK".into(), url))).await?;
    let thread = weir.conversation().await?;
    let mut texts: Vec<String> = Vec::new();
    let mut last = Value::Null;
    // Steps shorter than the allowed age of a webhook, so that all webhooks stay valid; and one step longer than a
    // lease with a send in flight, which must not be treated as lost and sent again.
    for (round, to) in [-120_000, 120_000, 0, 200_000].into_iter().enumerate() {
        let slow = json!({"on": "send", "fault": {"delay_ms": 300_000}});
        weir.stack.phone.order_fault(slow).await?;
        for number in 0..2 {
            let text = format!("answer {round}.{number}");
            last = weir.stack.api.say(&thread, &text).await?.expect(202)?;
            texts.push(text);
        }
        weir.stack.phone.faults_struck().await?;
        clock.set(&weir.stack.api, to).await?;
        weir.stack.phone.forget_faults().await?;
        let question = format!("question {round}");
        weir.stack.receives(&mut weir.events, &question).await?;
        assert_eq!(times_received(&weir, &question).await?, 1);
    }
    // And back by minutes: what waits does not wait for the old time.
    clock.set(&weir.stack.api, -120_000).await?;
    let path = format!("/v1/messages/{}", text_of(&last["id"])?);
    until("the last answer", async || {
        Ok((weir.stack.api.get(&path).await?.expect(200)?["status"] == "sent").then_some(()))
    })
    .await?;
    assert_eq!(weir.on_phone().await?, texts);
    Ok(())
}

// ---- the ledger ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn ledger_shows_requests_without_secrets() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let sent = weir.send_throttled(&thread, "second try").await?;
    let tries = weir.tries(&sent).await?;
    assert_eq!(tries.len(), 2, "{tries:#?}");
    let outcomes: Vec<&Value> = tries.iter().map(|tried| &tried["outcome"]).collect();
    assert_eq!(outcomes, ["retry", "sent"]);
    assert_eq!(tries[0]["error"]["platform"]["code"], "40100");
    assert_eq!(tries[1]["error"], Value::Null);
    for tried in tries {
        assert!(tried["ended_at"].as_str() >= tried["started_at"].as_str(), "{tried:#}");
        let requests = tried["requests"].as_array().context("no requests")?;
        assert_eq!(requests.len(), 1, "{tried:#}");
        assert_eq!(
            (&requests[0]["status"], &requests[0]["method"]),
            (&json!(200), &json!("POST"))
        );
        assert!(requests[0]["at"].is_string() && requests[0]["elapsed_ms"].is_u64());
        let members: Vec<&str> = requests[0]
            .as_object()
            .context("no object")?
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            ["at", "elapsed_ms", "error", "method", "route", "status", "url"]
        );
        assert!(requests[0]["url"].as_str().is_some_and(|url| !url.contains('?')));
    }
    // Throttling used up no attempt: all attempts are left.
    assert_eq!(weir.on_phone().await?, ["second try"]);
    Ok(())
}
