//! Builds the programs that xtask's commands need, with cargo's own progress on the terminal.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::show;

const TARGET: &str = "wasm32-unknown-unknown";

/// The connectors, as package and name.
const CONNECTORS: [(&str, &str); 2] = [("weir-tiktok", "tiktok"), ("weir-echo", "echo")];

/// The repository's root.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map(PathBuf::from)
        .context("xtask is not inside the repository")
}

/// The one target directory.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => root()?.join("target"),
    })
}

/// An empty directory of this name in the target directory, replacing the last run's.
pub(crate) fn empty_folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = target()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(folder)
}

/// Builds the programs and the connectors, unless existing ones are to be used.
pub(crate) fn unless(built: bool) -> anyhow::Result<()> {
    if built { Ok(()) } else { everything() }
}

/// Builds the programs and the connectors.
///
/// By the names of the programs, not of their packages: cargo then selects features for all packages at once, as it did
/// for this program, and builds shared ones once.
pub(crate) fn everything() -> anyhow::Result<()> {
    connectors()?;
    show::step("Building weir and TikTok's sandbox (the first time takes some minutes)");
    cargo(["build", "--locked", "--bin", "weir", "--bin", "tiktok-sandbox"])
}

/// Builds the connectors as components and puts them where the tests and the demo expect them.
pub(crate) fn connectors() -> anyhow::Result<()> {
    ensure_target()?;
    show::step("Building the connectors");
    let mut arguments = vec!["build", "--locked", "--target", TARGET, "--profile", "connector"];
    arguments.extend(CONNECTORS.iter().flat_map(|(package, _)| ["--package", *package]));
    cargo(arguments)?;
    let target = target()?;
    let to = target.join("connectors");
    std::fs::create_dir_all(&to).with_context(|| format!("{} cannot be made", to.display()))?;
    for (package, name) in CONNECTORS {
        let from = target
            .join(TARGET)
            .join("connector")
            .join(format!("{}.wasm", package.replace('-', "_")));
        let to = to.join(format!("{name}.wasm"));
        std::fs::copy(&from, &to).with_context(|| format!("{} cannot be copied", from.display()))?;
    }
    Ok(())
}

/// Builds the connectors for tests only, and copies them where the tests expect them: the hostile ones, one for each
/// threat, and variants of the others.
pub(crate) fn for_tests() -> anyhow::Result<()> {
    ensure_target()?;
    let before = ["--package", "weir-echo", "--features", "v0_1"];
    let mut arguments = vec!["build", "--locked", "--target", TARGET, "--profile", "connector"];
    arguments.extend(before);
    show::step("Building Echo for the previous version of the interface");
    cargo(arguments)?;
    let connectors = target()?.join("connectors");
    std::fs::create_dir_all(connectors.join("variants"))?;
    let built = target()?.join(TARGET).join("connector").join("weir_echo.wasm");
    std::fs::copy(&built, connectors.join("variants").join("echo-v0.1.wasm"))
        .with_context(|| format!("{} cannot be copied", built.display()))?;
    for (package, name) in [("weir-hostile", "hostile"), ("weir-variants", "variants")] {
        show::step(&format!("Building the connectors of plugins/{name}"));
        cargo([
            "build",
            "--locked",
            "--target",
            TARGET,
            "--profile",
            "connector",
            "--package",
            package,
            "--examples",
        ])?;
        let built = target()?.join(TARGET).join("connector").join("examples");
        let to = target()?.join("connectors").join(name);
        std::fs::create_dir_all(&to).with_context(|| format!("{} cannot be made", to.display()))?;
        for source in std::fs::read_dir(root()?.join("plugins").join(name).join("examples"))? {
            let file = source?.file_name();
            // rustc's form of a name with a hyphen.
            let made = file.to_string_lossy().replace('-', "_");
            let from = built.join(Path::new(&made).with_extension("wasm"));
            let to = to.join(Path::new(&file).with_extension("wasm"));
            std::fs::copy(&from, &to).with_context(|| format!("{} cannot be copied", from.display()))?;
        }
    }
    Ok(())
}

/// Where `RUSTUP_AUTO_INSTALL=0` is set, `rust-toolchain.toml` alone does not install the target.
fn ensure_target() -> anyhow::Result<()> {
    let installed = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .current_dir(root()?)
        .output()
        .context("rustup is not here; install it first")?;
    if String::from_utf8_lossy(&installed.stdout)
        .lines()
        .any(|line| line == TARGET)
    {
        return Ok(());
    }
    show::step("Installing the WebAssembly target");
    command("rustup", ["target", "add", TARGET])
}

/// Runs cargo in the repository.
pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> anyhow::Result<()> {
    command(
        &std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()),
        arguments,
    )
}

/// Runs a command in the repository and fails if it does.
pub(crate) fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(program: &str, arguments: I) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()?);
    let status = command
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    ensure!(status.success(), "`{command:?}` ended with {status}");
    Ok(())
}
