//! The console's scripts are type-checked against the API that the host describes.

use std::path::Path;
use std::process::Stdio;

use anyhow::ensure;
use tokio::process::Command;
use weir_tests::{Options, Stack};

use crate::Result;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/server/src/console");
/// From npm; pinned, since a later compiler may find more.
const PACKAGES: [&str; 2] = ["typescript@5.9.3", "openapi-typescript@7.13.0"];

#[tokio::test]
async fn scripts_agree_with_the_api() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let description = stack.api.get("/v1/openapi.json").await?.expect(200)?;
    stack.stop().await?;
    let scripts = folder.path().join("console");
    std::fs::create_dir(&scripts)?;
    for entry in std::fs::read_dir(SCRIPTS)? {
        let entry = entry?;
        std::fs::copy(entry.path(), scripts.join(entry.file_name()))?;
    }
    std::fs::write(scripts.join("openapi.json"), serde_json::to_vec(&description)?)?;
    // A member with a default may be left out of a request.
    let arguments = [
        "openapi.json",
        "--default-non-nullable",
        "false",
        "--output",
        "openapi.d.ts",
    ];
    npx("openapi-typescript", &arguments, &scripts).await?;
    npx("tsc", &["--project", "."], &scripts).await
}

async fn npx(program: &str, arguments: &[&str], folder: &Path) -> Result {
    let output = Command::new("npx")
        .arg("--yes")
        .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(output.status.success(), "{program} failed:\n{text}");
    Ok(())
}
