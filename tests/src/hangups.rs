//! Callers who hang up: everything that changes something is asked for, cut off after a moment, and asked for again with the
//! same key. Then it must have been done once and whole.
//!
//! What is asked for, and when it is cut off, follows from the seed; how far the machine has come by then does not.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use fastrand::Rng;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{APP, Answer, Browser, Options, Stack, until};

/// A caller's patience, in milliseconds: most requests end within it, and most of those that call the platform do not.
const PATIENCE_MS: std::ops::RangeInclusive<u64> = 0..=50;
/// How long the platform takes over each of its calls, so that callers leave in the middle of them.
const PLATFORM_MS: u64 = 15;
/// The account that is connected.
const ACCOUNT: &str = "acme_store";

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct HangUpPlan {
    /// How often somebody hangs up, or has the answer just before.
    pub rounds: u32,
    /// Makes every choice.
    pub seed: u64,
}

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HangUpFigures {
    /// The seed of the plan.
    pub seed: u64,
    /// Requests so far.
    pub rounds: u32,
    /// Those whose callers left without an answer.
    pub cut_off: u32,
    /// Those among them that were done when they were asked for again.
    pub done_before: u32,
    /// What was done by half, done twice, or lost; empty if every promise held.
    pub breaches: Vec<String>,
}

/// A kind of request that changes something.
#[derive(Clone, Copy, Debug)]
enum Act {
    Callback,
    CreateEndpoint,
    CreateKey,
    DeleteEndpoint,
    EraseContact,
    Install,
    PutApp,
    Refresh,
    Rename,
    RotateSecret,
    Send,
    StartSession,
    Upload,
}

const ACTS: [Act; 13] = [
    Act::Callback,
    Act::CreateEndpoint,
    Act::CreateKey,
    Act::DeleteEndpoint,
    Act::EraseContact,
    Act::Install,
    Act::PutApp,
    Act::Refresh,
    Act::Rename,
    Act::RotateSecret,
    Act::Send,
    Act::StartSession,
    Act::Upload,
];

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
    endpoint: String,
    /// Texts that were accepted; each must be on the phone once.
    sent: Vec<String>,
    /// Uploads that were answered.
    uploads: BTreeSet<String>,
}

