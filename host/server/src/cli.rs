//! The command line: `weir`. `serve` is the host; most other commands call the API of a running one.
//!
//! Guarantees: one line for each failure, which includes the fix; exit codes for scripts ([`Exit`]); and `--json` for
//! every command: the API's own documents, one per line in lists and streams.

mod app;
mod audit;
mod backup;
mod channel;
mod client;
mod connector;
mod dead_letter;
mod doctor;
mod events;
mod folder;
mod key;
mod moving;
mod nodes;
mod output;
mod reseal;
mod rollout;
mod send;
mod serve;
mod source;
mod sse;
mod why;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use client::Client;
use output::Output;
use weir_domain::limits;

use crate::core::config::{Config, ConfigError};

const EXIT_CODES: &str = "Exit codes:\n  \
    0  success\n  \
    1  failure\n  \
    2  invalid command line or configuration\n  \
    3  refused: by a policy, a conflict or an invalid value; `connector replay`: calls differ\n  \
    4  the host, the platform or a connector is unreachable or unavailable";

/// A self-hosted host for messaging-channel connectors
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_long_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Common {
    /// URL of the host
    #[arg(
        long,
        global = true,
        env = "WEIR_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    url: String,
    /// API key (default for a host on this machine: its admin.key file)
    #[arg(long, global = true, env = "WEIR_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// Print JSON instead of tables, one document per line
    #[arg(long, global = true)]
    json: bool,
    /// Path to the configuration file (default: weir.toml in the current directory, if it exists)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Common {
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref(), |name| std::env::var(name).ok())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host
    Serve,
    /// Manage platform app credentials
    #[command(subcommand)]
    App(app::App),
    /// Connect and inspect channels
    #[command(subcommand)]
    Channel(channel::Channel),
    /// Send a message to a conversation
    Send(send::Send),
    /// Stream events
    #[command(subcommand)]
    Events(events::Events),
    /// Install connectors and roll out their versions
    #[command(subcommand)]
    Connector(connector::Connector),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Create, list and remove workspaces
    #[command(subcommand)]
    Workspace(workspace::Workspace),
    /// List, replay and delete webhooks that could not be processed
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetter),
    /// Back up the data directory of a host on this machine, while it runs
    Backup {
        /// Directory to create; a host can be started on it
        #[arg(value_name = "DIRECTORY")]
        to: PathBuf,
    },
    /// Re-encrypt the stored secrets with a new master key (the host must be stopped)
    Reseal {
        /// New master key, 32 bytes in hex or base64 (default: generated and stored in the data directory)
        #[arg(long, env = "WEIR_NEW_MASTER_KEY", hide_env_values = true, value_name = "KEY")]
        new: Option<String>,
    },
    /// Move the database to PostgreSQL, or back to SQLite (the host must be stopped)
    Move(moving::Move),
    /// Show the audit log
    Audit(audit::Audit),
    /// List the nodes: the hosts that use the database
    Nodes,
    /// Check the configuration, the data directory and the running host
    Doctor,
    /// Explain a refusal, or show the delivery attempts of a message
    Why {
        /// Refusal ID (rfs_…) or message ID (msg_…)
        id: String,
    },
    /// Compile the component on standard input; the host runs this in a separate process
    #[command(hide = true)]
    Compile {
        /// CPU time limit, in seconds
        #[arg(long, default_value_t = limits::COMPILE_CPU.as_secs())]
        cpu_seconds: u64,
    },
    /// Generate a shell completion script
    Completions {
        /// Shell to generate it for
        shell: clap_complete::Shell,
    },
}

/// The exit code of a command that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Failed = 1,
    /// Clap uses the same for an invalid command line.
    Usage = 2,
    Refused = 3,
    Unreachable = 4,
}

/// Why a command failed, in one line with the fix.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    exit: Exit,
    message: String,
    /// The API's problem document, for `--json`.
    problem: Option<serde_json::Value>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            problem: None,
        }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

type Done = Result<(), Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Compile { cpu_seconds } = cli.command {
        return compile(cpu_seconds);
    }
    let output = Output::new(cli.common.json);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure.message, failure.problem.as_ref());
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Prints nothing but the engine's message on standard error: the host reads it.
fn compile(cpu_seconds: u64) -> ExitCode {
    let (input, code) = (std::io::stdin().lock(), std::io::stdout().lock());
    match weir_runtime::compile_here(Duration::from_secs(cpu_seconds), input, code) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprint!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, output: &Output) -> Done {
    if let Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "weir", &mut std::io::stdout());
        return Ok(());
    }
    let mut runtime = match cli.command {
        Command::Serve => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the async runtime: {error}")))?;
    runtime.block_on(dispatch(cli, output))
}

async fn dispatch(cli: Cli, output: &Output) -> Done {
    let common = &cli.common;
    let client = || Client::new(common);
    match cli.command {
        Command::Serve => serve::run(common, output).await,
        Command::App(verb) => verb.run(&client()?, output).await,
        Command::Channel(verb) => verb.run(&client()?, output).await,
        Command::Send(send) => send.run(&client()?, output).await,
        Command::Events(verb) => verb.run(&client()?, output).await,
        Command::Connector(verb) => verb.run(common, output).await,
        Command::Key(verb) => verb.run(&client()?, output).await,
        Command::Workspace(verb) => verb.run(&client()?, output).await,
        Command::DeadLetter(verb) => verb.run(&client()?, output).await,
        Command::Backup { to } => backup::run(common, output, &to),
        Command::Reseal { new } => reseal::run(common, output, new),
        Command::Move(to) => to.run(common, output),
        Command::Audit(audit) => audit.run(&client()?, output).await,
        Command::Nodes => nodes::run(&client()?, output).await,
        Command::Doctor => doctor::run(common, output).await,
        Command::Why { id } => why::run(&client()?, output, &id).await,
        // Handled before the runtime was started.
        Command::Completions { .. } | Command::Compile { .. } => Ok(()),
    }
}

/// The result of a command that ran checks.
fn checked(failed: u32) -> Done {
    match failed {
        0 => Ok(()),
        1 => Err(Failure::failed("1 check failed")),
        _ => Err(Failure::failed(format!("{failed} checks failed"))),
    }
}

/// Splits `name=value`, as clap's value parser.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_is_in_the_documentation() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).expect("docs/cli.md");
        let missing: Vec<_> = verbs(&Cli::command(), "weir")
            .into_iter()
            .filter(|verb| !text.contains(verb))
            .collect();
        assert!(missing.is_empty(), "docs/cli.md lacks {missing:?}");
    }

    #[test]
    fn the_exit_codes_are_documented() {
        let text = include_str!("../../../docs/cli.md");
        for exit in [Exit::Failed, Exit::Usage, Exit::Refused, Exit::Unreachable].map(|exit| exit as u8) {
            assert!(text.contains(&format!("\n| {exit} | ")), "docs/cli.md lacks {exit}");
            assert!(EXIT_CODES.contains(&format!("\n  {exit}  ")), "--help lacks {exit}");
        }
    }

    fn verbs(command: &clap::Command, path: &str) -> Vec<String> {
        command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .flat_map(|verb| {
                let path = format!("{path} {}", verb.get_name());
                let below = verbs(verb, &path);
                if below.is_empty() { vec![path] } else { below }
            })
            .collect()
    }

    #[test]
    fn the_help_says_what_the_exit_codes_mean() {
        let help = Cli::command().render_long_help().to_string();
        for exit in [Exit::Failed, Exit::Usage, Exit::Refused, Exit::Unreachable] {
            assert!(help.contains(&format!("\n  {}  ", exit as u8)), "{help}");
        }
    }
}
