//! `cargo xtask test`: everything that CI runs, in the order in which a fault shows soonest, ending in cargo's own closing
//! lines.

use std::process::{Command, Stdio};

use crate::{build, demo, show};

/// Runs all of it; the first failure ends it.
pub(crate) fn run() -> anyhow::Result<()> {
    show::step("Formatting");
    build::cargo(["fmt", "--all", "--check"])?;
    build::everything()?;
    build::hostile()?;
    show::step("Lints");
    build::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])?;
    show::step("The rooms, each by itself");
    build::cargo([
        "test",
        "--workspace",
        "--exclude",
        "weir-tests",
        "--all-targets",
        "--locked",
    ])?;
    ensure_python()?;
    show::step("The demo, played to its end");
    demo::run(true, None)?;
    show::step("The promises, on the built programs");
    build::cargo(["test", "--package", "weir-tests", "--all-targets", "--locked"])
}

/// The Standard Webhooks library that judges our signatures comes from PyPI, into a folder of its own; Debian packs what
/// makes such folders apart from Python itself.
fn ensure_python() -> anyhow::Result<()> {
    let there = Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .stderr(Stdio::null())
        .status();
    if there.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    show::step("Installing Python's venv");
    build::command("apt-get", ["install", "--yes", "--quiet", "python3-venv"])
}
