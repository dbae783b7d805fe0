//! `cargo xtask bench`: the optimized programs, measured.

use std::ffi::OsString;
use std::path::Path;

use crate::{build, show};

/// Builds everything as it is released, and measures these rows.
pub(crate) fn run(names: &[String], against: Option<&Path>) -> anyhow::Result<()> {
    build::connectors()?;
    build::for_tests()?;
    show::step("Building the optimized programs (the first time takes some minutes)");
    let packages = ["weir-server", "tiktok-sandbox", "weir-bench"];
    let mut arguments = vec!["build", "--locked", "--release"];
    arguments.extend(packages.iter().flat_map(|package| ["--package", *package]));
    build::cargo(arguments)?;
    show::step("Measuring; leave the machine alone meanwhile");
    let program = build::target()?.join("release").join("weir-bench");
    let mut arguments: Vec<OsString> = names.iter().map(OsString::from).collect();
    if let Some(weir) = against {
        arguments.extend(["--against".into(), weir.into()]);
    }
    build::command(&program.display().to_string(), arguments)
}
