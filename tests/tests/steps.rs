//! An act that a power failure interrupts at any step is completed or undone. `cargo xtask crash --steps` shows each
//! step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use weir_tests::{ACTS, Steps};

type Result<T = ()> = anyhow::Result<T>;

#[expect(clippy::print_stdout, reason = "the test runner shows it when the test fails")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_is_finished_or_undone() -> Result {
    let folder = tempfile::tempdir()?;
    let mut steps = Steps::begin(folder.path()).await?;
    for (act, points) in ACTS {
        for point in points {
            println!("{}", steps.play(act, point).await?);
        }
    }
    let figures = steps.end().await?;
    assert_eq!(figures.acts, ACTS.len());
    assert!(figures.breaches.is_empty(), "{figures:#?}");
    Ok(())
}

/// The host's sources, each with its text.
fn sources() -> Result<Vec<(PathBuf, String)>> {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let (mut found, mut folders) = (Vec::new(), vec![host]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                found.push((path, text));
            }
        }
    }
    ensure!(found.len() > 100, "the host's sources were not found");
    Ok(found)
}

#[test]
fn each_kill_point_stands_once_in_the_source() -> Result {
    let mut placed: Vec<String> = Vec::new();
    for (_, text) in sources()? {
        let calls = text.split("kill_point(\"").skip(1);
        placed.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
    }
    placed.sort();
    // Some points are in several acts; those of a move, which runs without a host, are tested in `moving.rs`.
    let moves = ["move.begun", "move.verified", "move.marked"];
    let listed = ACTS.iter().flat_map(|(_, points)| points.iter().copied());
    let listed: BTreeSet<&str> = listed.chain(moves).collect();
    assert_eq!(placed, Vec::from_iter(listed));
    Ok(())
}

#[test]
fn a_release_has_no_kill_points() -> Result {
    for (path, text) in sources()? {
        let ends = text.contains("WEIR_KILL_AT") || text.contains("process::abort");
        if !path.ends_with("store/src/kill_point.rs") {
            assert!(!ends, "{} ends the process", path.display());
            continue;
        }
        // The code that reads the variable and ends the process is one block, compiled only with debug assertions.
        let (_, code) = text.split_once("pub fn kill_point").context("no kill point")?;
        let (_, only_then) = code
            .split_once("#[cfg(debug_assertions)]\n    {")
            .context("no condition")?;
        let (only_then, without) = only_then
            .split_once("#[cfg(not(debug_assertions))]")
            .context("no other")?;
        assert!(only_then.contains("WEIR_KILL_AT") && only_then.contains("process::abort"));
        assert!(!without.contains("WEIR_KILL_AT") && !without.contains("process::abort"));
    }
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))?;
    assert!(!manifest.contains("debug-assertions"), "a profile turns them on");
    Ok(())
}
