//! A power failure at each step of every operation that has several: the next start completes or undoes the operation,
//! and everything else works as before.
//!
//! Weir is started with the name of a kill point, the operation is requested, and Weir must die at that point. A point
//! that is not reached is a breach too. Builds without debug assertions have no kill points.

mod acts;
mod versions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::programs::was_killed;
use crate::stack::KILL_AT;
use crate::{Options, PATIENCE, Phone, Stack, until};

/// The points of every change of versions.
const VERSION: &[&str] = &[
    "version.intended",
    "version.state_moved",
    "version.states_moved",
    "version.changed",
];

/// The acts, each with its kill points in the order of its steps.
pub const ACTS: [(&str, &[&str]); 10] = [
    (
        "connect",
        &[
            "connect.taken",
            "connect.answered",
            "connect.kept",
            "connect.recorded",
            "connect.set_up",
        ],
    ),
    ("refresh", &["refresh.begun", "refresh.answered", "refresh.written"]),
    (
        "erase",
        &[
            "erase.recorded",
            "erase.file_removed",
            "erase.files_removed",
            "erase.searched",
            "erase.log_emptied",
        ],
    ),
    ("install", &["install.loaded", "install.recorded"]),
    (
        "backup",
        &[
            "backup.begun",
            "backup.copied",
            "backup.listed",
            "backup.complete",
            "backup.moved",
        ],
    ),
    (
        "migrate",
        &[
            "migration.repaired",
            "migration.made",
            "migration.committed",
            "migration.cleaned",
        ],
    ),
    ("promote", VERSION),
    ("roll back", VERSION),
    ("begin a canary", VERSION),
    ("end a canary", VERSION),
];

/// Points that the next start passes too: it is killed there once more, so that the resumed work is interrupted as
/// well.
const PASSED_AGAIN: [&str; 11] = [
    "connect.set_up",
    "refresh.begun",
    "refresh.answered",
    "erase.file_removed",
    "erase.files_removed",
    "erase.searched",
    "erase.log_emptied",
    "migration.repaired",
    "migration.made",
    "migration.cleaned",
    "version.states_moved",
];

/// The account that is connected at first, and the person who writes to every account.
const ACCOUNT: &str = "acme_store";
const PERSON: &str = "jane_doe";

/// The results of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepFigures {
    /// Kill points at which Weir was ended, counted once for each act that has them.
    pub points: usize,
    /// Acts that were cut off.
    pub acts: usize,
    /// What was neither completed nor undone, by kill point; empty if every promise was kept.
    pub breaches: Vec<String>,
}

/// A run under way.
#[derive(Debug)]
pub struct Steps {
    stack: Stack,
    /// The data directory of the connected account; other acts have directories next to it.
    data: PathBuf,
    /// The channel of [`ACCOUNT`].
    channel: String,
    /// A counter for unique names.
    number: u32,
    acts: BTreeSet<String>,
    /// Whether the two versions are staged.
    has_versions: bool,
    figures: StepFigures,
}

impl Steps {
    /// Starts the programs in `folder`, and connects the account.
    ///
    /// # Errors
    /// A step is refused, or this build has no kill points.
    pub async fn begin(folder: &Path) -> anyhow::Result<Self> {
        ensure!(
            cfg!(debug_assertions),
            "a release has no kill points; build without --release"
        );
        let data = folder.join("data");
        let stack = Stack::start(Options::new(&data)).await?;
        stack.phone.set(json!({"qps": null})).await?;
        stack.install("tiktok").await?;
        stack.put_app().await?;
        let channel = id_of(&stack.connect(ACCOUNT).await?)?;
        let mut steps = Self {
            stack,
            data,
            channel,
            number: 0,
            acts: BTreeSet::new(),
            has_versions: false,
            figures: StepFigures::default(),
        };
        steps.works(ACCOUNT).await?;
        Ok(steps)
    }

    /// Kills Weir at one kill point, restarts it, and checks the state; returns a line with the result.
    ///
    /// # Errors
    /// A program fails. Broken promises are in the figures.
    pub async fn play(&mut self, act: &str, point: &str) -> anyhow::Result<String> {
        self.number += 1;
        let held = match act {
            "connect" => self.connect(point).await,
            "refresh" => self.refresh(point).await,
            "erase" => self.erase(point).await,
            "install" => self.install(point).await,
            "backup" => self.backup(point).await,
            "migrate" => self.migrate(point).await,
            _ => self.change_versions(act, point).await,
        };
        self.figures.points += 1;
        self.acts.insert(act.to_owned());
        self.figures.acts = self.acts.len();
        match held {
            Ok(found) => Ok(format!("{act} at {point}: {found}")),
            Err(breach) => {
                let breach = format!("{act} at {point}: {breach:#}");
                self.figures.breaches.push(breach.clone());
                self.go_home().await?;
                Ok(breach)
            }
        }
    }

    /// Stops the programs, and returns the results.
    ///
    /// # Errors
    /// A program does not end well.
    pub async fn end(self) -> anyhow::Result<StepFigures> {
        self.stack.stop().await?;
        Ok(self.figures)
    }

