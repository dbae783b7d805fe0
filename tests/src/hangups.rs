//! Callers that hang up: every modifying request is sent, cut off after a moment, and repeated with the same
//! idempotency key. Then it must have taken effect once and completely.
//!
//! The seed determines the requests and when they are cut off, but not how far Weir has come by then.

mod acts;
mod effects;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

pub use acts::unplayed_routes;
use acts::{ACTS, Act};
use anyhow::{Context, ensure};
use fastrand::Rng;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{APP, Answer, Browser, Options, Stack, Subscriber, until};

/// A caller's timeout, in milliseconds: most requests end within it, and most of those that call the platform do not.
const PATIENCE_MS: std::ops::RangeInclusive<u64> = 0..=50;
/// The platform's response time, so that callers hang up during its calls.
const PLATFORM_MS: u64 = 15;
/// The account that is connected.
const ACCOUNT: &str = "acme_store";

/// The plan of a run.
#[derive(Clone, Copy, Debug)]
pub struct HangUpPlan {
    /// The number of requests; each caller hangs up, or receives the response just before.
    pub rounds: u32,
    /// The seed of every random choice.
    pub seed: u64,
}

/// The results of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HangUpFigures {
    /// The seed of the plan.
    pub seed: u64,
    /// Requests so far.
    pub rounds: u32,
    /// Those whose callers hung up without a response.
    pub cut_off: u32,
    /// Those among them that had taken effect when they were repeated.
    pub done_before: u32,
    /// What was done incompletely, done twice, or lost; empty if every promise was kept.
    pub breaches: Vec<String>,
}

/// What a request carries.
enum Body {
    None,
    Json(Value),
    File(String),
    Component(Vec<u8>),
}

/// A run under way.
#[derive(Debug)]
pub struct HangUps {
    stack: Stack,
    plan: HangUpPlan,
    rng: Rng,
    figures: HangUpFigures,
    channel: String,
    conversation: String,
    /// An endpoint that is switched off, and one that is not.
    endpoint: String,
    subscribed: String,
    subscriber: Subscriber,
    /// Texts that were accepted; each must be shown on the phone once.
    sent: Vec<String>,
    /// Uploads that were answered.
    uploads: BTreeSet<String>,
    /// Texts that were canceled; none may be shown on the phone.
    taken_back: Vec<String>,
    /// The expected result, or the subject, of an act that was prepared.
    about: String,
}

