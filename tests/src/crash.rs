//! Repeated power failures: puts load on the real programs, ends Weir with `SIGKILL` at random moments, restarts it,
//! and compares three logs: the platform's, Weir's and the endpoint's. With several nodes it ends or stops one of them,
//! or ends the database server.
//!
//! The seed determines the actions, but not their timing on the machine: a seed repeats the plan, not the run.

mod reading;
mod run_ledger;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use fastrand::Rng;
use reading::{id_of, rows, text};
use run_ledger::{LoggedEvent, Posted, RunLedger};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use weir_test_postgres::PostgresServer;

use crate::{Api, Nodes, Options, Phone, Reply, Stack, Subscriber};

/// Customers who write; each conversation carries ten answers to each of their messages.
const PEOPLE: usize = 12;
/// The longest life of Weir in a round, in milliseconds, and the shortest.
const LIFE_MS: std::ops::Range<u64> = 100..1_500;
/// Rounds between two settlements, so that unfinished work of one crash is still there at the next.
const SETTLE_EVERY: u32 = 5;
/// A settlement ends after so many steps of the virtual clock without a change, or after so many in total; and the
/// length of a step: three are longer than a lease (90 s) and than the delay before an uncertain message is searched
/// for (120 s).
const QUIET_STEPS: u32 = 40;
const STEPS: u32 = 400;
const STEP_MS: u64 = 60_000;
/// A step ends after so many polls in a row with the same result. It is counted in polls, not seconds: each queries all
/// programs, so it takes longer on a slow machine.
const SAME_LOOKS: u32 = 20;
/// The endpoint refuses one of so many deliveries.
const REFUSED: usize = 23;

/// The codes of what a rule refuses of this load: its conversations run out of answers, and their windows close.
const RULES: [&str; 2] = ["message_budget_exhausted", "reply_window_closed"];

/// How long a node is stopped, in milliseconds: longer than the other nodes wait before they consider it dead.
const FROZEN_MS: u64 = 15_000;

/// The plan of a run.
#[derive(Debug)]
pub struct Plan {
    /// How often Weir is killed.
    pub rounds: u32,
    /// The seed of every random choice.
    pub seed: u64,
    /// Several nodes instead of one Weir with its own database.
    pub nodes: Option<NodesPlan>,
}

/// Several nodes on a server of their own.
#[derive(Debug)]
pub struct NodesPlan {
    /// How many.
    pub count: usize,
    /// The server whose database `weir` they use. Of fifteen rounds two stop a node for a while, three end the server,
    /// and ten end a node.
    pub server: PostgresServer,
}

/// The failure of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// Weir is killed.
    Weir,
    /// A node is killed.
    Node(usize),
    /// A node is stopped for a while.
    Freeze(usize),
    /// The server is killed.
    Server,
}

/// The results of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// The seed of the plan.
    pub seed: u64,
    /// Kills so far.
    pub rounds: u32,
    /// Of them, those of the database server.
    pub servers: u32,
    /// Of them, nodes that were stopped for a while.
    pub frozen: u32,
    /// The number of kills at the last comparison, when the figures below were taken.
    pub compared_after: u32,
    /// Messages that customers wrote; the webhook of each was eventually answered with 200.
    pub written: usize,
    /// Messages that Weir accepted.
    pub accepted: usize,
    /// Messages that Weir refused by a rule.
    pub refused: usize,
    /// Requests whose answer the kill cut off; each was repeated with its key.
    pub cut_off: usize,
    /// Messages that were being sent when Weir was killed.
    pub in_flight: usize,
    /// Times a message became uncertain.
    pub uncertain: usize,
    /// Messages that were sent again after their absence was proven.
    #[serde(rename = "sent_again")]
    pub resent: usize,
    /// Messages that failed.
    pub failed: usize,
    /// Events in the log that the endpoint wants.
    pub events: usize,
    /// Deliveries of them.
    #[serde(rename = "handed")]
    pub delivered: usize,
    /// The longest start after a kill, in milliseconds.
    pub longest_start_ms: u128,
    /// The inconsistencies; empty if every promise was kept.
    pub breaches: Vec<String>,
}

