//! Clients generated from the API's description work: each of the common generators accepts it, and one generated
//! client reads events, sends messages and pages through lists on a running host.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use support::{Connected, generators, text_of};
use tokio::process::Command;

type Result = anyhow::Result<()>;

/// A script that uses a generated Python client with a running host.
const DRIVE: &str = r#"
import sys
from weir_client import AuthenticatedClient
from weir_client.api.conversations import list_conversations
from weir_client.api.messages import send_message
from weir_client.api.events import list_events
from weir_client.models import MessageReceivedEvent, SendMessage

origin, key, conversation, text = sys.argv[1:5]
client = AuthenticatedClient(base_url=origin, token=key, raise_on_unexpected_status=True)

threads = list_conversations.sync(client=client)
assert [str(thread.id) for thread in threads.data] == [conversation], threads

body = SendMessage.from_dict({"content": {"type": "text", "text": text}})
message = send_message.sync(id=conversation, client=client, body=body)
assert message.status.value == "queued", message

seen, cursor = [], None
while True:
    page = list_events.sync(client=client, limit=2, **({"cursor": cursor} if cursor else {}))
    seen += page.data
    if not page.next_cursor:
        break
    cursor = page.next_cursor
received = [event for event in seen if isinstance(event, MessageReceivedEvent)]
assert len(seen) > 2, "one page holds two"
assert [event.data.content.text for event in received] == ["Hello!"], received
print("drove")
"#;

/// The description, as a running host serves it, in a file.
async fn described(weir: &Connected, folder: &Path) -> anyhow::Result<PathBuf> {
    let document = weir.stack.api.get("/v1/openapi.json").await?.expect(200)?;
    let file = folder.join("openapi.json");
    std::fs::write(&file, serde_json::to_vec(&document)?)?;
    Ok(file)
}

async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    ensure!(
        output.status.success(),
        "{} {arguments:?} ended with {}:\n{printed}",
        program.display(),
        output.status
    );
    Ok(printed)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a folder with an odd name")
}

#[tokio::test]
async fn a_generated_python_client_works() -> Result {
    let mut weir = Connected::begin().await?;
    let conversation = weir.conversation().await?;
    let folder = tempfile::tempdir()?;
    let file = described(&weir, folder.path()).await?;
    let bin = generators().await?.join("bin");
    run(&bin.join("openapi-spec-validator"), &[text(&file)?]).await?;
    let client = folder.path().join("client");
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"package_name_override": "weir_client", "post_hooks": []}"#)?;
    let made = run(
        &bin.join("openapi-python-client"),
        &[
            "generate",
            "--path",
            text(&file)?,
            "--meta",
            "none",
            "--config",
            text(&config)?,
            "--output-path",
            text(&client.join("weir_client"))?,
        ],
    )
    .await?;
    // It has no pictures and no components; all else it has.
    for line in made
        .lines()
        .filter(|line| line.starts_with("WARNING") || line.starts_with("Unable"))
    {
        let is_known = ["/qr.png ", "/qr.svg ", "POST /v1/connectors "]
            .iter()
            .any(|known| line.contains(known));
        ensure!(is_known, "{made}");
    }
    let drive = client.join("drive.py");
    std::fs::write(&drive, DRIVE)?;
    let (origin, key) = (weir.stack.api.origin().to_owned(), weir.stack.api.key().to_owned());
    let arguments = [text(&drive)?, &origin, &key, &conversation, "by a generated client"];
    ensure!(run(&bin.join("python"), &arguments).await?.contains("drove"));
    let sent = weir.events.wait_for("message.sent").await?;
    assert_eq!(text_of(&sent["data"]["content"]["text"])?, "by a generated client");
    Ok(())
}

#[tokio::test]
async fn other_generators_take_the_description() -> Result {
    let weir = Connected::begin().await?;
    let folder = tempfile::tempdir()?;
    let file = described(&weir, folder.path()).await?;
    let bin = generators().await?.join("bin");
    let made = folder.path().join("java");
    // It finds the Java that is installed with it.
    run(
        &bin.join("openapi-generator-cli"),
        &[
            "generate",
            "-g",
            "typescript-fetch",
            "-i",
            text(&file)?,
            "-o",
            text(&made)?,
        ],
    )
    .await?;
    let api = std::fs::read_to_string(made.join("apis/EventsApi.ts"))?;
    ensure!(api.contains("async listEvents("), "{api}");
    let types = folder.path().join("weir.d.ts");
    let npx = [
        "--yes",
        "--package",
        "typescript@5.9.3",
        "--package",
        TYPESCRIPT,
        "openapi-typescript",
    ];
    run(
        Path::new("npx"),
        &[&npx[..], &[text(&file)?, "-o", text(&types)?]].concat(),
    )
    .await?;
    let declared = std::fs::read_to_string(types)?;
    ensure!(declared.contains("MessageReceivedEvent: {"), "{declared}");
    Ok(())
}

/// Types for TypeScript, by npm.
const TYPESCRIPT: &str = "openapi-typescript@7.13.0";
