//! The sandbox as a command: serves until Ctrl-C.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use tiktok_sandbox::clock::Timestamp;
use tiktok_sandbox::{Config, Sandbox};

/// TikTok's Business Messaging API on this machine, with a phone page for sending messages.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; a loopback address.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Generates every id: the same seed, the same ids.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The secret of the default app 7000000000000000001.
    #[arg(
        long,
        env = "TIKTOK_SANDBOX_CLIENT_SECRET",
        default_value = "sandbox-client-secret",
        hide_env_values = true
    )]
    client_secret: String,
    /// The default app's redirect URI; default: any loopback address.
    #[arg(long)]
    redirect_uri: Option<String>,
    /// The virtual time at the start in milliseconds since 1970; default: the system's.
    #[arg(long)]
    start: Option<i64>,
    /// Stop the virtual clock; it changes only when it is advanced.
    #[arg(long)]
    stopped: bool,
    /// Print only errors.
    #[arg(long)]
    quiet: bool,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a command prints its output")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = Config {
        listen: arguments.listen,
        seed: arguments.seed,
        client_secret: arguments.client_secret,
        redirect_uri: arguments.redirect_uri,
        start: arguments.start.map(Timestamp::from_ms),
        stopped: arguments.stopped,
    };
    let sandbox = match Sandbox::start(config).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            eprintln!("tiktok-sandbox: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if !arguments.quiet {
        println!(
            "TikTok's sandbox is running; the phone is at {}/phone",
            sandbox.origin()
        );
    }
    let ended = tokio::signal::ctrl_c().await;
    sandbox.shutdown().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tiktok-sandbox: cannot listen for Ctrl-C: {error}");
            ExitCode::FAILURE
        }
    }
}
