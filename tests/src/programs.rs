//! The built programs: where they are, and one that runs.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::PATIENCE;

/// Where the built programs and components are.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
    connectors: PathBuf,
}

impl Binaries {
    /// Finds them in the `target` directory of the running program: `target/<profile>` and `target/connectors`.
    ///
    /// # Errors
    /// They were not built; the error names the command that builds them.
    pub fn find() -> anyhow::Result<Self> {
        let here = std::env::current_exe().context("the running program has no path")?;
        let folder = here
            .ancestors()
            .skip(1)
            .find(|folder| folder.join("weir").is_file() && folder.join("tiktok-sandbox").is_file())
            .context("`weir` and `tiktok-sandbox` are not built; run `cargo xtask build`")?;
        let connectors = match std::env::var_os("WEIR_CONNECTORS_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => folder.parent().unwrap_or(folder).join("connectors"),
        };
        if !connectors.join("tiktok.wasm").is_file() {
            bail!(
                "{} has no tiktok.wasm; run `cargo xtask build-connectors`",
                connectors.display()
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
            connectors,
        })
    }

    /// Where a program is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The command of a program.
    pub fn command(&self, name: &str) -> Command {
        Command::new(self.path(name))
    }

    /// Where a connector is.
    pub fn connector_path(&self, name: &str) -> PathBuf {
        self.connectors.join(format!("{name}.wasm"))
    }

    /// The bytes of a connector.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn connector(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.connector_path(name);
        std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
    }
}

/// A program that runs; it ends with this value.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    origin: String,
}

impl Program {
    /// Starts a program and waits until it prints the `http://…` address at which it listens. Its later output is
    /// written to `log`.
    ///
    /// # Errors
    /// It ended before it printed its address; the error shows its output.
    pub async fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let errors = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("{} cannot be written", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let output = child.stdout.take().with_context(|| format!("{name} has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let mut printed = String::new();
        let origin = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await? {
                printed.push_str(&line);
                printed.push('\n');
                if let Some(origin) = origin_in(&line) {
                    return Ok(origin);
                }
            }
            let errors = std::fs::read_to_string(log).unwrap_or_default();
            bail!("{name} ended before it could be reached, with the output:\n{printed}{errors}")
        })
        .await
        .with_context(|| format!("{name} did not print its address. Its output:\n{printed}"))??;
        // The rest is read too, so that a full pipe never blocks the program.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            name: name.to_owned(),
            child,
            origin,
        })
    }

    /// Its base URL, without a trailing slash.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it at once, as a power cut would (`SIGKILL`).
    ///
    /// # Errors
    /// It was gone already.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("{} cannot be killed", self.name))
    }

    /// Waits until it has died at the kill point that it was started with.
    ///
    /// # Errors
    /// It did not reach it, or ended otherwise.
    pub async fn dies(mut self) -> anyhow::Result<()> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("{} did not reach its kill point", self.name))??;
        was_killed(status)
    }

    /// Signals it to end, as Ctrl-C would, and waits for it.
    ///
    /// # Errors
    /// It did not end in time, or not well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} is gone already", self.name))?;
        let signaled = Command::new("kill").args(["-INT", &id.to_string()]).status().await?;
        anyhow::ensure!(signaled.success(), "{} could not be signaled to end", self.name);
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("{} did not end", self.name))??;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}

/// Whether a process died at its kill point.
///
/// # Errors
/// It ended otherwise.
pub(crate) fn was_killed(status: ExitStatus) -> anyhow::Result<()> {
    /// What a kill point ends with, and nothing else that Weir does.
    const SIGABRT: i32 = 6;
    anyhow::ensure!(status.signal() == Some(SIGABRT), "not killed at its point: {status}");
    Ok(())
}

/// The first loopback origin in a line of output.
fn origin_in(line: &str) -> Option<String> {
    let begin = line.find("http://127.0.0.1:")?;
    let rest = &line[begin..];
    let end = rest[7..]
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .map_or(rest.len(), |end| end + 7);
    Some(rest[..end].to_owned())
}
