//! The acts, each up to its kill point, and the checks after the next start.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ACCOUNT, Steps, dies, id_of, text};
use crate::{APP, Browser, PATIENCE, Stack, until};

/// A database of the first schema, from before that was frozen, and the master key that encrypts it.
const OLDEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/store/fixtures/schema-1-04.sql");
const OLDEST_KEY: &str = "0202020202020202020202020202020202020202020202020202020202020202";
/// Messages in it.
const OLDEST_MESSAGES: usize = 5;

impl Steps {
    /// The session has ended; the account is connected with its webhook, or not connected and can be connected again.
    pub(super) async fn connect(&mut self, point: &str) -> anyhow::Result<String> {
        let account = format!("shop_{}", self.number);
        let order = json!({"username": account, "country": "ID"});
        self.stack.phone.order("accounts", order).await?;
        let session = json!({"app": APP});
        let session = self
            .stack
            .api
            .post("/v1/connect-sessions", session)
            .await?
            .expect(201)?;
        let url = session["url"].as_str().context("the session has no URL")?;
        let mut browser = Browser::new(self.stack.client().clone());
        let callback = browser.decide(url, &account, "allow", &["*"]).await?;
        let is_webhook = |api: &str| api.starts_with("webhook_");
        let looked = self.calls(is_webhook).await?;
        self.dies_at(point, async |_: &Stack| browser.open(callback).await)
            .await?;
        self.restarts(point, Stack::weir_command).await?;
        let path = format!("/v1/connect-sessions/{}", id_of(&session)?);
        let ended = until("the session's end", async || {
            let session = self.stack.api.get(&path).await?.expect(200)?;
            Ok((session["status"] != "pending").then_some(session))
        })
        .await?;
        // Without the platform's response on disk it is unknown whether the code was used.
        let is_undone = matches!(point, "connect.taken" | "connect.answered");
        if is_undone {
            ensure!(
                ended["status"] == "failed" && ended["problem"]["code"] == "connect_interrupted",
                "the session ended as {ended:#}"
            );
            let left = self.channel_of(&account).await?;
            ensure!(left.is_none(), "a channel was left: {left:?}");
            self.stack.connect(&account).await?;
        } else {
            ensure!(ended["status"] == "succeeded", "the session ended as {ended:#}");
            until("the webhook to be checked", async || {
                Ok((self.calls(is_webhook).await? > looked).then_some(()))
            })
            .await?;
        }
        self.works(&account).await?;
        Ok(if is_undone {
            "undone, and connected again".into()
        } else {
            "finished".into()
        })
    }

    /// The host's token works at the platform, or the channel requests a new consent and gets it.
    pub(super) async fn refresh(&mut self, point: &str) -> anyhow::Result<String> {
        if point != "refresh.answered" {
            self.renewed(point, usize::from(point == "refresh.begun")).await?;
            return Ok("finished, renewed once".into());
        }
        // If the old token is still valid, it is renewed again.
        self.stack.phone.set(json!({"rotate_refresh_tokens": false})).await?;
        self.renewed(point, 2).await?;
        // If the response invalidated it, no valid token is left: only a new consent helps.
        self.stack.phone.set(json!({"rotate_refresh_tokens": true})).await?;
        self.renewal_dies(point).await?;
        let path = format!("/v1/channels/{}", self.channel);
        until("a new consent to be requested", async || {
            let channel = self.stack.api.get(&path).await?.expect(200)?;
            Ok((channel["status"] == "reauthorization_required").then_some(()))
        })
        .await?;
        let session = self.stack.api.post(&format!("{path}/reauthorize"), json!({})).await?;
        let session = session.expect(201)?;
        let url = session["url"].as_str().context("the session has no URL")?;
        let mut browser = Browser::new(self.stack.client().clone());
        browser.consent(url, ACCOUNT, "allow").await?;
        self.works(ACCOUNT).await?;
        Ok("renewed again; a used token requires a new consent".into())
    }

