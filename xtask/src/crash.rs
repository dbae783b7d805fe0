//! `cargo xtask crash`: repeatedly kills the programs under load, and compares the remaining data.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use weir_test_postgres::PostgresServer;
use weir_tests::{ACTS, Crash, Figures, HangUpPlan, HangUps, NodesPlan, Plan, SKEWS_S, Steps};

use crate::{build, show, test};

/// Plays the rounds; the seed defaults to the time. As JSON, the figures are the only output.
pub(crate) fn run(rounds: u32, seed: Option<u64>, nodes: Option<usize>, json: bool) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(time);
    let data = build::empty_folder("crash")?;
    if nodes.is_some() {
        test::ensure_postgres()?;
    }
    let runtime = tokio::runtime::Runtime::new().context("the async runtime cannot be started")?;
    let figures = runtime.block_on(async {
        show::note(&format!(
            "{rounds} kills with seed {seed}; the database and the logs are in {}",
            data.display()
        ));
        let began = Instant::now();
        let nodes = nodes.map(|count| NodesPlan {
            count,
            server: PostgresServer::durable(),
        });
        let mut crash = Crash::begin(Plan { rounds, seed, nodes }, &data).await?;
        while crash.has_more() {
            crash.round().await?;
            let so_far = crash.figures();
            if so_far.rounds != so_far.compared_after {
                continue;
            }
            show::note(&format!(
                "{:>4} of {rounds}, {:>4} s: {}",
                so_far.rounds,
                began.elapsed().as_secs(),
                line(so_far)
            ));
        }
        crash.end().await
    })?;
    if json {
        anstream::println!("{}", serde_json::to_string(&figures)?);
    } else {
        anstream::println!(
            "{} {rounds} kills with seed {seed}: {}",
            show::good("✓"),
            line(&figures)
        );
    }
    Ok(())
}

/// Runs with wrong clocks and prints the row R10; fails if a guarantee is violated.
pub(crate) fn skew(json: bool) -> anyhow::Result<()> {
    let data = build::empty_folder("skew")?;
    let runtime = tokio::runtime::Runtime::new().context("the async runtime cannot be started")?;
    show::note(&format!(
        "{} clocks; the database and the logs are in {}",
        SKEWS_S.len(),
        data.display()
    ));
    let figures = runtime.block_on(weir_tests::skew(&SKEWS_S, &data))?;
    if json {
        anstream::println!("{}", serde_json::to_string(&figures)?);
    } else {
        anstream::println!(
            "R10 skew: {} clocks from 600 s behind to 600 s ahead, {} messages sent, {} responses lost, {} of them sent again, {} in the \
             last minute of a window, offset shown within {} ms, {}",
            figures.skews,
            figures.sent,
            figures.answers_lost,
            figures.resent,
            figures.in_the_last_minute,
            figures.largest_error_ms,
            if figures.breaches.is_empty() { "ok" } else { "short" }
        );
    }
    anyhow::ensure!(
        figures.breaches.is_empty(),
        "guarantees violated:\n{}",
        figures.breaches.join("\n")
    );
    Ok(())
}

/// Ends Weir at each kill point and prints the row R9; fails if a guarantee is violated.
pub(crate) fn steps(json: bool) -> anyhow::Result<()> {
    let folder = build::empty_folder("steps")?;
    let runtime = tokio::runtime::Runtime::new().context("the async runtime cannot be started")?;
    let figures = runtime.block_on(async {
        show::note(&format!(
            "{} acts; the databases and the logs are in {}",
            ACTS.len(),
            folder.display()
        ));
        let mut steps = Steps::begin(&folder).await?;
        for (act, points) in ACTS {
            for point in points {
                show::note(&steps.play(act, point).await?);
            }
        }
        steps.end().await
    })?;
    let is_ok = figures.breaches.is_empty();
    if json {
        anstream::println!("{}", serde_json::to_string(&figures)?);
    } else {
        anstream::println!(
            "R9 steps: {} points, {} acts: {}",
            figures.points,
            figures.acts,
            if is_ok { "ok" } else { "short" }
        );
    }
    anyhow::ensure!(is_ok, "guarantees violated:\n{}", figures.breaches.join("\n"));
    Ok(())
}

/// `cargo xtask crash --hang-ups`: clients disconnect during every state-changing request, and repeat it.
pub(crate) fn hang_ups(rounds: u32, seed: Option<u64>, json: bool) -> anyhow::Result<()> {
    const SHOWN_EVERY: u32 = 50;
    let seed = seed.unwrap_or_else(time);
    let data = build::empty_folder("hang-ups")?;
    let runtime = tokio::runtime::Runtime::new().context("the async runtime cannot be started")?;
    let figures = runtime.block_on(async {
        show::note(&format!(
            "{rounds} requests with seed {seed}; the database and the logs are in {}",
            data.display()
        ));
        let mut hang_ups = HangUps::begin(HangUpPlan { rounds, seed }, &data).await?;
        while hang_ups.has_more() {
            hang_ups.round().await?;
            let so_far = hang_ups.figures();
            if so_far.rounds.is_multiple_of(SHOWN_EVERY) {
                show::note(&format!(
                    "{:>4} of {rounds}, {} disconnected",
                    so_far.rounds, so_far.cut_off
                ));
            }
        }
        hang_ups.end().await
    })?;
    if json {
        anstream::println!("{}", serde_json::to_string(&figures)?);
    } else {
        anstream::println!(
            "{} R8 hang-ups: {} with seed {seed}, {} disconnected, {} of them completed before they were repeated: ok",
            show::good("✓"),
            figures.rounds,
            figures.cut_off,
            figures.done_before,
        );
    }
    Ok(())
}

fn time() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}

fn line(figures: &Figures) -> String {
    format!(
        "{} servers killed, {} nodes stopped, {} written, {} accepted, {} cut off, {} in flight, {} uncertain, {} sent again, {} failed, {} events delivered {} times, \
         longest start {} ms",
        figures.servers,
        figures.frozen,
        figures.written,
        figures.accepted,
        figures.cut_off,
        figures.in_flight,
        figures.uncertain,
        figures.resent,
        figures.failed,
        figures.events,
        figures.delivered,
        figures.longest_start_ms,
    )
}
