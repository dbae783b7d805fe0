//! The complete setup: TikTok's sandbox, Weir on SQLite, the connector installed and granted, an account connected.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Api, Binaries, Browser, Events, Phone, Program};

/// The app that everything is connected through.
pub const APP: &str = "tiktok";

/// The business account that is connected, and the person who writes to it.
const ACCOUNT: &str = "acme_store";
const PERSON: &str = "jane_doe";

/// The variable that names the kill point at which a build with debug assertions dies.
pub(crate) const KILL_AT: &str = "WEIR_KILL_AT";

const CLIENT_KEY: &str = "7000000000000000001";
pub(crate) const CLIENT_SECRET: &str = "sandbox-client-secret";
const ADMIN_KEY: &str = "weir_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// How the programs are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Weir's data directory; created if missing.
    pub data: PathBuf,
    /// The seed of the sandbox's ids.
    pub seed: u64,
    /// The sandbox's virtual time at the start, in milliseconds; the system's if none.
    pub start_ms: Option<i64>,
    /// Whether that time advances only on request.
    pub stopped: bool,
    /// The ports of sandbox and Weir; free ones if 0.
    pub ports: (u16, u16),
    /// Weir's configuration file.
    pub config: Option<PathBuf>,
    /// More of Weir's environment.
    pub env: Vec<(String, String)>,
    /// A command that runs the command in its arguments; Weir is started through it.
    pub weir_through: Vec<String>,
    /// Another build of Weir; by default the one in the running program's directory.
    pub weir: Option<PathBuf>,
}

impl Options {
    /// With everything in `data`.
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            seed: 1,
            start_ms: None,
            stopped: false,
            ports: (0, 0),
            config: None,
            env: Vec::new(),
            weir_through: Vec::new(),
            weir: None,
        }
    }
}

/// The running programs.
#[derive(Debug)]
pub struct Stack {
    /// TikTok's sandbox.
    pub sandbox: Program,
    /// Weir; none while it is down.
    pub weir: Option<Program>,
    /// The operator's side.
    pub api: Api,
    /// The customer's side.
    pub phone: Phone,
    binaries: Binaries,
    options: Options,
    client: reqwest::Client,
    port: u16,
}

impl Stack {
    /// Starts sandbox and Weir in a folder of their own, installs and grants the TikTok connector, and connects the
    /// account.
    ///
    /// # Errors
    /// Any step failed.
    pub async fn connected(data: &Path) -> anyhow::Result<(Self, Value)> {
        let stack = Self::start(Options::new(data)).await?;
        stack.install("tiktok").await?;
        stack.put_app().await?;
        let channel = stack.connect(ACCOUNT).await?;
        Ok((stack, channel))
    }