impl HangUps {
    /// Starts the programs in `data`, connects the account, and has a customer write.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn begin(plan: HangUpPlan, data: &Path) -> anyhow::Result<Self> {
        let mut options = Options::new(data);
        options.seed = plan.seed;
        let stack = Stack::start(options).await?;
        stack.phone.set(json!({"qps": null})).await?;
        stack.install("tiktok").await?;
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
        let delay = json!({"on": "*", "fault": {"delay_ms": PLATFORM_MS}, "times": 1_000_000});
        stack.phone.order_fault(delay).await?;
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
            sent: Vec::new(),
            uploads: BTreeSet::new(),
        })
    }

    /// Whether there are rounds left.
    pub fn has_more(&self) -> bool {
        self.figures.rounds < self.plan.rounds
    }

    /// What was counted so far.
    pub fn figures(&self) -> &HangUpFigures {
        &self.figures
    }

    /// One request, its caller's hanging up, and the same request again. Each act has its turn.
    ///
    /// # Errors
    /// A program misbehaves otherwise than by breaking a promise; those are in the figures.
    pub async fn round(&mut self) -> anyhow::Result<()> {
        let act = ACTS[self.figures.rounds as usize % ACTS.len()];
        self.figures.rounds += 1;
        let patience = Duration::from_millis(self.rng.u64(PATIENCE_MS));
        let name = format!("{act:?} {}", self.figures.rounds);
        let found = match act {
            Act::Callback => self.callback(patience).await,
            act => self.request(act, &name, patience).await,
        };
        if let Err(breach) = found {
            self.figures
                .breaches
                .push(format!("{name}, cut off after {patience:?}: {breach:#}"));
        }
        Ok(())
    }

    /// Looks at what is left of all rounds together.
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
        let first = tokio::time::timeout(patience, self.ask(&method, &path, &body, name)).await;
        if first.is_err() {
            self.figures.cut_off += 1;
        }
        let again = until("the end of what was begun", async || {
            let answer = self.ask(&method, &path, &body, name).await?;
            let is_at_work = answer.status == 409 && answer.body["code"] == "request_in_progress";
            Ok((!is_at_work).then_some(answer))
        })
        .await?;
        let was_done = again.headers.contains_key("idempotency-replayed");
        // A request without a key may find that it was done already.
        let is_gone = matches!(act, Act::DeleteEndpoint) && again.status == 404;
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
            ensure!(first.status == right, "the answer is {} {:#}", first.status, first.body);
            ensure!(
                first.body["id"] == again.body["id"],
                "the second answer is another's: {:#}",
                again.body
            );
        }
        if matches!(act, Act::Refresh) {
            let renewals = self.stack.phone.calls("refresh").await?.len() - renewed;
            ensure!(renewals == 1, "it was renewed {renewals} times");
        }
        if method == Method::POST {
            let added = added(&before, &self.audit().await?);
            let action = match act {
                Act::CreateEndpoint => Some("endpoint.create"),
                Act::CreateKey => Some("key.create"),
                Act::EraseContact => Some("contact.erase"),
                Act::Install => Some("connector.install"),
                Act::RotateSecret => Some("endpoint.rotate_secret"),
                Act::StartSession => Some("channel.connect"),
                _ => None,
            };
            ensure!(
                added.len() == usize::from(action.is_some())
                    && added.iter().all(|added| Some(added.as_str()) == action),
                "it was done {} times: {added:?}",
                added.len()
            );
        }
        self.look(act, name, &path, &again).await
    }

    /// The request of an act, and the status of its answer.
    async fn prepare(&mut self, act: Act, name: &str) -> anyhow::Result<(Method, String, Body, u16)> {
        let post = |path: &str, body: Body, right| (Method::POST, path.to_owned(), body, right);
        Ok(match act {
            Act::Callback => anyhow::bail!("a callback is a browser's"),
            Act::CreateEndpoint => {
                let body = json!({"url": "https://crm.example/weir", "enabled": false, "description": name});
                post("/v1/endpoints", Body::Json(body), 201)
            }
            Act::CreateKey => post("/v1/keys", Body::Json(json!({"name": name, "scopes": ["read"]})), 201),
            Act::DeleteEndpoint => {
                let body = json!({"url": "https://crm.example/weir", "enabled": false});
                let made = id_of(&self.stack.api.post("/v1/endpoints", body).await?.expect(201)?)?;
                (Method::DELETE, format!("/v1/endpoints/{made}"), Body::None, 204)
            }
            Act::EraseContact => {
                let contact = self.contact_with_picture().await?;
                post(&format!("/v1/contacts/{contact}/erase"), Body::None, 204)
            }
            Act::Install => {
                let bytes = self.stack.binaries().connector("tiktok")?;
                post("/v1/connectors", Body::Component(bytes), 201)
            }
            Act::PutApp => {
                let path = format!("/v1/apps/{APP}");
                let app = self.stack.api.get(&path).await?.expect(200)?;
                let body =
                    json!({"connector": app["connector"], "settings": app["settings"], "origins": app["origins"]});
                (Method::PUT, path, Body::Json(body), 200)
            }
            Act::Refresh => post(&format!("/v1/channels/{}/refresh", self.channel), Body::None, 200),
            Act::Rename => (
                Method::PATCH,
                format!("/v1/channels/{}", self.channel),
                Body::Json(json!({"name": name})),
                200,
            ),
            Act::RotateSecret => post(
                &format!("/v1/endpoints/{}/secret/rotate", self.endpoint),
                Body::None,
                200,
            ),
            Act::Send => {
                // Gives the whole budget back.
                self.writes("More?").await?;
                let body = json!({"content": {"type": "text", "text": name}});
                post(
                    &format!("/v1/conversations/{}/messages", self.conversation),
                    Body::Json(body),
                    202,
                )
            }
            Act::StartSession => post("/v1/connect-sessions", Body::Json(json!({"app": APP})), 201),
            Act::Upload => post("/v1/media", Body::File(name.to_owned()), 201),
        })
    }

    /// Whether what was asked for is there, once and whole.
    async fn look(&mut self, act: Act, name: &str, path: &str, answer: &Answer) -> anyhow::Result<()> {
        let api = &self.stack.api;
        let once = async |list: &str, member: &str| {
            let page = api.get(list).await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            let count = rows.iter().filter(|row| row[member] == name).count();
            ensure!(count == 1, "{count} of {list} are called {name:?}");
            Ok(())
        };
        match act {
            Act::CreateEndpoint => once("/v1/endpoints?limit=200", "description").await?,
            Act::CreateKey => once("/v1/keys", "name").await?,
            Act::DeleteEndpoint | Act::EraseContact => {
                let path = path.trim_end_matches("/erase");
                ensure!(api.get(path).await?.status == 404, "it is still there");
            }
            Act::Refresh => ensure!(answer.body["status"] == "connected", "the channel is {:#}", answer.body),
            Act::Rename => {
                let channel = api.get(path).await?.expect(200)?;
                ensure!(channel["name"] == name, "the channel is called {}", channel["name"]);
            }
            Act::Send => {
                let page = format!("{path}?limit=200");
                let page = api.get(&page).await?.expect(200)?;
                let rows = page["data"].as_array().context("no list")?;
                let count = rows.iter().filter(|row| row["content"]["text"] == name).count();
                ensure!(count == 1, "it was accepted {count} times");
                self.sent.push(name.to_owned());
            }
            Act::Upload => {
                let id = id_of(&answer.body)?;
                api.get(&format!("/v1/media/{id}")).await?.expect(200)?;
                self.uploads.insert(id);
            }
            Act::Callback | Act::Install | Act::PutApp | Act::RotateSecret | Act::StartSession => {}
        }
        Ok(())
    }

    /// A browser that is closed on its way back from the platform, and what became of its session.
    async fn callback(&mut self, patience: Duration) -> anyhow::Result<()> {
        let api = &self.stack.api;
        let session = api
            .post("/v1/connect-sessions", json!({"app": APP}))
            .await?
            .expect(201)?;
        let url = session["url"].as_str().context("the session has no URL")?;
        let mut browser = Browser::new(self.stack.client().clone());
        let callback = browser.decide(url, ACCOUNT, "allow", &["*"]).await?;
        // One that points here already is looked at, and not made anew.
        let looked = async || {
            let calls = self.stack.phone.calls("").await?;
            let is_webhook = |call: &&Value| call["api"].as_str().is_some_and(|api| api.starts_with("webhook_"));
            Ok::<_, anyhow::Error>(calls.iter().filter(is_webhook).count())
        };
        let before = looked().await?;
        let first = tokio::time::timeout(patience, browser.open(callback.clone())).await;
        // A person who saw nothing opens it again. It may be that the first never left.
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
            "the channel is connected, and nobody looked at its webhook"
        );
        Ok(())
    }

    /// What all rounds together must have left.
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
        // Each file that is left is one that the record knows, and none is unfinished.
        let mut uploads = self.uploads.clone();
        for entry in std::fs::read_dir(self.stack.data().join("media"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let known = api.get(&format!("/v1/media/{name}")).await?;
            ensure!(known.status == 200, "nothing names the file {name}");
            uploads.remove(&name);
        }
        ensure!(uploads.is_empty(), "the files of {uploads:?} are gone");
        let components = std::fs::read_dir(self.stack.data().join("components"))?.count();
        ensure!(components == 1, "{components} files of one component");
        Ok(())
    }

    async fn shown(&self) -> anyhow::Result<Vec<String>> {
        let messages = self.stack.phone.from_business().await?;
        Ok(messages
            .iter()
            .filter_map(|message| message["text"].as_str().map(str::to_owned))
            .collect())
    }

    /// The customer writes, and Weir has it.
    async fn writes(&self, text: &str) -> anyhow::Result<()> {
        let written = self.stack.phone.writes(text).await?;
        let path = format!("/v1/conversations/{}/messages?limit=200", self.conversation);
        until("what the customer wrote", async || {
            let page = self.stack.api.get(&path).await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            let is_there = rows.iter().any(|row| row["platform_id"] == written["message_id"]);
            Ok(is_there.then_some(()))
        })
        .await
    }

    /// Somebody who sent a picture that is stored; gives the contact.
    async fn contact_with_picture(&self) -> anyhow::Result<String> {
        let person = format!("person_{}", self.figures.rounds);
        let phone = self.stack.phone.of(&person);
        let order = json!({"username": person, "country": "ID"});
        self.stack.phone.order("people", order).await?;
        let written = phone.does("write", json!({"type": "image"})).await?;
        let message = until("the picture", async || {
            let page = self.stack.api.get("/v1/conversations?limit=200").await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            for row in rows {
                let path = format!("/v1/conversations/{}/messages", id_of(row)?);
                let page = self.stack.api.get(&path).await?.expect(200)?;
                let rows = page["data"].as_array().context("no list")?;
                let found = rows.iter().find(|row| {
                    row["platform_id"] == written["message_id"] && row["content"]["media"]["status"] == "stored"
                });
                if let Some(message) = found {
                    return Ok(Some(message.clone()));
                }
            }
            Ok(None)
        })
        .await?;
        message["contact_id"]
            .as_str()
            .map(str::to_owned)
            .context("the message has no contact")
    }

    async fn ask(&self, method: &Method, path: &str, body: &Body, key: &str) -> anyhow::Result<Answer> {
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

/// The actions that are new in a list whose newest stand first.
fn added(before: &[Value], after: &[Value]) -> Vec<String> {
    let is_old = |from: usize| after[from..].iter().zip(before).all(|(after, before)| after == before);
    let new = (0..=after.len()).find(|from| is_old(*from)).unwrap_or(after.len());
    after[..new]
        .iter()
        .filter_map(|entry| entry["action"].as_str().map(str::to_owned))
        .collect()
}

fn id_of(value: &Value) -> anyhow::Result<String> {
    let id = value["id"].as_str().map(str::to_owned);
    id.with_context(|| format!("expected something with an id, saw {value}"))
}
