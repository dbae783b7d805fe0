//! The command line: its output is for a person, or with `--json` for a program; an error is one line.

mod support;

use std::process::Output;

use serde_json::Value;
use support::{Connected, text_of};
use weir_tests::Binaries;

type Result = anyhow::Result<()>;

async fn weir(connected: &Connected, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = connected.stack.binaries().command("weir");
    command
        .args(arguments)
        .env("WEIR_URL", connected.stack.api.origin())
        .env("WEIR_KEY", connected.stack.api.key());
    Ok(command.output().await?)
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn running_host_prints_text_or_json() -> Result {
    let mut connected = Connected::begin().await?;
    let thread = connected.conversation().await?;
    for arguments in [
        ["channel", "list"],
        ["connector", "list"],
        ["app", "list"],
        ["key", "list"],
        ["dead-letter", "list"],
    ] {
        let output = weir(&connected, &arguments).await?;
        assert!(output.status.success(), "{arguments:?}: {}", complained(&output));
        let json = weir(&connected, &[arguments[0], arguments[1], "--json"]).await?;
        for line in printed(&json).lines() {
            serde_json::from_str::<Value>(line).map_err(|error| anyhow::anyhow!("{arguments:?}: {error}: {line}"))?;
        }
    }
    assert!(printed(&weir(&connected, &["channel", "list"]).await?).contains("acme_store"));
    let sent = weir(&connected, &["send", &thread, "from the command line"]).await?;
    assert!(sent.status.success(), "{}", complained(&sent));
    connected
        .events
        .wait_where("message.sent", |event| {
            event["data"]["content"]["text"] == "from the command line"
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn country_can_be_set_before_login() -> Result {
    let connected = Connected::begin().await?;
    let connect = async |country: &str| {
        let arguments = ["channel", "connect", "tiktok", "--country", country, "--no-wait"];
        weir(&connected, &arguments).await
    };
    let refused = connect("US").await?;
    assert!(!refused.status.success());
    assert!(complained(&refused).contains("US"), "{}", complained(&refused));
    let link = connect("ID").await?;
    assert!(link.status.success(), "{}", complained(&link));
    assert!(printed(&link).starts_with("http"), "{}", printed(&link));
    Ok(())
}

#[tokio::test]
async fn a_component_is_inspected_without_a_host() -> Result {
    let binaries = Binaries::find()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tiktok.wasm");
    std::fs::write(&file, binaries.connector("tiktok")?)?;
    let inspect = async || {
        let mut command = binaries.command("weir");
        command.args(["connector", "inspect"]).arg(&file).output().await
    };
    let output = inspect().await?;
    assert!(output.status.success(), "{}", complained(&output));
    for word in ["tiktok", "business-api.tiktok.com", "message-send", "access_token"] {
        assert!(printed(&output).contains(word), "{word}: {}", printed(&output));
    }
    std::fs::write(&file, b"not a component")?;
    let output = inspect().await?;
    assert!(!output.status.success());
    assert!(!complained(&output).is_empty());
    Ok(())
}

#[tokio::test]
async fn error_is_one_line() -> Result {
    let connected = Connected::begin().await?;
    let folder = tempfile::tempdir()?;
    let taken = connected.stack.api.origin().trim_start_matches("http://").to_owned();
    let path = text_of(&Value::String(folder.path().display().to_string()))?;
    let file = folder.path().join("a-file");
    std::fs::write(&file, "")?;
    let (plain, odd) = (folder.path().to_owned(), folder.path().join("odd"));
    std::fs::create_dir(&odd)?;
    std::fs::write(odd.join("weir.toml"), "lisen = \"127.0.0.1:0\"\n")?;
    let cases = [
        (
            "a port in use",
            &plain,
            vec![("WEIR_LISTEN", taken), ("WEIR_DATA", path.clone())],
            "another program",
        ),
        (
            "no folder",
            &plain,
            vec![("WEIR_DATA", file.display().to_string())],
            "a-file",
        ),
        ("an unknown key", &odd, vec![("WEIR_DATA", path)], "lisen"),
        (
            "no address",
            &plain,
            vec![("WEIR_LISTEN", "everywhere".into())],
            "WEIR_LISTEN",
        ),
    ];
    for (what, cwd, environment, word) in cases {
        let mut command = connected.stack.binaries().command("weir");
        // A free port unless the case sets one: other programs on this machine must not change the result.
        command.env("WEIR_LISTEN", "127.0.0.1:0").envs(environment);
        let output = command.arg("serve").current_dir(cwd).output().await?;
        let text = complained(&output);
        assert!(!output.status.success(), "{what}");
        assert!(text.contains(word), "{what}: {text}");
        assert_eq!(text.trim().lines().count(), 1, "{what}: {text}");
    }
    Ok(())
}
