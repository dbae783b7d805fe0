//! P5: from a webhook's first byte to its event at the operator's endpoint, at a steady pace.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::load::{Customers, TimedResponse, steadily, text};
use crate::report::{Row, percentile};
use crate::rig::Rig;

/// Webhooks in a second, and for how long.
const RATE: usize = 200;
const SECONDS: usize = 30;
/// Connections that take turns.
const CONNECTIONS: usize = 16;
/// People who write.
const PEOPLE: usize = 200;

/// When each message was reported, by its text.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let rig = Rig::begin(false).await?;
    let arrivals = Arrivals::default();
    let endpoint = listen(Arc::clone(&arrivals)).await?;
    let body = json!({"url": endpoint, "types": ["message.received"]});
    rig.stack.api.post("/v1/endpoints", body).await?.expect(201)?;
    let customers = Customers {
        path: "/hooks/tiktok",
        business: rig.business()?,
        people: PEOPLE,
    };
    // Conversations begin, connections open.
    crate::load::drive(rig.origin(), customers.write(0, PEOPLE), CONNECTIONS).await?;
    arrived(&arrivals, PEOPLE).await?;
    let numbers = PEOPLE..PEOPLE + RATE * SECONDS;
    let timed = steadily(rig.origin(), RATE, numbers, |n| customers.writes(n)).await?;
    let refused = timed.iter().find(|timed| timed.status != 200);
    ensure!(
        refused.is_none(),
        "a webhook was answered {:?}",
        refused.map(|timed| timed.status)
    );
    arrived(&arrivals, PEOPLE + RATE * SECONDS).await?;
    let waits: Vec<f64> = {
        let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |timed: &TimedResponse| Some(ms(arrivals.get(&text(timed.n))?.duration_since(timed.started)));
        timed.iter().filter_map(wait).collect()
    };
    ensure!(
        waits.len() == RATE * SECONDS,
        "{} of {} were reported",
        waits.len(),
        RATE * SECONDS
    );
    let fsync = fsync(rig.folder.path())?;
    let (p50, p99) = (percentile(&waits, 0.5), percentile(&waits, 0.99));
    rig.stack.stop().await?;
    Ok(Row::new("P5", "latency")
        .saw(format!("{RATE}/s for {SECONDS} s"))
        .saw(format!("p50 {p50:.1} ms, p99 {p99:.1} ms, one fsync {fsync:.1} ms"))
        .at_most("p50 beyond one fsync, ms", p50 - fsync, 10.0)
        .at_most("p99 beyond one fsync, ms", p99 - fsync, 50.0))
}

/// The operator's endpoint.
async fn listen(arrivals: Arrivals) -> anyhow::Result<String> {
    async fn on_event(State(arrivals): State<Arrivals>, Json(event): Json<Value>) {
        let now = Instant::now();
        if let Some(text) = event["data"]["content"]["text"].as_str() {
            let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            arrivals.entry(text.to_owned()).or_insert(now);
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/events", listener.local_addr()?);
    let router = Router::new().route("/events", post(on_event)).with_state(arrivals);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn arrived(arrivals: &Arrivals, count: usize) -> anyhow::Result<()> {
    weir_tests::until("every event at the endpoint", async || {
        let arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner).len();
        Ok((arrivals >= count).then_some(()))
    })
    .await
}

/// The time of one fsync of a page, in milliseconds: the median of a hundred.
fn fsync(folder: &Path) -> anyhow::Result<f64> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut took = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        file.rewind()?;
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        took.push(ms(started.elapsed()));
    }
    Ok(percentile(&took, 0.5))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