/// The outcome of one request to send.
enum Post {
    Accepted(String),
    Refused,
    CutOff,
}

/// A run under way.
#[derive(Debug)]
pub struct Crash {
    stack: Stack,
    nodes: Option<Nodes>,
    subscriber: Subscriber,
    plan: Plan,
    rng: Rng,
    people: Vec<String>,
    conversations: Vec<String>,
    run_ledger: RunLedger,
    figures: Figures,
    /// Messages that were being sent at a kill.
    in_flight: BTreeSet<String>,
    /// The positions up to which both logs were read.
    log_read: i64,
    webhooks_read: u64,
}

impl Crash {
    /// Starts the programs in `data`, connects the account, and has every customer write once.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn begin(plan: Plan, data: &Path) -> anyhow::Result<Self> {
        let mut options = Options::new(data);
        options.seed = plan.seed;
        options.env.push(("WEIR_DELIVERY_ALLOW_PRIVATE".into(), "true".into()));
        let (stack, mut nodes) = match &plan.nodes {
            None => (Stack::start(options).await?, None),
            Some(NodesPlan { count, server }) => {
                let stack = Stack::start_sandbox(options).await?;
                let nodes = Nodes::start(&stack, &server.url("weir"), *count).await?;
                (stack, Some(nodes))
            }
        };
        stack.install("tiktok").await?;
        stack.put_app().await?;
        stack.connect("acme_store").await?;
        if let Some(nodes) = &mut nodes {
            nodes.join(&stack).await?;
        }
        let subscriber =
            Subscriber::start(|number, _| Reply::Status(if number % REFUSED == REFUSED - 1 { 503 } else { 200 }))
                .await?;
        let end = stack.api.get("/v1/events?limit=200").await?.expect(200)?;
        let log_read = end["data"].as_array().and_then(|events| events.last());
        let log_read = log_read.and_then(|event| event["sequence"].as_i64()).unwrap_or(0);
        let endpoint = json!({"url": subscriber.url(), "ordered": true});
        stack.api.post("/v1/endpoints", endpoint).await?.expect(201)?;
        let mut crash = Self {
            stack,
            nodes,
            subscriber,
            rng: Rng::with_seed(plan.seed),
            people: (0..PEOPLE).map(|number| format!("customer_{number:02}")).collect(),
            conversations: Vec::new(),
            run_ledger: RunLedger::default(),
            figures: Figures {
                seed: plan.seed,
                ..Figures::default()
            },
            plan,
            in_flight: BTreeSet::new(),
            log_read,
            webhooks_read: 0,
        };
        for person in &crash.people {
            let person_order = json!({"username": person, "country": "ID"});
            crash.stack.phone.order("people", person_order).await?;
            let written = crash.stack.phone.of(person).writes("Hello!").await?;
            crash.run_ledger.written.insert(id_of(&written["message_id"])?);
        }
        crash.conversations = crate::until("every conversation", async || {
            let page = crash.stack.api.get("/v1/conversations?limit=200").await?.expect(200)?;
            let ids: Vec<String> = rows(&page).iter().filter_map(|row| text(&row["id"])).collect();
            Ok((ids.len() == PEOPLE).then_some(ids))
        })
        .await?;
        Ok(crash)
    }

    /// Whether there are rounds left.
    pub fn has_more(&self) -> bool {
        self.figures.rounds < self.plan.rounds
    }

    /// The results so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// One run of Weir under load, its end by `SIGKILL`, and its restart. Every few rounds everything is settled and
    /// the logs are compared.
    ///
    /// # Errors
    /// A program fails in another way than by breaking a promise; broken promises are in the figures.
    pub async fn round(&mut self) -> anyhow::Result<()> {
        self.figures.rounds += 1;
        let round = self.figures.rounds;
        self.order_fault().await?;
        let (mut posts, mut writes) = (JoinSet::new(), JoinSet::new());
        let end = tokio::time::Instant::now() + Duration::from_millis(self.rng.u64(LIFE_MS));
        let mut number = 0;
        while tokio::time::Instant::now() < end {
            number += 1;
            if self.rng.bool() {
                self.write(&mut writes, format!("question {round}.{number}"));
            } else {
                let conversation = self.conversations[self.rng.usize(..PEOPLE)].clone();
                let (api, text) = (self.stack.api.clone(), format!("answer {round}.{number}"));
                posts.spawn(async move {
                    let post = post(&api, &conversation, &text).await;
                    (conversation, text, post)
                });
            }
            let pause = Duration::from_millis(self.rng.u64(10..80));
            tokio::time::sleep_until(end.min(tokio::time::Instant::now() + pause)).await;
        }
        let blow = self.blow().await?;
        // Customers do not wait for Weir.
        for _ in 0..self.rng.u32(..3) {
            number += 1;
            self.write(&mut writes, format!("question {round}.{number}"));
        }
        while let Some(written) = writes.join_next().await {
            self.run_ledger.written.insert(written??);
        }
        self.recover(blow).await?;
        self.stack.phone.order("webhooks/retry", json!({})).await?;
        while let Some(posted) = posts.join_next().await {
            let (conversation, text, mut posted) = posted?;
            if matches!(posted, Post::CutOff) {
                self.figures.cut_off += 1;
                let api = &self.stack.api;
                // The request of a node that died stays in progress until the other nodes detect its death.
                posted = crate::until(&format!("an answer to {text:?}"), async || {
                    let posted = post(api, &conversation, &text).await;
                    Ok((!matches!(posted, Post::CutOff)).then_some(posted))
                })
                .await?;
            }
            match posted {
                Post::Accepted(id) => {
                    let accepted = Posted {
                        id,
                        ..Posted::default()
                    };
                    self.run_ledger.posted.insert(text, accepted);
                }
                Post::Refused => self.figures.refused += 1,
                Post::CutOff => anyhow::bail!("Weir does not answer {text:?}"),
            }
        }
        self.read_messages().await?;
        let in_flight = self
            .run_ledger
            .posted
            .values()
            .filter(|posted| posted.status == "sending");
        self.in_flight.extend(in_flight.map(|posted| posted.id.clone()));
        self.figures.in_flight = self.in_flight.len();
        if round.is_multiple_of(SETTLE_EVERY) || !self.has_more() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Stops the programs, and returns the results.
    ///
    /// # Errors
    /// A program does not end well.
    pub async fn end(self) -> anyhow::Result<Figures> {
        if let Some(nodes) = self.nodes {
            nodes.stop().await?;
        }
        self.stack.stop().await?;
        Ok(self.figures)
    }

    /// Ends or stops one of the programs.
    async fn blow(&mut self) -> anyhow::Result<Blow> {
        let Some(nodes) = &mut self.nodes else {
            self.stack.kill_weir().await?;
            return Ok(Blow::Weir);
        };
        let node = self.rng.usize(..nodes.count());
        match self.rng.u32(..15) {
            0..2 => {
                nodes.freeze(node).await?;
                self.figures.frozen += 1;
                Ok(Blow::Freeze(node))
            }
            2..5 => {
                self.server()?.kill();
                self.figures.servers += 1;
                Ok(Blow::Server)
            }
            _ => {
                nodes.kill(node).await?;
                Ok(Blow::Node(node))
            }
        }
    }

    /// Restarts the program that was ended, or resumes the one that was stopped.
    async fn recover(&mut self, blow: Blow) -> anyhow::Result<()> {
        let began = Instant::now();
        match (blow, &mut self.nodes) {
            (Blow::Node(number), Some(nodes)) => nodes.start_node(&self.stack, number).await?,
            (Blow::Freeze(number), Some(nodes)) => {
                tokio::time::sleep(Duration::from_millis(FROZEN_MS)).await;
                nodes.thaw(number).await?;
            }
            (Blow::Server, _) => {
                self.server()?.restart();
                self.is_answered().await?;
            }
            _ => self.stack.start_weir().await?,
        }
        if !matches!(blow, Blow::Freeze(_)) {
            self.figures.longest_start_ms = self.figures.longest_start_ms.max(began.elapsed().as_millis());
        }
        Ok(())
    }

    fn server(&mut self) -> anyhow::Result<&mut PostgresServer> {
        let nodes = self.plan.nodes.as_mut().context("there are no nodes")?;
        Ok(&mut nodes.server)
    }

    /// Waits until every node can write to the database again.
    async fn is_answered(&self) -> anyhow::Result<()> {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        for number in 0..nodes.count() {
            let Some(origin) = nodes.origin(number) else { continue };
            crate::until("a node that is ready", async || {
                let ready = self.stack.client().get(format!("{origin}/readyz")).send().await?;
                Ok(ready.status().is_success().then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    fn write(&mut self, writes: &mut JoinSet<anyhow::Result<String>>, text: String) {
        let phone: Phone = self.stack.phone.of(&self.people[self.rng.usize(..PEOPLE)]);
        writes.spawn(async move { id_of(&phone.writes(&text).await?["message_id"]) });
    }

    /// One thing that goes wrong at the platform, or nothing; slow answers most often, so that kills meet sends in
    /// flight.
    async fn order_fault(&mut self) -> anyhow::Result<()> {
        let slow = json!({"on": "send", "fault": {"delay_ms": 250}, "times": 20});
        let fault = match self.rng.u32(..12) {
            0 => json!({"on": "send", "fault": {"lost": true}}),
            1 => json!({"on": "send", "fault": {"reset": true}}),
            2 => json!({"on": "send", "fault": {"http_status": 503}}),
            3 => json!({"on": "send", "fault": {"truncated": true}}),
            4 => json!({"on": "send", "fault": {"code": 40100}}),
            5 => json!({"on": "webhook", "fault": {"duplicate": true}, "times": 3}),
            6 => json!({"on": "webhook", "fault": {"reorder": true}}),
            7 => json!({"on": "webhook", "fault": {"early_echo": true}}),
            8 => return Ok(()),
            _ => slow,
        };
        self.stack.phone.order_fault(fault).await
    }

    /// Advances the clock until nothing is in flight, and compares the logs.
    async fn settle(&mut self) -> anyhow::Result<()> {
        self.stack.phone.forget_faults().await?;
        let mut quiet = 0;
        for _ in 0..STEPS {
            let before = self.run_ledger.open();
            self.stack.time_passes(STEP_MS).await?;
            self.stack.phone.order("webhooks/retry", json!({})).await?;
            let after = self.calm().await?;
            if after.is_empty() {
                break;
            }
            quiet = if after == before { quiet + 1 } else { 0 };
            if quiet == QUIET_STEPS {
                break;
            }
        }
        self.compare().await
    }

    /// The work still in flight once nothing changes any more at this moment of the virtual clock.
    async fn calm(&mut self) -> anyhow::Result<Vec<String>> {
        let (mut same, mut seen) = (0, Vec::new());
        while same < SAME_LOOKS {
            self.read_all().await?;
            self.read_tries(Posted::is_settled).await?;
            let open = self.run_ledger.open();
            if open.is_empty() {
                return Ok(open);
            }
            // A message that an earlier process was sending keeps its status until its lease expires.
            let at_work = self.is_sending();
            same = if open == seen && !at_work { same + 1 } else { 0 };
            seen = open;
            tokio::time::sleep(crate::RECHECK).await;
        }
        Ok(seen)
    }

    /// Whether the current process is sending a message; those found in `sending` at its start belong to earlier ones.
    fn is_sending(&self) -> bool {
        let mut sending = self
            .run_ledger
            .posted
            .values()
            .filter(|posted| posted.status == "sending");
        sending.any(|posted| !self.in_flight.contains(&posted.id))
    }
}

/// Posts one text; its idempotency key is the text, so that Weir recognizes a repetition.
async fn post(api: &Api, conversation: &str, text: &str) -> Post {
    let request = api
        .request(
            reqwest::Method::POST,
            &format!("/v1/conversations/{conversation}/messages"),
        )
        .header("Idempotency-Key", text.replace(' ', "-"))
        .json(&json!({"content": {"type": "text", "text": text}}));
    match api.send(request).await {
        Ok(answer) if answer.status == 202 => match id_of(&answer.body["id"]) {
            Ok(id) => Post::Accepted(id),
            Err(_) => Post::CutOff,
        },
        Ok(answer) if RULES.iter().any(|rule| answer.body["code"] == *rule) => Post::Refused,
        // No response, or one that requests a retry.
        _ => Post::CutOff,
    }
}