impl HangUps {
    /// Starts the programs in `data`, connects the account, and has a customer write.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn begin(plan: HangUpPlan, data: &Path) -> anyhow::Result<Self> {
        let mut options = Options::new(data);
        options.seed = plan.seed;
        options.env.push(("WEIR_DELIVERY_ALLOW_PRIVATE".into(), "true".into()));
        let stack = Stack::start(options).await?;
        stack.phone.set(json!({"qps": null})).await?;
        stack.install("tiktok").await?;
        stack.stage("variants/tiktok-same").await?;
        stack.put_app().await?;
        let channel = id_of(&stack.connect(ACCOUNT).await?)?;
        stack.phone.writes("Hello!").await?;
        let conversation = until("the conversation", async || {
            let page = stack.api.get("/v1/conversations").await?.expect(200)?;
            Ok(page["data"][0]["id"].as_str().map(str::to_owned))
        })
        .await?;
        let endpoint = json!({"url": "https://crm.example/weir", "enabled": false, "description": "rotated"});
        let endpoint = id_of(&stack.api.post("/v1/endpoints", endpoint).await?.expect(201)?)?;
        let subscriber = Subscriber::answering(vec![200]).await?;
        let subscribed = json!({"url": subscriber.url(), "description": "subscribed"});
        let subscribed = id_of(&stack.api.post("/v1/endpoints", subscribed).await?.expect(201)?)?;
        slow_down(&stack).await?;
        Ok(Self {
            stack,
            plan,
            rng: Rng::with_seed(plan.seed),
            figures: HangUpFigures {
                seed: plan.seed,
                ..HangUpFigures::default()
            },
            channel,
            conversation,
            endpoint,
            subscribed,
            subscriber,
            sent: Vec::new(),
            uploads: BTreeSet::new(),
            taken_back: Vec::new(),
            about: String::new(),
        })
    }

    /// Whether there are rounds left.
    pub fn has_more(&self) -> bool {
        self.figures.rounds < self.plan.rounds
    }

    /// The results so far.
    pub fn figures(&self) -> &HangUpFigures {
        &self.figures
    }

    /// One request whose caller hangs up, and its repetition. All acts are used in rotation.
    ///
    /// # Errors
    /// A program fails in another way than by breaking a promise; broken promises are in the figures.
    pub async fn round(&mut self) -> anyhow::Result<()> {
        let (act, ..) = ACTS[self.figures.rounds as usize % ACTS.len()];
        self.figures.rounds += 1;
        let patience = Duration::from_millis(self.rng.u64(PATIENCE_MS));
        let name = format!("{act:?} {}", self.figures.rounds);
        let found = match act {
            Act::Callback => self.callback(patience).await,
            Act::Webhook => self.webhook(&name, patience).await,
            act => self.request(act, &name, patience).await,
        };
        if let Err(breach) = found {
            self.figures
                .breaches
                .push(format!("{name}, cut off after {patience:?}: {breach:#}"));
        }
        Ok(())
    }

    /// Checks the final state after all rounds.
    ///
    /// # Errors
    /// A promise was broken, or a program does not end well.
    pub async fn end(mut self) -> anyhow::Result<HangUpFigures> {
        self.stack.phone.forget_faults().await?;
        if let Err(breach) = self.compare().await {
            self.figures.breaches.push(format!("in the end: {breach:#}"));
        }
        self.stack.stop().await?;
        let breaches = &self.figures.breaches;
        ensure!(
            breaches.is_empty(),
            "R8 hang-ups: {} with seed {}, {} cut off, {} promises are broken: short\n{}",
            self.figures.rounds,
            self.plan.seed,
            self.figures.cut_off,
            breaches.len(),
            breaches.join("\n")
        );
        Ok(self.figures)
    }

    async fn request(&mut self, act: Act, name: &str, patience: Duration) -> anyhow::Result<()> {
        let (method, path, body, right) = self.prepare(act, name).await?;
        let before = self.audit().await?;
        let renewed = self.stack.phone.calls("refresh").await?.len();
        let first = tokio::time::timeout(patience, self.exchange(&method, &path, &body, name)).await;
        if first.is_err() {
            self.figures.cut_off += 1;
        }
        let again = until("the end of the first request", async || {
            let answer = self.exchange(&method, &path, &body, name).await?;
            let is_at_work = answer.status == 409 && answer.body["code"] == "request_in_progress";
            Ok((!is_at_work).then_some(answer))
        })
        .await?;
        let was_done = again.headers.contains_key("idempotency-replayed");
        // A request without a key may find that it has already taken effect.
        let is_gone = act.is_over(&again);
        ensure!(
            again.status == right || is_gone,
            "the second answer is {} {:#}",
            again.status,
            again.body
        );
        if first.is_err() && (was_done || is_gone) {
            self.figures.done_before += 1;
        }
        if let Ok(first) = first {
            let first = first?;
            ensure!(
                first.status == right || act.is_over(&first),
                "the answer is {} {:#}",
                first.status,
                first.body
            );
            ensure!(
                is_gone || first.body["id"] == again.body["id"],
                "the second answer is another's: {:#}",
                again.body
            );
        }
        if matches!(act, Act::Refresh) {
            let renewals = self.stack.phone.calls("refresh").await?.len() - renewed;
            ensure!(renewals == 1, "it was renewed {renewals} times");
        }
        if method == Method::POST {
            // A request without a key that was cut off before may end only now, after the one that repeated it.
            let mut added = added(&before, &self.audit().await?);
            added.retain(|action| ACTS.iter().any(|(act, ..)| act.audited() == Some(action.as_str())));
            let action = act.audited();
            ensure!(
                added.len() == usize::from(action.is_some())
                    && added.iter().all(|added| Some(added.as_str()) == action),
                "it was done {} times: {added:?}",
                added.len()
            );
        }
        self.look(act, name, &path, &again).await
    }

    /// A browser that is closed during the redirect from the platform, and the outcome of its session.
    async fn callback(&mut self, patience: Duration) -> anyhow::Result<()> {
        let api = &self.stack.api;
        let session = api
            .post("/v1/connect-sessions", json!({"app": APP}))
            .await?
            .expect(201)?;
        let url = session["url"].as_str().context("the session has no URL")?;
        let mut browser = Browser::new(self.stack.client().clone());
        let callback = browser.decide(url, ACCOUNT, "allow", &["*"]).await?;
        // A webhook that already points here is checked, not created again.
        let looked = async || {
            let calls = self.stack.phone.calls("").await?;
            let is_webhook = |call: &&Value| call["api"].as_str().is_some_and(|api| api.starts_with("webhook_"));
            Ok::<_, anyhow::Error>(calls.iter().filter(is_webhook).count())
        };
        let before = looked().await?;
        let first = tokio::time::timeout(patience, browser.open(callback.clone())).await;
        // A person without a response opens it again. The first request may never have left.
        browser.open(callback).await?;
        let path = format!("/v1/connect-sessions/{}", id_of(&session)?);
        let ended = until("the session's end", async || {
            let session = api.get(&path).await?.expect(200)?;
            Ok((session["status"] != "pending").then_some(session))
        })
        .await?;
        if first.is_err() {
            self.figures.cut_off += 1;
        }
        ensure!(ended["status"] == "succeeded", "the session ended as {ended:#}");
        ensure!(
            ended["channel_id"] == self.channel,
            "another channel was made: {ended:#}"
        );
        ensure!(
            looked().await? > before,
            "the channel is connected, and its webhook was not checked"
        );
        Ok(())
    }

    /// A platform that hangs up before the response, and sends the webhook again.
    async fn webhook(&mut self, name: &str, patience: Duration) -> anyhow::Result<()> {
        let body = self.saying(name).await?;
        let first = tokio::time::timeout(patience, self.post_webhook(&body)).await;
        if first.is_err() {
            self.figures.cut_off += 1;
        }
        let status = self.post_webhook(&body).await?;
        ensure!(status == 200, "the second answer is {status}");
        self.is_there_once(name).await
    }

    /// The state that all rounds together must result in.
    async fn compare(&mut self) -> anyhow::Result<()> {
        let api = &self.stack.api;
        let channel = api
            .post(&format!("/v1/channels/{}/refresh", self.channel), json!({}))
            .await?
            .expect(200)
            .context("a token was lost")?;
        ensure!(channel["status"] == "connected", "a token was lost: {channel:#}");
        until("every message on the phone", async || {
            let shown = self.shown().await?;
            Ok(self.sent.iter().all(|text| shown.contains(text)).then_some(()))
        })
        .await?;
        let shown = self.shown().await?;
        let twice: BTreeSet<&String> = shown
            .iter()
            .filter(|text| shown.iter().filter(|other| other == text).count() > 1)
            .collect();
        ensure!(twice.is_empty(), "the customer has twice: {twice:?}");
        let taken_back: Vec<_> = self.taken_back.iter().filter(|text| shown.contains(text)).collect();
        ensure!(
            taken_back.is_empty(),
            "the customer has canceled messages: {taken_back:?}"
        );
        // The database has a row for each remaining file, and no file is incomplete.
        let mut uploads = self.uploads.clone();
        for entry in std::fs::read_dir(self.stack.data().join("media"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let known = api.get(&format!("/v1/media/{name}")).await?;
            ensure!(known.status == 200, "nothing names the file {name}");
            uploads.remove(&name);
        }
        ensure!(uploads.is_empty(), "the files of {uploads:?} are gone");
        let components = std::fs::read_dir(self.stack.data().join("components"))?.count();
        ensure!(components <= 2, "{components} files of two components");
        Ok(())
    }

    async fn shown(&self) -> anyhow::Result<Vec<String>> {
        let messages = self.stack.phone.from_business().await?;
        Ok(messages
            .iter()
            .filter_map(|message| message["text"].as_str().map(str::to_owned))
            .collect())
    }

    async fn exchange(&self, method: &Method, path: &str, body: &Body, key: &str) -> anyhow::Result<Answer> {
        let request = self.stack.api.request(method.clone(), path);
        let request = if *method == Method::POST {
            request.header("idempotency-key", key.replace(' ', "-"))
        } else {
            request
        };
        let request = match body {
            Body::None => request,
            Body::Json(body) => request.json(body),
            Body::Component(bytes) => request.header("content-type", "application/wasm").body(bytes.clone()),
            Body::File(text) => {
                let head = "content-disposition: form-data; name=\"file\"; filename=\"a.txt\"";
                request
                    .header("content-type", "multipart/form-data; boundary=weir")
                    .body(format!("--weir\r\n{head}\r\n\r\n{text}\r\n--weir--\r\n"))
            }
        };
        self.stack.api.send(request).await
    }

    /// The newest changes.
    async fn audit(&self) -> anyhow::Result<Vec<Value>> {
        let page = self.stack.api.get("/v1/audit-log?limit=50").await?.expect(200)?;
        page["data"].as_array().cloned().context("no audit log")
    }
}

/// The new actions of a list that is sorted newest first.
fn added(before: &[Value], after: &[Value]) -> Vec<String> {
    let is_old = |from: usize| after[from..].iter().zip(before).all(|(after, before)| after == before);
    let new = (0..=after.len()).find(|from| is_old(*from)).unwrap_or(after.len());
    after[..new]
        .iter()
        .filter_map(|entry| entry["action"].as_str().map(str::to_owned))
        .collect()
}

/// Delays each response of the platform.
async fn slow_down(stack: &Stack) -> anyhow::Result<()> {
    let delay = json!({"on": "*", "fault": {"delay_ms": PLATFORM_MS}, "times": 1_000_000});
    stack.phone.order_fault(delay).await
}

fn id_of(value: &Value) -> anyhow::Result<String> {
    let id = value["id"].as_str().map(str::to_owned);
    id.with_context(|| format!("expected something with an id, saw {value}"))
}