    /// Starts Weir so that it dies at `point`, and runs the act. The result of `act` is ignored: its caller is cut off.
    async fn dies_at<T>(
        &mut self,
        point: &str,
        act: impl AsyncFnOnce(&Stack) -> anyhow::Result<T>,
    ) -> anyhow::Result<()> {
        if self.stack.weir.is_some() {
            self.stack.kill_weir().await?;
        }
        self.stack.start_weir_until(point).await?;
        let weir = self.stack.weir.take().context("Weir runs")?;
        let (_, died) = tokio::join!(act(&self.stack), weir.dies());
        died
    }

    /// Starts Weir after its death at `point`, by these commands; a start that passes the point dies there first.
    async fn restarts(&mut self, point: &str, command: impl Fn(&Stack) -> Command) -> anyhow::Result<()> {
        if PASSED_AGAIN.contains(&point) {
            dies(command(&self.stack), point)
                .await
                .context("the start after the death")?;
        }
        let command = command(&self.stack);
        self.stack.run_weir(command).await
    }

    /// Starts Weir on the database of the connected account.
    async fn go_home(&mut self) -> anyhow::Result<()> {
        if self.stack.weir.is_some() {
            self.stack.kill_weir().await?;
        }
        let home = self.data.clone();
        self.stack.start_weir_on(&home).await
    }

    /// A message of an account's customer arrives once, and so does the answer.
    async fn works(&mut self, account: &str) -> anyhow::Result<()> {
        // An interrupted setup is repeated; until then the channel is degraded.
        let channel = until("the account's channel to be connected", async || {
            let channel = self.channel_of(account).await?;
            Ok(channel.filter(|channel| channel["status"] == "connected"))
        })
        .await?;
        let channel = id_of(&channel)?;
        self.number += 1;
        let (question, answer) = (format!("question {}", self.number), format!("answer {}", self.number));
        let phone = self.phone(account);
        let api = &self.stack.api;
        phone.writes(&question).await?;
        let conversation = self.arrives_once(&channel, &question).await?;
        let answered = api.say(&conversation, &answer).await?.expect(202)?;
        let answered = format!("/v1/messages/{}", id_of(&answered)?);
        let shown = until("the answer on the phone", async || {
            let message = api.get(&answered).await?.expect(200)?;
            ensure!(message["status"] != "failed", "the answer failed: {message:#}");
            // It must be settled before the next kill: an interrupted send waits until its lease expires.
            if message["status"] == "queued" || message["status"] == "sending" {
                return Ok(None);
            }
            let shown = phone.from_business().await?;
            let shown: Vec<String> = shown.iter().filter_map(|message| text(&message["text"])).collect();
            Ok(shown.contains(&answer).then_some(shown))
        })
        .await?;
        let once = |all: &[String], one: &String| all.iter().filter(|other| *other == one).count() == 1;
        ensure!(once(&shown, &answer), "the customer has the answer twice: {shown:?}");
        Ok(())
    }

    /// Waits for a customer's message, which must arrive once; returns the conversation.
    async fn arrives_once(&self, channel: &str, question: &str) -> anyhow::Result<String> {
        let api = &self.stack.api;
        let count = async |conversation: &str| {
            let page = format!("/v1/conversations/{conversation}/messages?limit=200");
            let page = api.get(&page).await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            Ok::<_, anyhow::Error>(rows.iter().filter(|row| row["content"]["text"] == question).count())
        };
        let conversation = until("what the customer wrote", async || {
            // The platform retries a webhook to a dead host only after a while.
            self.stack.phone.order("webhooks/retry", json!({})).await?;
            let page = format!("/v1/conversations?channel_id={channel}&limit=200");
            let page = api.get(&page).await?.expect(200)?;
            for row in page["data"].as_array().context("no list")? {
                let conversation = id_of(row)?;
                if count(&conversation).await? > 0 {
                    return Ok(Some(conversation));
                }
            }
            Ok(None)
        })
        .await?;
        let count = count(&conversation).await?;
        ensure!(count == 1, "{question:?} was received {count} times");
        Ok(conversation)
    }

    /// The phone of the customer of an account.
    fn phone(&self, account: &str) -> Phone {
        Phone::new(
            self.stack.client().clone(),
            self.stack.sandbox.origin(),
            account,
            PERSON,
        )
    }

    /// The channel of an account, if it has one.
    async fn channel_of(&self, account: &str) -> anyhow::Result<Option<Value>> {
        let page = self.stack.api.get("/v1/channels?limit=200").await?.expect(200)?;
        let rows = page["data"].as_array().context("no list")?;
        Ok(rows.iter().find(|row| row["username"] == account).cloned())
    }

    /// The number of calls that the platform received of these APIs.
    async fn calls(&self, is_meant: impl Fn(&str) -> bool) -> anyhow::Result<usize> {
        let calls = self.stack.phone.calls("").await?;
        Ok(calls
            .iter()
            .filter(|call| call["api"].as_str().is_some_and(&is_meant))
            .count())
    }
}

/// Runs a command of Weir that must die at `point`.
async fn dies(mut command: Command, point: &str) -> anyhow::Result<()> {
    command.env(KILL_AT, point).stdout(Stdio::null()).stderr(Stdio::null());
    let died = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).status()).await;
    was_killed(died.with_context(|| format!("{point} was not reached"))??)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn id_of(value: &Value) -> anyhow::Result<String> {
    text(&value["id"]).with_context(|| format!("expected something with an id, saw {value}"))
}
