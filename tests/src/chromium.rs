//! A real browser, driven by WebDriver (W3C) over plain HTTP: Debian's Chromium, without a window.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{PATIENCE, until};

/// The member under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// WebDriver's code of Enter.
pub const ENTER: &str = "\u{e007}";
/// WebDriver's code of Tab.
pub const TAB: &str = "\u{e004}";
/// WebDriver's code of Escape.
pub const ESCAPE: &str = "\u{e00c}";

/// Runs in every page before its own scripts and records injected code that ran and violations of the page's policy.
const WITNESS: &str = "
    window.ran = []; window.stopped = [];
    for (const name of ['alert', 'confirm', 'prompt', 'print']) window[name] = (words) => { window.ran.push(`${name} ${words}`); };
    addEventListener('securitypolicyviolation', (event) => window.stopped.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
    addEventListener('error', (event) => window.ran.push(`error ${event.message}`));
    addEventListener('unhandledrejection', (event) => window.ran.push(`rejection ${event.reason}`));";

/// A browser with a profile of its own; it is closed when this value is dropped.
#[derive(Debug)]
pub struct Chromium {
    client: reqwest::Client,
    session: String,
    /// The process of the browser, which outlives its driver when that is killed.
    process: u64,
    _driver: Child,
    _profile: TempDir,
}

impl Chromium {
    /// Starts Chromium with an empty profile.
    ///
    /// # Errors
    /// `chromedriver` or Chromium is not here: `cargo xtask test` installs them.
    pub async fn start(client: reqwest::Client) -> anyhow::Result<Self> {
        let (driver, port) = driver().await?;
        let profile = TempDir::new()?;
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            // Small containers have a small /dev/shm.
            "--disable-dev-shm-usage".to_owned(),
            "--lang=en-GB".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            // Pages with an event stream are never idle; their scripts signal when they are ready.
            "pageLoadStrategy": "eager",
        }}});
        let origin = format!("http://127.0.0.1:{port}");
        let made = call(&client, Method::POST, &format!("{origin}/session"), Some(wanted)).await?;
        let id = made["sessionId"].as_str().context("chromedriver gives no session")?;
        let browser = Self {
            client,
            session: format!("{origin}/session/{id}"),
            process: made["capabilities"]["goog:processID"]
                .as_u64()
                .context("chromedriver names no process")?,
            _driver: driver,
            _profile: profile,
        };
        browser
            .devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WITNESS }))
            .await?;
        browser.looks(1280, 860, "light").await?;
        Ok(browser)
    }

    /// Opens a page.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        self.command("/url", json!({ "url": url })).await.map(|_| ())
    }

    /// Sets the window's size and the theme, `light` or `dark`.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn looks(&self, width: u32, height: u32, theme: &str) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        // Without animations a screenshot never shows a transitional color.
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.devtools("Emulation.setEmulatedMedia", features).await
    }

    /// Runs a script in the page and gives what it returns.
    ///
    /// # Errors
    /// The script throws.
    pub async fn script(&self, script: &str, arguments: Value) -> anyhow::Result<Value> {
        self.command("/execute/sync", json!({"script": script, "args": arguments}))
            .await
    }

    /// Runs a script that returns its result by calling its last argument.
    ///
    /// # Errors
    /// It throws, or never calls.
    pub async fn script_later(&self, script: &str, arguments: Value) -> anyhow::Result<Value> {
        self.command("/execute/async", json!({"script": script, "args": arguments}))
            .await
    }

    /// Waits until an expression about the page is true.
    ///
    /// # Errors
    /// It does not become true; the error shows the page's text.
    pub async fn holds(&self, expression: &str) -> anyhow::Result<()> {
        let script = format!("return Boolean({expression})");
        let held = until(expression, async || {
            Ok(self.script(&script, json!([])).await?.as_bool().filter(|held| *held))
        })
        .await;
        match held {
            Ok(_) => Ok(()),
            Err(error) => {
                let text = self.script("return document.body.innerText", json!([])).await?;
                Err(error.context(format!("the page shows: {}", text.as_str().unwrap_or_default())))
            }
        }
    }

    /// Waits until the page shows this text.
    ///
    /// # Errors
    /// As [`Self::holds`].
    pub async fn shows(&self, text: &str) -> anyhow::Result<()> {
        self.holds(&format!("document.body.innerText.includes({})", json!(text)))
            .await
    }

    /// The text of what a selector finds first, once it is there.
    ///
    /// # Errors
    /// There is none.
    pub async fn text(&self, selector: &str) -> anyhow::Result<String> {
        self.holds(&format!("document.querySelector({})", json!(selector)))
            .await?;
        let text = self
            .script(
                "return document.querySelector(arguments[0]).textContent",
                json!([selector]),
            )
            .await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks what a selector finds first, as a person would.
    ///
    /// # Errors
    /// It is missing, or another element covers it.
    pub async fn click(&self, selector: &str) -> anyhow::Result<()> {
        self.click_found("css selector", selector).await
    }

    /// Clicks the button or link with this text.
    ///
    /// # Errors
    /// As [`Self::click`].
    pub async fn press(&self, text: &str) -> anyhow::Result<()> {
        ensure!(!text.contains('"'), "XPath has no way to write that");
        let path = format!("//*[self::button or self::a][normalize-space()=\"{text}\"]");
        self.click_found("xpath", &path).await
    }

    async fn click_found(&self, by: &str, what: &str) -> anyhow::Result<()> {
        // While the page is being built, an element may be replaced between the search and the click.
        until(&format!("a click on {what}"), async || {
            let Ok(found) = self.command("/element", json!({"using": by, "value": what})).await else {
                return Ok(None);
            };
            let id = found[ELEMENT].as_str().unwrap_or_default();
            Ok(self.command(&format!("/element/{id}/click"), json!({})).await.ok())
        })
        .await
        .map(|_| ())
    }

    /// Writes into what a selector finds first; into a file input, a path.
    ///
    /// # Errors
    /// It is not there.
    pub async fn write(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        self.holds(&format!("document.querySelector({})", json!(selector)))
            .await?;
        let found = self
            .command("/element", json!({"using": "css selector", "value": selector}))
            .await?;
        let id = found[ELEMENT].as_str().context("no element")?;
        self.command(&format!("/element/{id}/value"), json!({ "text": text }))
            .await
            .map(|_| ())
    }

    /// Presses keys one after the other, wherever the focus is.
    ///
    /// # Errors
    /// The browser refuses.
    pub async fn keys(&self, keys: &str) -> anyhow::Result<()> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                let key = key.to_string();
                [
                    json!({"type": "keyDown", "value": key}),
                    json!({"type": "keyUp", "value": key}),
                ]
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.command("/actions", actions).await.map(|_| ())
    }

    /// Goes to the page that was opened last, or back to the first one.
    ///
    /// # Errors
    /// There is none.
    pub async fn to_page(&self, which: usize) -> anyhow::Result<()> {
        let handle = until("another page", async || {
            let handles = self.call(Method::GET, "/window/handles", None).await?;
            Ok(handles.get(which).cloned())
        })
        .await?;
        self.command("/window", json!({ "handle": handle })).await.map(|_| ())
    }

    /// Saves a screenshot.
    ///
    /// # Errors
    /// It cannot be taken or written.
    pub async fn screenshot(&self, to: &Path) -> anyhow::Result<()> {
        let picture = self.call(Method::GET, "/screenshot", None).await?;
        let bytes = STANDARD.decode(picture.as_str().unwrap_or_default())?;
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(to, bytes).with_context(|| format!("{} cannot be written", to.display()))
    }

    /// Injected code that ran or was blocked in the page, and resources that it loaded from other origins.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn sins(&self) -> anyhow::Result<Vec<String>> {
        let found = self
            .script(
                "const elsewhere = performance.getEntriesByType('resource').map((it) => it.name)
                     .filter((name) => new URL(name).origin !== location.origin);
                 return [...window.ran, ...window.stopped, ...elsewhere]",
                json!([]),
            )
            .await?;
        Ok(found
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|sin| sin.as_str().map(str::to_owned))
            .collect())
    }

    async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<()> {
        self.command("/goog/cdp/execute", json!({"cmd": command, "params": parameters}))
            .await
            .map(|_| ())
    }

    async fn command(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        call(&self.client, method, &format!("{}{path}", self.session), body).await
    }

    /// Ends the browser.
    ///
    /// # Errors
    /// It does not end.
    pub async fn close(self) -> anyhow::Result<()> {
        self.call(Method::DELETE, "", None).await.map(|_| ())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Gone already, if the test closed it.
        let kill = std::process::Command::new("kill")
            .args(["-KILL", &self.process.to_string()])
            .stderr(Stdio::null())
            .status();
        drop(kill);
    }
}

