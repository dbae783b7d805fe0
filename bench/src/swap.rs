//! P8: a hundred changes of version under a steady load in both directions, compared with the same load without
//! changes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::load::{Customers, steadily, text};
use crate::report::{Row, percentile, whole};
use crate::rig::{self, Rig};

/// Webhooks and sends in a second.
const WEBHOOKS: usize = 200;
const SENDS: usize = 50;
/// How long each half lasts, and how often the version changes in the second.
const SECONDS: usize = 25;
const SWAPS: usize = 100;
/// Connections over which the conversations begin.
const CONNECTIONS: usize = 16;
/// People who write to Weir, and people who are answered: the platform allows ten answers to each.
const PEOPLE: usize = 200;
const ANSWERED: usize = 2 * SENDS * SECONDS / 10;
/// The versions that take turns: the second is the first with another number.
const VERSIONS: [&str; 2] = ["0.2.0", "0.1.0"];

/// The responses to one half of the load.
struct Seen {
    /// From a webhook's moment to its answer, in milliseconds.
    waits: Vec<f64>,
    /// Answers other than 200 to webhooks and other than 202 to sends.
    otherwise: usize,
    /// Those of them that are 500 or more.
    failed: usize,
}

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let rig = Rig::begin(true).await?;
    stage(&rig).await?;
    let conversations: Vec<String> = rig
        .everybody_writes(ANSWERED)
        .await?
        .iter()
        .map(|one| rig::text(one, "id"))
        .collect::<anyhow::Result<_>>()?;
    let first = rig.last_call().await?;
    let customers = Customers {
        path: "/hooks/tiktok",
        business: rig.business()?,
        people: PEOPLE,
    };
    crate::load::drive(rig.origin(), customers.write(0, PEOPLE), CONNECTIONS).await?;
    let after = last_event(&rig).await?;
    let peace = load(&rig, &customers, &conversations, 0).await?;
    let mut promotions = Vec::new();
    let changing = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(SECONDS as u64) / u32::try_from(SWAPS)?);
        for swap in 0..SWAPS {
            ticks.tick().await;
            let started = Instant::now();
            let path = format!("/v1/connectors/tiktok/versions/{}/promote", VERSIONS[swap % 2]);
            rig.stack.api.post(&path, json!({})).await?.expect(200)?;
            promotions.push(ms(started.elapsed()));
        }
        anyhow::Ok(())
    };
    let (changed, loaded) = tokio::join!(changing, load(&rig, &customers, &conversations, 1));
    changed?;
    let swaps = loaded?;
    let expected = WEBHOOKS * SECONDS * 2;
    let kept = kept(&rig, after, expected).await?;
    let sent = taken(&rig, first).await?;
    let answers = SENDS * SECONDS * 2;
    let doubled = kept.values().filter(|times| **times > 1).count() + sent.saturating_sub(answers);
    let lost = expected.saturating_sub(kept.len()) + answers.saturating_sub(sent);
    let (calm, changing) = (percentile(&peace.waits, 0.99), percentile(&swaps.waits, 0.99));
    rig.stack.stop().await?;
    Ok(Row::new("P8", "swap")
        .saw(format!("{SWAPS} swaps at {WEBHOOKS} webhooks/s and {SENDS} sends/s"))
        .saw(format!("a promotion {:.1} ms", percentile(&promotions, 0.5)))
        .saw(format!("p99 {calm:.1} ms in peace, {changing:.1} ms with swaps"))
        .saw(format!(
            "{} answers other than 200 and 202",
            whole((peace.otherwise + swaps.otherwise) as f64)
        ))
        .at_most("lost", lost as f64, 0.0)
        .at_most("doubled", doubled as f64, 0.0)
        .at_most("answers of 500 and more", (peace.failed + swaps.failed) as f64, 0.0)
        .at_most("p99 with swaps to p99 in peace", changing / calm, 1.25))
}

