//! The commands of this repository: `cargo xtask demo | crash | bench | test | build | build-connectors`.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod crash;
mod demo;
mod script;
mod show;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Weir's development commands.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Start TikTok's sandbox and Weir, connect an account, and print the links to open.
    Demo {
        /// Play one scripted conversation instead, print it, and exit 0 only if every step was observed.
        #[arg(long)]
        once: bool,
        /// Weir's data directory; by default a new one under `target`.
        #[arg(long)]
        data: Option<std::path::PathBuf>,
        /// The database: `sqlite`, a file in the directory, or `postgres`, a server that ends with the demo.
        #[arg(long, value_enum, default_value_t)]
        store: demo::DemoStore,
        /// Number of hosts that use the database; more than one requires PostgreSQL.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
        nodes: u8,
    },
    /// Repeatedly kill Weir under load, and compare the data of the platform, Weir and the endpoint.
    Crash {
        /// Number of kills, default 10, or of disconnections, default 300.
        #[arg(long)]
        rounds: Option<u32>,
        /// Seed of every choice; default: the time.
        #[arg(long)]
        seed: Option<u64>,
        /// Instead of killing Weir, disconnect: interrupt each kind of state-changing request, and repeat it.
        #[arg(long)]
        hang_ups: bool,
        /// Use the existing programs next to this one instead of building them.
        #[arg(long)]
        built: bool,
        /// Offset Weir's clock from the platform's instead, by seconds and minutes in both directions (R10).
        #[arg(long, conflicts_with_all = ["rounds", "seed", "hang_ups"])]
        skew: bool,
        /// Instead, end Weir at each step of each act, and start it again: the act must be completed or undone (R9).
        #[arg(long, conflicts_with_all = ["rounds", "seed", "hang_ups", "skew"])]
        steps: bool,
        /// Kill, stop or disconnect one of this many nodes on a PostgreSQL instead (R11).
        #[arg(long, conflicts_with_all = ["hang_ups", "skew", "steps"], value_parser = clap::value_parser!(u8).range(1..=8))]
        nodes: Option<u8>,
        /// Print the figures as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Measure the cost of Weir, compared with the simplest program that does the same; see bench/README.md.
    Bench {
        /// The rows to run, default all: boundary, inbound, outbound, pacing, latency, memory, start, swap, neighbors,
        /// growth, nodes.
        names: Vec<String>,
        /// Another release build of `weir`: inbound and outbound alternate between it and this one.
        #[arg(long)]
        against: Option<std::path::PathBuf>,
    },
    /// Load Weir for a while, and report whether its memory and open files grow.
    Soak {
        /// The duration.
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Webhooks per second.
        #[arg(long, default_value_t = 200)]
        per_second: u32,
        /// Messages sent per second; above 10 the platform's rate limit is lifted on both sides.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        sends: u32,
        /// Deliver the events to no endpoint: the benchmarks of webhooks and sends have none.
        #[arg(long)]
        no_endpoint: bool,
        /// Use the existing programs next to this one instead of building them.
        #[arg(long)]
        built: bool,
        /// Print the samples as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run all checks of CI.
    Test,
    /// Build the programs and the connectors.
    Build,
    /// Build the connectors, including those for tests only, into `target/connectors`.
    BuildConnectors,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Demo {
            once,
            data,
            store,
            nodes,
        } => build::everything().and_then(|()| demo::run(once, data, store, usize::from(nodes))),
        Chore::Crash {
            rounds,
            seed,
            hang_ups,
            built,
            skew,
            steps,
            nodes,
            json,
        } => build::unless(built).and_then(|()| {
            if steps {
                crash::steps(json)
            } else if skew {
                crash::skew(json)
            } else if hang_ups {
                crash::hang_ups(rounds.unwrap_or(300), seed, json)
            } else {
                crash::run(rounds.unwrap_or(10), seed, nodes.map(usize::from), json)
            }
        }),
        Chore::Bench { names, against } => bench::run(&names, against.as_deref()),
        Chore::Soak {
            minutes,
            per_second,
            sends,
            no_endpoint,
            built,
            json,
        } => {
            let plan = weir_tests::SoakPlan {
                minutes,
                per_second,
                sends,
                endpoint: !no_endpoint,
            };
            build::unless(built).and_then(|()| soak::run(plan, json))
        }
        Chore::Test => test::run(),
        Chore::Build => build::everything(),
        Chore::BuildConnectors => build::connectors().and_then(|()| build::for_tests()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{} {error:#}", show::bad("✗"));
            ExitCode::FAILURE
        }
    }
}