async fn call(client: &reqwest::Client, method: Method, url: &str, body: Option<Value>) -> anyhow::Result<Value> {
    let request = client.request(method, url);
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let answer = request.send().await?;
    let status = answer.status();
    let mut answer: Value = answer.json().await?;
    ensure!(
        status.is_success(),
        "the browser refuses: {}",
        answer["value"]["message"]
    );
    Ok(answer["value"].take())
}

/// A driver and its port. One that ends before it listens is replaced: it picks its port while other tests open and
/// close theirs, and that failure is not what a test checks.
async fn driver() -> anyhow::Result<(Child, u16)> {
    const STARTS: usize = 3;
    let mut stderr_line = String::new();
    for _ in 0..STARTS {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("chromedriver cannot be started; on Debian: apt-get install chromium chromium-driver")?;
        let output = driver.stdout.take().context("chromedriver has no output")?;
        let errors = driver.stderr.take().context("chromedriver has no error output")?;
        let errors = tokio::spawn(all_of(errors));
        stderr_line.clear();
        let port = tokio::time::timeout(PATIENCE, port_in(output, &mut stderr_line))
            .await
            .context("chromedriver did not print its port in time")??;
        if let Some(port) = port {
            return Ok((driver, port));
        }
        let status = driver.wait().await?;
        stderr_line = format!("{status}, with the output:\n{stderr_line}{}", errors.await?);
    }
    anyhow::bail!("chromedriver ended {STARTS} times without printing its port, the last time with {stderr_line}")
}

/// The port that ChromeDriver prints when it listens, or none if it ends before that; `said` is its output until then.
/// Its later output is not needed.
async fn port_in(output: tokio::process::ChildStdout, stderr_line: &mut String) -> anyhow::Result<Option<u16>> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let port = port.trim_end_matches('.').parse()?;
            // The rest of its output is read too, so that it never blocks.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Some(port));
        }
        stderr_line.push_str(&line);
        stderr_line.push('\n');
    }
    Ok(None)
}

/// A program's error output, read to the end so that the program never blocks; only the first part is kept.
async fn all_of(errors: tokio::process::ChildStderr) -> String {
    const KEPT: usize = 4096;
    let mut stderr_line = String::new();
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if stderr_line.len() < KEPT {
            stderr_line.push_str(&line);
            stderr_line.push('\n');
        }
    }
    stderr_line
}

/// The `target` folder that this program was built in.
///
/// # Errors
/// It is not there.
pub fn target() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|folder| folder.join("connectors").is_dir());
    target.map(Path::to_owned).context("the target folder was not found")
}