/// Stages the other version; it requests nothing that the first does not have.
async fn stage(rig: &Rig) -> anyhow::Result<()> {
    let api = &rig.stack.api;
    let component = rig.stack.binaries().connector("variants/tiktok-same")?;
    let request = api.request(Method::POST, "/v1/connectors");
    let request = request.header("content-type", "application/wasm").body(component);
    let staged = api.send(request).await?.expect(201)?;
    ensure!(
        staged["version"] == VERSIONS[0],
        "another version is staged: {}",
        staged["version"]
    );
    Ok(())
}

/// One half of the load: webhooks and sends, each at its moment, whether or not those before it were answered.
async fn load(rig: &Rig, customers: &Customers<'_>, conversations: &[String], half: usize) -> anyhow::Result<Seen> {
    let from = PEOPLE + half * WEBHOOKS * SECONDS;
    let webhooks = steadily(rig.origin(), WEBHOOKS, from..from + WEBHOOKS * SECONDS, |n| {
        customers.writes(n)
    });
    let (webhooks, sends) = tokio::join!(webhooks, send(rig, conversations, half));
    let (webhooks, sends) = (webhooks?, sends?);
    let statuses = || {
        let sends = sends.iter().map(|status| (*status, 202));
        sends.chain(webhooks.iter().map(|timed| (timed.status, 200)))
    };
    Ok(Seen {
        waits: webhooks.iter().map(|timed| ms(timed.waited)).collect(),
        otherwise: statuses().filter(|(status, wanted)| status != wanted).count(),
        failed: statuses().filter(|(status, _)| *status >= 500).count(),
    })
}

/// The sends of a half; what each was answered.
async fn send(rig: &Rig, conversations: &[String], half: usize) -> anyhow::Result<Vec<u16>> {
    let mut tasks: JoinSet<anyhow::Result<u16>> = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(SENDS)?);
    for n in half * SENDS * SECONDS..(half + 1) * SENDS * SECONDS {
        ticks.tick().await;
        let path = format!("/v1/conversations/{}/messages", conversations[n % conversations.len()]);
        let body = json!({ "content": { "type": "text", "text": answer(n) } });
        let api = rig.stack.api.clone();
        tasks.spawn(async move { Ok(api.post(&path, body).await?.status) });
    }
    tasks.join_all().await.into_iter().collect()
}

fn answer(n: usize) -> String {
    format!("Answer {n}.")
}

async fn last_event(rig: &Rig) -> anyhow::Result<u64> {
    let mut last = 0;
    loop {
        let page = rig
            .stack
            .api
            .get(&format!("/v1/events?limit=200&after={last}"))
            .await?
            .expect(200)?;
        let events = page["data"].as_array().cloned().unwrap_or_default();
        match events.last().and_then(|event| event["sequence"].as_u64()) {
            Some(sequence) => last = sequence,
            None => return Ok(last),
        }
    }
}

/// How often each of the webhooks' messages is in the database.
async fn kept(rig: &Rig, after: u64, count: usize) -> anyhow::Result<HashMap<String, usize>> {
    let mut times: HashMap<String, usize> = (PEOPLE..PEOPLE + count).map(|n| (text(n), 0)).collect();
    let mut last = after;
    loop {
        let path = format!("/v1/events?limit=200&types=message.received&after={last}");
        let page = rig.stack.api.get(&path).await?.expect(200)?;
        let events = page["data"].as_array().cloned().unwrap_or_default();
        let Some(sequence) = events.last().and_then(|event| event["sequence"].as_u64()) else {
            break;
        };
        last = sequence;
        for event in &events {
            let shown = event["data"]["content"]["text"].as_str().unwrap_or_default();
            if let Some(times) = times.get_mut(shown) {
                *times += 1;
            }
        }
    }
    times.retain(|_, times| *times > 0);
    Ok(times)
}

/// How many of our answers the platform took, once all must have come and a moment later, when one too many would have.
async fn taken(rig: &Rig, first: u64) -> anyhow::Result<usize> {
    let count = async || {
        let sends = rig.sends_after(first).await?;
        anyhow::Ok(sends.iter().filter(|send| send["code"] == 0).count())
    };
    weir_tests::until("every answer at the platform", async || {
        Ok((count().await? >= SENDS * SECONDS * 2).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    count().await
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
