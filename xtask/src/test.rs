//! `cargo xtask test`: everything that CI runs, in the order in which a fault shows soonest, ending in cargo's own closing
//! lines.

use crate::{build, demo, show};

/// Runs all of it; the first failure ends it.
pub(crate) fn run() -> anyhow::Result<()> {
    show::step("Formatting");
    build::cargo(["fmt", "--all", "--check"])?;
    build::everything()?;
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
    show::step("The demo, played to its end");
    demo::run(true, None)?;
    show::step("The promises, on the built programs");
    build::cargo(["test", "--package", "weir-tests", "--all-targets", "--locked"])
}