    /// A renewal during which Weir dies, and the renewals of the next start.
    async fn renewed(&mut self, point: &str, after: usize) -> anyhow::Result<()> {
        let before = self.renewal_dies(point).await?;
        until("the renewal", async || {
            Ok((self.calls(|api| api == "refresh").await? >= before + after).then_some(()))
        })
        .await?;
        self.works(ACCOUNT).await?;
        let renewed = self.calls(|api| api == "refresh").await? - before;
        ensure!(renewed == after, "the start renewed it {renewed} times, not {after}");
        // The host has the newest token: the platform accepts no other.
        let path = format!("/v1/channels/{}/refresh", self.channel);
        let channel = self.stack.api.post(&path, json!({})).await?.expect(200)?;
        ensure!(channel["status"] == "connected", "the channel is {channel:#}");
        Ok(())
    }

    /// Returns the number of the platform's renewals when Weir was dead.
    async fn renewal_dies(&mut self, point: &str) -> anyhow::Result<usize> {
        let path = format!("/v1/channels/{}/refresh", self.channel);
        self.dies_at(point, async |stack: &Stack| stack.api.post(&path, json!({})).await)
            .await?;
        let refreshes = self.calls(|api| api == "refresh").await?;
        self.restarts(point, Stack::weir_command).await?;
        Ok(refreshes)
    }

    /// No file contains data of the erased person.
    pub(super) async fn erase(&mut self, point: &str) -> anyhow::Result<String> {
        let name = format!("canary_{}", self.number);
        let words = format!("{name}-wrote-this");
        let order = json!({"username": name, "display_name": format!("{name}-shown"), "country": "ID"});
        self.stack.phone.order("people", order).await?;
        let phone = self.stack.phone.of(&name);
        let written = phone.writes(&words).await?;
        let picture = phone.does("write", json!({"type": "image"})).await?;
        let (contact, file) = until("the text and the picture", async || {
            let page = self.stack.api.get("/v1/conversations?limit=200").await?.expect(200)?;
            for row in page["data"].as_array().context("no list")? {
                let page = format!("/v1/conversations/{}/messages?limit=200", id_of(row)?);
                let page = self.stack.api.get(&page).await?.expect(200)?;
                let rows = page["data"].as_array().context("no list")?;
                let found = |written: &Value| rows.iter().find(|row| row["platform_id"] == written["message_id"]);
                let (Some(_), Some(picture)) = (found(&written), found(&picture)) else {
                    continue;
                };
                if picture["content"]["media"]["status"] == "stored" {
                    let contact = text(&picture["contact_id"]).context("the message has no contact")?;
                    return Ok(Some((contact, id_of(&picture["content"]["media"])?)));
                }
            }
            Ok(None)
        })
        .await?;
        let file = self.data.join("media").join(file);
        ensure!(file.is_file(), "the picture is not at {}", file.display());
        ensure!(!self.holding(&name)?.is_empty(), "{name} is nowhere");
        let path = format!("/v1/contacts/{contact}/erase");
        self.dies_at(point, async |stack: &Stack| {
            stack.api.send(stack.api.request(Method::POST, &path)).await
        })
        .await?;
        self.restarts(point, Stack::weir_command).await?;
        let gone = self.stack.api.get(&format!("/v1/contacts/{contact}")).await?;
        ensure!(gone.status == 404, "the contact is there: {:#}", gone.body);
        until("every byte to be gone", async || {
            Ok((!file.exists() && self.holding(&name)?.is_empty()).then_some(()))
        })
        .await
        .with_context(|| format!("{name} is in {:?}", self.holding(&name)))?;
        self.works(ACCOUNT).await?;
        Ok("finished".into())
    }

