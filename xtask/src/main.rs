//! The chores of this repository: `cargo xtask demo | test | build | build-connectors`.
#![forbid(unsafe_code)]

mod build;
mod demo;
mod script;
mod show;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Weir's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Start TikTok's sandbox and Weir, connect an account, and say what to open.
    Demo {
        /// Play one scripted conversation instead, print it, and exit 0 only if every step was seen.
        #[arg(long)]
        once: bool,
        /// Where Weir keeps its record; a fresh folder under `target` if none is given.
        #[arg(long)]
        data: Option<std::path::PathBuf>,
    },
    /// Run everything that CI runs.
    Test,
    /// Build the programs and the connectors.
    Build,
    /// Build the connectors into `target/connectors`.
    BuildConnectors,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Demo { once, data } => build::everything().and_then(|()| demo::run(once, data)),
        Chore::Test => test::run(),
        Chore::Build => build::everything(),
        Chore::BuildConnectors => build::connectors(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{} {error:#}", show::bad("✗"));
            ExitCode::FAILURE
        }
    }
}
