//! P10: the throughput of several hosts on one PostgreSQL when the platform's response time is the bottleneck, and
//! their total rate under the platform's limit.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_test_postgres::PostgresServer;
use weir_tests::{Nodes, Options, Stack};

use crate::pacing::{TimedSend, most_in_a_second};
use crate::report::Row;
use crate::rig::{ACCOUNT, Rig, folder, text};

/// The platform's response time for a send.
const ANSWER_MS: u64 = 400;
/// Sends of a node at once: with the platform's time a node sends forty in a second, so that two cores are enough for
/// four nodes.
const IN_FLIGHT: usize = 16;
const PEOPLE: usize = 160;
const MESSAGES: usize = 10;
const ALL: usize = PEOPLE * MESSAGES;
/// Messages that are sent under the platform's rate, and by how many nodes.
const PACED: usize = 300;
const PACED_NODES: usize = 3;
/// The platform's rate.
const RATE: f64 = 10.0;

/// The result of a number of nodes.
struct Sent {
    per_second: f64,
    /// Processor time of the server for each message, in milliseconds.
    server_ms: f64,
}

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let one = sent(1).await?;
    let two = sent(2).await?;
    let four = sent(4).await?;
    let (most, rate) = paced().await?;
    let line = |nodes: &str, sent: &Sent| {
        format!(
            "{nodes} {:.1}/s at {:.2} ms of the server's time a message",
            sent.per_second, sent.server_ms
        )
    };
    Ok(Row::new("P10", "nodes")
        .saw(line("one node", &one))
        .saw(line("two", &two))
        .saw(line("four", &four))
        .saw(format!("{PACED_NODES} nodes under the platform's rate {rate:.2}/s"))
        .at_least("two nodes", two.per_second / one.per_second, 1.7)
        .at_least("four nodes", four.per_second / one.per_second, 3.0)
        .at_most("server time of two", two.server_ms / one.server_ms, 1.10)
        .at_most("most in a sliding second", most as f64, RATE))
}

/// A rig with so many nodes on a new server.
async fn begin(free: bool, count: usize) -> anyhow::Result<(Rig, Nodes, PostgresServer)> {
    let server = PostgresServer::durable();
    let folder = folder()?;
    let mut options = Options::new(&folder.path().join("data"));
    options.env = vec![
        ("WEIR_LOG".to_owned(), "warn".to_owned()),
        ("WEIR_LIMITS_SENDS_IN_FLIGHT".to_owned(), IN_FLIGHT.to_string()),
    ];
    let stack = Stack::start_sandbox(options).await?;
    let mut nodes = Nodes::start(&stack, &server.url("weir"), count).await?;
    let rig = Rig::over(stack, folder, free).await?;
    nodes.join(&rig.stack).await?;
    Ok((rig, nodes, server))
}

async fn sent(count: usize) -> anyhow::Result<Sent> {
    let (rig, nodes, server) = begin(true, count).await?;
    let conversations = rig.everybody_writes(PEOPLE).await?;
    rig.stack.phone.set(json!({"webhooks": false})).await?;
    let slow = json!({"on": "send", "fault": {"delay_ms": ANSWER_MS}, "times": 2 * ALL});
    rig.stack.phone.order_fault(slow).await?;
    let (first, before) = (rig.last_call().await?, server.processor_ms()?);
    let started = rig.now_ms().await?;
    fill(&rig, &conversations, MESSAGES).await?;
    let sends = all_sent(&rig, first, ALL).await?;
    let last = sends.iter().filter_map(|send| send["time_ms"].as_i64()).max();
    let took = last.context("a send without a time")? - started;
    let server_ms = (server.processor_ms()? - before) / ALL as f64;
    nodes.stop().await?;
    rig.stack.stop().await?;
    Ok(Sent {
        per_second: ALL as f64 * 1_000.0 / took as f64,
        server_ms,
    })
}

/// The most sends in a second, and how many there were in each.
async fn paced() -> anyhow::Result<(usize, f64)> {
    let (rig, nodes, _server) = begin(false, PACED_NODES).await?;
    let conversations = rig.everybody_writes(PACED / MESSAGES).await?;
    rig.stack.phone.set(json!({"webhooks": false})).await?;
    let first = rig.last_call().await?;
    fill(&rig, &conversations, MESSAGES).await?;
    let sends = all_sent(&rig, first, PACED).await?;
    nodes.stop().await?;
    rig.stack.stop().await?;
    let timed: Vec<TimedSend> = sends.iter().map(TimedSend::read).collect::<anyhow::Result<_>>()?;
    let (Some(begin), Some(end)) = (timed.first(), timed.last()) else {
        anyhow::bail!("nothing was sent");
    };
    let rate = (timed.len() - 1) as f64 * 1_000.0 / (end.at - begin.at) as f64;
    Ok((most_in_a_second(&timed), rate))
}

/// Fills the queue, by a few callers at once.
async fn fill(rig: &Rig, conversations: &[Value], messages: usize) -> anyhow::Result<()> {
    const CALLERS: usize = 8;
    let ids: Vec<String> = conversations
        .iter()
        .map(|one| text(one, "id"))
        .collect::<anyhow::Result<_>>()?;
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let api = rig.stack.api.clone();
        let ids: Vec<String> = ids.iter().skip(caller).step_by(CALLERS).cloned().collect();
        tasks.spawn(async move {
            for n in 0..messages {
                for id in &ids {
                    api.say(id, &format!("Answer {n}")).await?.expect(202)?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn all_sent(rig: &Rig, first: u64, all: usize) -> anyhow::Result<Vec<Value>> {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let sends = rig.sends_after(first).await?;
        if sends.iter().filter(|send| send["code"] == 0).count() >= all {
            return Ok(sends);
        }
        ensure!(
            Instant::now() < end,
            "{} of {all} sends of {ACCOUNT} after 300 s",
            sends.len()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