    /// The files of the data directory that contain a text.
    fn holding(&self, text: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.data.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // A file that is removed meanwhile does not count.
                let bytes = std::fs::read(&path).unwrap_or_default();
                if !path.ends_with("sandbox.log") && bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// The version is staged, or no trace of it is left and it can be installed.
    pub(super) async fn install(&mut self, point: &str) -> anyhow::Result<String> {
        let folder = self.folder("install");
        std::fs::create_dir_all(&folder)?;
        self.stack.kill_weir().await?;
        self.stack.move_to(&folder);
        let component = self.stack.binaries().connector("echo")?;
        self.dies_at(point, async |stack: &Stack| {
            let request = stack.api.request(Method::POST, "/v1/connectors");
            let request = request.header("content-type", "application/wasm").body(component);
            stack.api.send(request).await
        })
        .await?;
        self.restarts(point, Stack::weir_command).await?;
        let staged = self.stack.api.get("/v1/connectors").await?.expect(200)?;
        let staged = staged["data"].as_array().context("no list")?.len();
        let right = usize::from(point == "install.recorded");
        ensure!(staged == right, "{staged} versions are staged");
        self.stack.install("echo").await?;
        self.go_home().await?;
        Ok(if right == 1 {
            "finished"
        } else {
            "undone, and installed again"
        }
        .into())
    }

    /// The copy is complete, or does not exist and can be made.
    pub(super) async fn backup(&mut self, point: &str) -> anyhow::Result<String> {
        let to = self.folder("backup");
        let copy = || {
            let mut command = self.stack.binaries().command("weir");
            command.args(["--json", "backup"]).arg(&to).env("WEIR_DATA", &self.data);
            command
        };
        dies(copy(), point).await?;
        let is_there = to.exists();
        ensure!(
            is_there == (point == "backup.moved"),
            "whether the copy is there: {is_there}"
        );
        if !is_there {
            let left = to.with_extension("incomplete");
            ensure!(left.exists(), "nothing was started at {}", left.display());
            // Once every file of it is on disk, only its final name is missing.
            if point != "backup.complete" {
                let mut weir = self.stack.weir_command();
                weir.env("WEIR_DATA", &left).env("WEIR_LISTEN", "127.0.0.1:0");
                weir.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
                let started = tokio::time::timeout(PATIENCE, weir.status()).await;
                let started = started.context("a host runs on a copy that is not complete")??;
                ensure!(!started.success(), "a host ran on a copy that is not complete");
            }
            let again = copy().output().await?;
            ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
            ensure!(!left.exists(), "{} was left", left.display());
        }
        // A host starts on the copy.
        std::fs::copy(self.data.join("master.key"), to.join("master.key"))?;
        self.stack.kill_weir().await?;
        self.stack.start_weir_on(&to).await?;
        self.works(ACCOUNT).await?;
        self.go_home().await?;
        self.works(ACCOUNT).await?;
        Ok(if is_there {
            "complete"
        } else {
            "not there, and made again"
        }
        .into())
    }

    /// The database opens in the newest schema, with all of its data.
    pub(super) async fn migrate(&mut self, point: &str) -> anyhow::Result<String> {
        let folder = self.folder("migration");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("master.key"), OLDEST_KEY)?;
        let record = folder.join("weir.db");
        rusqlite::Connection::open(&record)?.execute_batch(&std::fs::read_to_string(OLDEST)?)?;
        self.stack.kill_weir().await?;
        self.stack.move_to(&folder);
        // The app in the database may reach the real platform, so Weir would refuse a clock other than the system's.
        let by_the_systems_clock = |stack: &Stack| {
            let mut weir = stack.weir_command();
            weir.env_remove("WEIR_CLOCK");
            weir
        };
        dies(by_the_systems_clock(&self.stack), point).await?;
        let schema = || -> anyhow::Result<i64> {
            let record = rusqlite::Connection::open(&record)?;
            Ok(record.pragma_query_value(None, "user_version", |row| row.get(0))?)
        };
        let is_undone = schema()? == 1;
        self.restarts(point, by_the_systems_clock).await?;
        ensure!(schema()? > 1, "the database was not migrated");
        self.stack.install("echo").await?;
        let api = &self.stack.api;
        api.get("/readyz").await?.expect(200)?;
        let page = api.get("/v1/conversations").await?.expect(200)?;
        let rows = page["data"].as_array().context("no list")?;
        ensure!(rows.len() == 1, "{} conversations", rows.len());
        let path = format!("/v1/conversations/{}/messages", id_of(&rows[0])?);
        let page = api.get(&path).await?.expect(200)?;
        let messages = page["data"].as_array().context("no list")?.len();
        ensure!(messages == OLDEST_MESSAGES, "{messages} messages");
        let body = json!({"content": {"type": "text", "text": "after the upgrade"}});
        // By the database, the contact's last message is years old.
        let refused = api.post(&path, body).await?;
        let code = refused.problem(409)?;
        ensure!(code == "reply_window_closed", "{:#}", refused.body);
        self.go_home().await?;
        Ok(if is_undone {
            "undone, and made again"
        } else {
            "finished"
        }
        .into())
    }

    /// An unused directory next to the data directory.
    fn folder(&self, act: &str) -> PathBuf {
        self.data.with_file_name(format!("{act}-{}", self.number))
    }
}
