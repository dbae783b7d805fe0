//! The setup of most rows: the built programs, a connected account, and a directory on the disk of the build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::{Options, Stack};

/// The master key: fixed, so that a row can fill the database while Weir is down.
pub(crate) const MASTER_KEY: [u8; 32] = [7; 32];

/// The business account.
pub(crate) const ACCOUNT: &str = "acme_store";

/// The programs, running.
pub(crate) struct Rig {
    pub(crate) stack: Stack,
    /// The connected account.
    pub(crate) channel: Value,
    /// Dropped last: it contains the database.
    pub(crate) folder: TempDir,
}

/// A temporary directory next to the build: on the machine's real disk, not in memory.
pub(crate) fn folder() -> anyhow::Result<TempDir> {
    let here = std::env::current_exe()?;
    let target = here
        .ancestors()
        .nth(2)
        .context("the bench is not inside a target directory")?;
    let parent = target.join("bench");
    std::fs::create_dir_all(&parent)?;
    Ok(tempfile::tempdir_in(parent)?)
}

impl Rig {
    /// Starts everything and connects an account. With `free`, neither the sandbox nor Weir holds to a rate.
    pub(crate) async fn begin(free: bool) -> anyhow::Result<Self> {
        Self::begin_with(free, None).await
    }

    /// The same with another build of Weir, if one is named.
    pub(crate) async fn begin_with(free: bool, weir: Option<&Path>) -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut options = Options::new(&folder.path().join("data"));
        options.weir = weir.map(Path::to_owned);
        options.env = vec![
            ("WEIR_MASTER_KEY".to_owned(), hex::encode(MASTER_KEY)),
            // The endpoints are on this machine.
            ("WEIR_DELIVERY_ALLOW_PRIVATE".to_owned(), "true".to_owned()),
            ("WEIR_LOG".to_owned(), "warn".to_owned()),
        ];
        Self::over(Stack::start(options).await?, folder, free).await
    }

    /// For running programs, with their database in `folder`.
    pub(crate) async fn over(stack: Stack, folder: TempDir, free: bool) -> anyhow::Result<Self> {
        stack.install("tiktok").await?;
        if free {
            stack.phone.set(json!({"qps": null})).await?;
            stack.put_app_with(json!({"queries_per_second": 1_000_000})).await?;
        } else {
            stack.put_app().await?;
        }
        let channel = stack.connect(ACCOUNT).await?;
        Ok(Self { stack, channel, folder })
    }

    /// Weir's base URL.
    pub(crate) fn origin(&self) -> &str {
        self.stack.api.origin()
    }

    /// The platform's id of the account.
    pub(crate) fn business(&self) -> anyhow::Result<&str> {
        self.channel["platform_id"]
            .as_str()
            .context("the channel has no platform_id")
    }

    /// The directory of Weir's database.
    pub(crate) fn record(&self) -> PathBuf {
        self.stack.data().join("weir.db")
    }

    /// Resident memory of Weir, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let id = self
            .stack
            .weir
            .as_ref()
            .and_then(weir_tests::Program::id)
            .context("weir is down")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .context("no VmRSS")?
            .trim()
            .trim_end_matches(" kB")
            .trim()
            .parse()?;
        Ok(kib * 1024.0)
    }

    /// Every conversation, as the API shows it.
    pub(crate) async fn conversations(&self) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut path = "/v1/conversations?limit=200".to_owned();
        loop {
            let page = self.stack.api.get(&path).await?.expect(200)?;
            all.extend(page["data"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/conversations?limit=200&cursor={cursor}"),
                None => return Ok(all),
            }
        }
    }

    /// Has `people` customers write once each, waits until each of their conversations has the message and its whole
    /// budget, and returns the conversations.
    pub(crate) async fn everybody_writes(&self, people: usize) -> anyhow::Result<Vec<Value>> {
        self.stack.phone.set(json!({"webhooks": true})).await?;
        // A budget that was used without Weir appears whole: only a window that opened again shows that the contact
        // wrote.
        let before = opened(&self.conversations().await?);
        let load = json!({"account": ACCOUNT, "people": people, "per_second": 500, "count": people});
        self.stack.phone.order("load", load).await?;
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let conversations = self.conversations().await?;
            let now = opened(&conversations);
            let whole = conversations
                .iter()
                .filter(|one| one["budget"]["used"] == 0 && one["can_reply"] == true)
                .filter_map(|one| one["id"].as_str())
                .filter(|id| now.get(*id) != before.get(*id));
            if whole.count() == people && conversations.len() == people {
                return Ok(conversations);
            }
            ensure!(
                Instant::now() < end,
                "{} of {people} conversations after two minutes",
                conversations.len()
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// The sends that the sandbox took after the call of this number, oldest first.
    pub(crate) async fn sends_after(&self, number: u64) -> anyhow::Result<Vec<Value>> {
        let mut sends = Vec::new();
        let mut after = number;
        loop {
            let log = self.stack.phone.look(&format!("calls?after={after}")).await?;
            let calls = log["calls"].as_array().cloned().unwrap_or_default();
            let Some(last) = calls.last().and_then(|call| call["sequence"].as_u64()) else {
                return Ok(sends);
            };
            after = last;
            sends.extend(calls.into_iter().filter(|call| call["api"] == "send"));
        }
    }

    /// The number of the sandbox's last call.
    pub(crate) async fn last_call(&self) -> anyhow::Result<u64> {
        let log = self.stack.phone.look("calls?after=9007199254740991").await?;
        log["last"].as_u64().context("the log has no last number")
    }

    /// The sandbox's clock, in milliseconds.
    pub(crate) async fn now_ms(&self) -> anyhow::Result<i64> {
        let clock = self.stack.phone.look("clock").await?;
        clock["now_ms"].as_i64().context("the clock has no time")
    }
}

/// When each conversation's window opened.
fn opened(conversations: &[Value]) -> BTreeMap<String, String> {
    let of = |one: &Value| Some((one["id"].as_str()?.to_owned(), one["window"]["opened_at"].to_string()));
    conversations.iter().filter_map(of).collect()
}

/// The text at this member.
pub(crate) fn text(value: &Value, member: &str) -> anyhow::Result<String> {
    Ok(value[member]
        .as_str()
        .with_context(|| format!("no {member} in {value}"))?
        .to_owned())
}
