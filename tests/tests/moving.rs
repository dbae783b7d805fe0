//! `weir move`: the database of a real host moves to PostgreSQL and back.

mod support;

use std::path::Path;

use anyhow::ensure;
use serde_json::Value;
use support::Connected;
use tokio::process::Command;
use weir_test_postgres::PostgresServer;

type Result<T = ()> = anyhow::Result<T>;

const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The exit code of a command, and what it printed.
async fn run(command: &mut Command) -> Result<(Option<i32>, String)> {
    let ended = command.output().await?;
    let printed = [ended.stdout, ended.stderr].concat();
    Ok((ended.status.code(), String::from_utf8_lossy(&printed).into_owned()))
}

/// `weir` with arguments, on the host's configuration and data.
fn weir(connected: &Connected, config: &Path, arguments: &[&str]) -> Command {
    let mut command = connected.stack.binaries().command("weir");
    command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .env("WEIR_DATA", connected.stack.data())
        .env("WEIR_MASTER_KEY", MASTER_KEY);
    command
}

async fn texts(connected: &Connected, thread: &str) -> Result<Vec<String>> {
    let messages: Vec<Value> = connected.messages(thread).await?;
    let texts = messages
        .iter()
        .filter_map(|message| message["content"]["text"].as_str());
    Ok(texts.map(str::to_owned).collect())
}

#[tokio::test]
async fn a_conversation_moves_to_postgresql_and_back() -> Result {
    let server = PostgresServer::installed();
    server.execute("postgres", "CREATE DATABASE weir_moved");
    let url = server.url("weir_moved");
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("weir.toml");
    std::fs::write(&config, "")?;
    let mut connected = Connected::with(|options| {
        options.config = Some(config.clone());
        options.env.push(("WEIR_MASTER_KEY".into(), MASTER_KEY.into()));
    })
    .await?;
    let thread = connected.conversation().await?;
    connected.say(&thread, "before the move").await?;
    let (code, printed) = run(&mut weir(&connected, &config, &["move", "--to", &url])).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("another Weir process is using the data directory"),
        "{printed}"
    );
    connected.stack.kill_weir().await?;

    // It is killed at each of its steps, and at one of the last tables.
    let in_postgres = format!("store = {url:?}\n");
    for point in ["move.begun", "move.events", "move.verified", "move.marked"] {
        let mut killed = weir(&connected, &config, &["move", "--to", &url]);
        let (code, printed) = run(killed.env("WEIR_KILL_AT", point)).await?;
        assert_eq!(code, None, "{point}: {printed}");
        std::fs::write(&config, &in_postgres)?;
        let (code, printed) = run(&mut connected.stack.weir_command()).await?;
        assert_eq!(code, Some(1), "{point}: {printed}");
        assert!(
            printed.contains("is incomplete; run `weir move` again"),
            "{point}: {printed}"
        );
        std::fs::write(&config, "")?;
    }
    let there = moved(&connected, &config, &url).await?;
    let messages = there.iter().find(|table| table["table"] == "messages");
    assert!(
        messages.is_some_and(|table| table["rows"].as_u64() >= Some(2)),
        "{there:?}"
    );
    let (code, printed) = run(&mut connected.stack.weir_command()).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("it was moved to the PostgreSQL database weir_moved"),
        "{printed}"
    );

    std::fs::write(&config, &in_postgres)?;
    connected.stack.start_weir().await?;
    connected.events = connected.stack.api.listen().await?;
    connected
        .stack
        .receives(&mut connected.events, "Are you still there?")
        .await?;
    connected.say(&thread, "In another database").await?;
    connected.stack.kill_weir().await?;

    let (code, printed) = run(&mut weir(&connected, &config, &["move", "--to", "sqlite"])).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("contains a Weir database already; rename or delete it"),
        "{printed}"
    );
    for name in ["weir.db", "weir.db-wal", "weir.db-shm"] {
        let path = connected.stack.data().join(name);
        if path.exists() {
            std::fs::rename(&path, path.with_file_name(format!("{name}.old")))?;
        }
    }
    moved(&connected, &config, "sqlite").await?;
    std::fs::write(&config, "")?;
    connected.stack.start_weir().await?;
    connected.events = connected.stack.api.listen().await?;
    connected.say(&thread, "And back").await?;
    assert_eq!(
        connected.on_phone().await?,
        ["before the move", "In another database", "And back"]
    );
    assert_eq!(
        texts(&connected, &thread).await?,
        [
            "Hello!",
            "before the move",
            "Are you still there?",
            "In another database",
            "And back"
        ]
    );
    Ok(())
}

/// Moves the database, and returns the printed rows of all tables.
async fn moved(connected: &Connected, config: &Path, to: &str) -> Result<Vec<Value>> {
    let mut command = weir(connected, config, &["--json", "move", "--to", to]);
    let ended = command.output().await?;
    let (out, printed) = (String::from_utf8(ended.stdout)?, String::from_utf8(ended.stderr)?);
    ensure!(ended.status.success(), "{printed}");
    let tables: Vec<Value> = out
        .lines()
        .map(serde_json::from_str)
        .collect::<serde_json::Result<_>>()?;
    ensure!(
        tables
            .iter()
            .all(|table| table["digest"].as_str().is_some_and(|digest| digest.len() == 64)),
        "{out}"
    );
    Ok(tables)
}
