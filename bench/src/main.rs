//! `cargo xtask bench [NAME]…`: measures Weir's cost, prints one line for each row, and writes them into
//! `bench/latest.json`.
//!
//! Wherever possible, a figure is a ratio to a minimal program with the same function, in the same run on the same
//! machine. A row that misses its target prints `short`; it is a figure, not a test, and fails no build.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the lines are what it is for")]

mod bare;
mod boundary;
mod growth;
mod inbound;
mod latency;
mod load;
mod memory;
mod neighbors;
mod nodes;
mod outbound;
mod pacing;
mod record;
mod report;
mod rig;
mod start;
mod swap;

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use report::{Report, Row};

/// Measures Weir's cost.
#[derive(Parser)]
#[command(name = "weir-bench", version)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// The rows to measure, all if none is named.
    names: Vec<String>,
    /// Another release build of `weir`: `inbound` and `outbound` measure it against this one, alternating.
    #[arg(long)]
    against: Option<std::path::PathBuf>,
    /// The file that keeps the newest figures of each row.
    #[arg(long, default_value = "bench/latest.json")]
    write: std::path::PathBuf,
}

#[derive(Subcommand)]
enum Part {
    /// The bare webhook handler that `inbound` is compared with.
    #[command(hide = true)]
    BareHandler {
        /// The path of its database.
        #[arg(long)]
        data: std::path::PathBuf,
    },
}

/// The rows, in the order in which they are measured.
const ROWS: [&str; 11] = [
    "boundary",
    "inbound",
    "outbound",
    "pacing",
    "latency",
    "memory",
    "start",
    "swap",
    "neighbors",
    "growth",
    "nodes",
];

/// The least ratio to another build that is not worse: what two runs of one build differ by.
const NOT_WORSE: f64 = 0.97;

async fn measure(name: &str, against: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let row = match name {
        "boundary" => boundary::measure().await,
        "inbound" => return inbound::measure(against).await,
        "outbound" => return outbound::measure(against).await,
        "pacing" => pacing::measure().await,
        "latency" => latency::measure().await,
        "memory" => memory::measure().await,
        "start" => start::measure().await,
        "swap" => swap::measure().await,
        "neighbors" => neighbors::measure().await,
        "growth" => growth::measure().await,
        "nodes" => nodes::measure().await,
        _ => anyhow::bail!("there is no row {name:?}; there are {}", ROWS.join(", ")),
    };
    Ok(vec![row?])
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Part::BareHandler { data }) = arguments.part {
        return bare::serve(&data).await;
    }
    let names: Vec<&str> = if arguments.names.is_empty() {
        ROWS.to_vec()
    } else {
        arguments.names.iter().map(String::as_str).collect()
    };
    for name in &names {
        ensure!(
            ROWS.contains(name),
            "there is no row {name:?}; there are {}",
            ROWS.join(", ")
        );
    }
    let mut report = Report::read(&arguments.write);
    for name in names {
        for row in measure(name, arguments.against.as_deref()).await? {
            println!("{row}");
            report.put(row);
        }
        // After each row, so that a run that is broken off keeps what it measured.
        report.write(&arguments.write)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
