//! The command line: `weir`. `serve` is the host; every other verb speaks to a running one through its API.
//!
//! It promises one sentence with what to do for each failure, exit codes that scripts can rely on ([`Exit`]), and `--json`
//! everywhere: the API's own documents, one a line where they come one by one.

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

const EXIT_CODES: &str = "Exit codes:\n  \
    0  done\n  \
    1  failed\n  \
    2  the command line or the configuration is wrong\n  \
    3  refused: by a rule, by the state of what is there, or for a value; `connector replay`: something differs\n  \
    4  the host, the platform or a connector cannot be reached or does not work now";

/// A self-hosted host for messaging-channel connectors.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_long_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every verb takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Where the host is
    #[arg(
        long,
        global = true,
        env = "WEIR_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    url: String,
    /// API key; for a host on this machine, what its admin.key says if left out
    #[arg(long, global = true, env = "WEIR_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// Print the API's documents instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Configuration file; weir.toml in this folder, if there is one, if left out
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host
    Serve,
    /// Enter platforms' app credentials
    #[command(subcommand)]
    App(app::App),
    /// Connect accounts and look at them
    #[command(subcommand)]
    Channel(channel::Channel),
    /// Send a message into a conversation
    Send(send::Send),
    /// Follow what happens
    #[command(subcommand)]
    Events(events::Events),
    /// Install connectors and let them serve
    #[command(subcommand)]
    Connector(connector::Connector),
    /// Make and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Make and remove workspaces
    #[command(subcommand)]
    Workspace(workspace::Workspace),
    /// Look after webhooks that could not be translated
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetter),
    /// Copy the data folder of a host on this machine, while it runs
    Backup {
        /// A folder that is not there yet; a host can be started on it
        to: PathBuf,
    },
    /// Seal the secrets in the record with another master key; the host must be stopped
    Reseal {
        /// The new key, 32 bytes in hex or base64; made, and kept in the data folder, if left out
        #[arg(long, env = "WEIR_NEW_MASTER_KEY", hide_env_values = true, value_name = "KEY")]
        new: Option<String>,
    },
    /// Show who changed what
    Audit(audit::Audit),
    /// Check everything that a host needs
    Doctor,
    /// Explain a refusal (rfs_…) or what became of a message (msg_…)
    Why {
        /// Its id
        id: String,
    },
    /// Compile the component on standard input, as the host does in a process of its own
    #[command(hide = true)]
    Compile {
        /// Seconds of processor time until it is ended
        #[arg(long, default_value_t = limits::COMPILE_CPU.as_secs())]
        cpu_seconds: u64,
    },
    /// Print completions for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// Something went wrong.
    Failed = 1,
    /// The command line is wrong. Clap uses the same.
    Usage = 2,
    /// A rule said no.
    Refused = 3,
    /// Nobody answers.
    Unreachable = 4,
}

/// Why a command did not do what it was asked, in one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    exit: Exit,
    message: String,
    /// The problem document behind it, for `--json`.
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

/// What the host reads on standard error is the engine's words and nothing else.
fn compile(cpu_seconds: u64) -> ExitCode {
    let (input, code) = (std::io::stdin().lock(), std::io::stdout().lock());
    match weir_runtime::compile_here(Duration::from_secs(cpu_seconds), input, code) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprint!("{words}");
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
        .map_err(|error| Failure::failed(format!("the machine has no room for a runtime: {error}")))?;
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
        Command::Audit(audit) => audit.run(&client()?, output).await,
        Command::Doctor => doctor::run(common, output).await,
        Command::Why { id } => why::run(&client()?, output, &id).await,
        // Answered before there was a runtime.
        Command::Completions { .. } | Command::Compile { .. } => Ok(()),
    }
}

/// Splits `name=value`, as clap's value parser.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
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
