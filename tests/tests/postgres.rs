//! The real programs on a PostgreSQL database.

mod support;

use serde_json::{Value, json};
use support::Connected;
use tokio::process::Command;
use weir_test_postgres::PostgresServer;

type Result<T = ()> = anyhow::Result<T>;

#[tokio::test]
async fn a_conversation_survives_kills_of_host_and_connections() -> Result {
    let mut weir = Connected::on_postgres("weir_killed").await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "before the kill").await?;
    weir.stack.kill_weir().await?;
    weir.stack.start_weir().await?;
    weir.events = weir.stack.api.listen().await?;
    weir.stack.receives(&mut weir.events, "Still there?").await?;
    weir.say(&thread, "Yes").await?;
    // As a restart of the server or a failover does.
    PostgresServer::installed().execute(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'weir_killed'",
    );
    weir.stack.receives(&mut weir.events, "And now?").await?;
    weir.say(&thread, "Still").await?;
    assert_eq!(weir.on_phone().await?, ["before the kill", "Yes", "Still"]);
    let texts: Vec<Value> = weir.messages(&thread).await?;
    let texts: Vec<&str> = texts
        .iter()
        .filter_map(|message| message["content"]["text"].as_str())
        .collect();
    assert_eq!(
        texts,
        ["Hello!", "before the kill", "Still there?", "Yes", "And now?", "Still"]
    );
    Ok(())
}

#[tokio::test]
async fn file_commands_and_a_node_without_the_key_are_refused() -> Result {
    let weir = Connected::on_postgres("weir_commands").await?;
    let run = async |command: &mut Command| {
        let ended = command.output().await?;
        let printed = [ended.stdout, ended.stderr].concat();
        anyhow::Ok((ended.status.code(), String::from_utf8_lossy(&printed).into_owned()))
    };
    let elsewhere = weir.stack.data().with_file_name("elsewhere");
    let mut second = weir.stack.weir_command();
    second.env("WEIR_LISTEN", "127.0.0.1:0").env("WEIR_DATA", &elsewhere);
    let (code, printed) = run(second.env_remove("WEIR_MASTER_KEY")).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("WEIR_MASTER_KEY is not set"), "{printed}");
    let (code, printed) = run(second.env("WEIR_MASTER_KEY", "ff".repeat(32))).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("another master key"), "{printed}");

    let url = PostgresServer::installed().url("weir_commands");
    let weir_command = |arguments: &[&str]| {
        let mut command = weir.stack.binaries().command("weir");
        command
            .args(arguments)
            .env("WEIR_STORE", &url)
            .env("WEIR_DATA", weir.stack.data());
        command
    };
    let (code, printed) = run(&mut weir_command(&["backup", "copy"])).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("pg_dump"), "{printed}");
    let (code, printed) = run(&mut weir_command(&["reseal"])).await?;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("another Weir process"), "{printed}");
    let (_, printed) = run(&mut weir_command(&["--json", "doctor"])).await?;
    let found: Vec<Value> = printed
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let of = |subject: &str| {
        found
            .iter()
            .find(|line| line["subject"] == subject)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of("schema")["ok"], json!(true), "{printed}");
    assert!(
        of("server")["evidence"]
            .as_str()
            .is_some_and(|reported| reported.contains("PostgreSQL")),
        "{printed}"
    );
    // The servers of these tests have no durable commits.
    assert_eq!(of("commits")["ok"], json!(false), "{printed}");
    Ok(())
}