    /// Starts sandbox and Weir, and nothing more.
    ///
    /// # Errors
    /// A program cannot be started.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let mut stack = Self::start_sandbox(options).await?;
        stack.start_weir().await?;
        Ok(stack)
    }

    /// Starts the sandbox alone; where Weir will be is known.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_sandbox(options: Options) -> anyhow::Result<Self> {
        let binaries = Binaries::find()?;
        std::fs::create_dir_all(&options.data).with_context(|| format!("{} cannot be made", options.data.display()))?;
        let mut command = binaries.command("tiktok-sandbox");
        command.args([
            "--listen",
            &format!("127.0.0.1:{}", options.ports.0),
            "--client-secret",
            CLIENT_SECRET,
        ]);
        command.args(["--seed", &options.seed.to_string()]);
        if let Some(start) = options.start_ms {
            command.args(["--start", &start.to_string()]);
        }
        if options.stopped {
            command.arg("--stopped");
        }
        let sandbox = Program::start("tiktok-sandbox", &mut command, &options.data.join("sandbox.log")).await?;
        let port = if options.ports.1 == 0 {
            free_port()?
        } else {
            options.ports.1
        };
        // No redirects and no proxy: tests see each response as it was sent.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let origin = format!("http://127.0.0.1:{port}");
        let api = Api::new(client.clone(), &origin, ADMIN_KEY);
        let phone = Phone::new(client.clone(), sandbox.origin(), ACCOUNT, PERSON);
        Ok(Self {
            sandbox,
            weir: None,
            api,
            phone,
            binaries,
            options,
            client,
            port,
        })
    }

    /// Starts Weir on the same database as before.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_weir(&mut self) -> anyhow::Result<()> {
        let command = self.weir_command();
        self.run_weir(command).await
    }

    /// Starts Weir so that it dies at a kill point.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_weir_until(&mut self, point: &str) -> anyhow::Result<()> {
        let mut command = self.weir_command();
        command.env(KILL_AT, point);
        self.run_weir(command).await
    }

    /// Starts Weir by this command, which [`Self::weir_command`] returned.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn run_weir(&mut self, mut command: Command) -> anyhow::Result<()> {
        self.weir = Some(Program::start("weir", &mut command, &self.options.data.join("weir.log")).await?);
        Ok(())
    }

    /// The command that starts Weir on its database.
    pub fn weir_command(&self) -> Command {
        let origin = format!("http://127.0.0.1:{}", self.port);
        let weir = self.options.weir.clone();
        let weir = weir.unwrap_or_else(|| self.binaries.path("weir"));
        let mut command = match self.options.weir_through.split_first() {
            None => Command::new(weir),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(weir);
                command
            }
        };
        command
            .arg("serve")
            .args(
                self.options
                    .config
                    .iter()
                    .flat_map(|path| ["--config".as_ref(), path.as_os_str()]),
            )
            .env("WEIR_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("WEIR_PUBLIC_URL", &origin)
            .env("WEIR_DATA", &self.options.data)
            .env("WEIR_ADMIN_KEY", ADMIN_KEY)
            .env("WEIR_CLOCK", format!("{}/control/clock", self.sandbox.origin()))
            .envs(self.options.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts Weir on another data directory, and uses that for all later starts.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_weir_on(&mut self, data: &Path) -> anyhow::Result<()> {
        self.move_to(data);
        self.start_weir().await
    }

    /// Sets the data directory of Weir's next starts.
    pub fn move_to(&mut self, data: &Path) {
        data.clone_into(&mut self.options.data);
    }

    /// Ends Weir as a power cut would.
    ///
    /// # Errors
    /// It was not running.
    pub async fn kill_weir(&mut self) -> anyhow::Result<()> {
        self.weir.take().context("weir is not running")?.kill().await
    }

    /// Ends Weir as Ctrl-C would.
    ///
    /// # Errors
    /// It was not running, or did not end well.
    pub async fn stop_weir(&mut self) -> anyhow::Result<()> {
        self.weir.take().context("weir is not running")?.stop().await
    }

    /// Ends everything as Ctrl-C would.
    ///
    /// # Errors
    /// A program did not end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(weir) = self.weir.take() {
            weir.stop().await?;
        }
        self.sandbox.stop().await
    }

    /// The built programs and components.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Whether the sandbox's clock advances only on request.
    pub fn is_stopped(&self) -> bool {
        self.options.stopped
    }

    /// The port at which Weir is reached.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Weir's data directory.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    /// A plain HTTP client without a key.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Installs a connector, grants all of its requests, and makes it active. Returns the staged version as the API
    /// showed it.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn install(&self, name: &str) -> anyhow::Result<Value> {
        let staged = self.stage(name).await?;
        let version = staged["version"].as_str().context("the version has no number")?;
        self.api
            .post(&format!("/v1/connectors/{name}/versions/{version}/promote"), json!({}))
            .await?
            .expect(200)?;
        Ok(staged)
    }

    /// Installs a connector and grants all of its requests. Returns the staged version as the API showed it.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn stage(&self, component: &str) -> anyhow::Result<Value> {
        let bytes = self.binaries.connector(component)?;
        let request = self.api.request(reqwest::Method::POST, "/v1/connectors");
        let staged = self
            .api
            .send(request.header("content-type", "application/wasm").body(bytes))
            .await?
            .expect(201)?;
        let grants = json!({"version": staged["version"], "grants": staged["wanted_grants"]});
        let name = staged["name"].as_str().context("the version has no name")?;
        self.api
            .put(&format!("/v1/connectors/{name}/grants"), grants)
            .await?
            .expect(200)?;
        Ok(staged)
    }

    /// Registers the app, with TikTok's origins mapped to the sandbox.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn put_app(&self) -> anyhow::Result<Value> {
        self.put_app_with(json!({})).await
    }

    /// As [`Self::put_app`], with settings.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn put_app_with(&self, settings: Value) -> anyhow::Result<Value> {
        let sandbox = self.sandbox.origin();
        let app = json!({
            "connector": "tiktok",
            "settings": settings,
            "secrets": {"client_key": CLIENT_KEY, "client_secret": CLIENT_SECRET},
            "origins": {"https://business-api.tiktok.com": sandbox, "https://www.tiktok.com": sandbox},
        });
        self.api.put(&format!("/v1/apps/{APP}"), app).await?.expect(200)
    }

    /// Connects an account through the whole OAuth flow, as its owner would in a browser.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn connect(&self, account: &str) -> anyhow::Result<Value> {
        let session = self
            .api
            .post("/v1/connect-sessions", json!({"app": APP}))
            .await?
            .expect(201)?;
        let url = session["url"].as_str().context("the connect session has no URL")?;
        let (at, status, page) = Browser::new(self.client.clone()).consent(url, account, "allow").await?;
        ensure!(status == 200, "the browser ended at {at} with {status}: {page}");
        let path = format!(
            "/v1/connect-sessions/{}",
            session["id"].as_str().context("the session has no id")?
        );
        let ended = self.api.get(&path).await?.expect(200)?;
        ensure!(ended["status"] == "succeeded", "the session ended as {ended:#}");
        let channel = ended["channel_id"].as_str().context("the session has no channel")?;
        self.api.get(&format!("/v1/channels/{channel}")).await?.expect(200)
    }

    /// Advances the virtual clock, and waits until Weir has adopted it.
    ///
    /// # Errors
    /// The sandbox refuses, or Weir does not adopt the time.
    pub async fn time_passes(&self, ms: u64) -> anyhow::Result<()> {
        let clock = self.phone.order("clock/advance", json!({"ms": ms})).await?;
        self.clock_reaches(clock["now_ms"].as_i64().context("the clock has no time")?)
            .await
    }

    /// Waits until Weir's clock has reached this moment.
    ///
    /// # Errors
    /// It does not.
    async fn clock_reaches(&self, now_ms: i64) -> anyhow::Result<()> {
        crate::until("the followed clock", async || {
            let health = self.api.get("/healthz").await?.expect(200)?;
            Ok((health["now_ms"].as_i64().context("/healthz has no now_ms")? >= now_ms).then_some(()))
        })
        .await
    }

    /// The customer writes; returns the event that reports it to the operator.
    ///
    /// # Errors
    /// The event does not come.
    pub async fn receives(&self, events: &mut Events, text: &str) -> anyhow::Result<Value> {
        self.phone.writes(text).await?;
        events
            .wait_where("message.received", |event| event["data"]["content"]["text"] == text)
            .await
    }
}

/// A port that no process listens on now.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
