//! The record in PostgreSQL, under the real programs.

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
    weir.stack.hears(&mut weir.events, "Still there?").await?;
    weir.say(&thread, "Yes").await?;
    // As a restart of the server or a failover does.
    PostgresServer::installed().execute(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'weir_killed'",
    );
    weir.stack.hears(&mut weir.events, "And now?").await?;
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
        let told = [ended.stdout, ended.stderr].concat();
        anyhow::Ok((ended.status.code(), String::from_utf8_lossy(&told).into_owned()))
    };
    let elsewhere = weir.stack.data().with_file_name("elsewhere");
    let mut second = weir.stack.weir_command();
    second.env("WEIR_LISTEN", "127.0.0.1:0").env("WEIR_DATA", &elsewhere);
    let (code, told) = run(second.env_remove("WEIR_MASTER_KEY")).await?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("WEIR_MASTER_KEY is not set"), "{told}");
    let (code, told) = run(second.env("WEIR_MASTER_KEY", "ff".repeat(32))).await?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another master key"), "{told}");

    let url = PostgresServer::installed().url("weir_commands");
    let weir_command = |arguments: &[&str]| {
        let mut command = weir.stack.binaries().command("weir");
        command
            .args(arguments)
            .env("WEIR_STORE", &url)
            .env("WEIR_DATA", weir.stack.data());
        command
    };
    let (code, told) = run(&mut weir_command(&["backup", "copy"])).await?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("pg_dump"), "{told}");
    let (code, told) = run(&mut weir_command(&["reseal"])).await?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another Weir process"), "{told}");
    let (_, told) = run(&mut weir_command(&["--json", "doctor"])).await?;
    let found: Vec<Value> = told
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
    assert_eq!(of("schema")["ok"], json!(true), "{told}");
    assert!(
        of("server")["evidence"]
            .as_str()
            .is_some_and(|said| said.contains("PostgreSQL")),
        "{told}"
    );
    // The servers of these tests are not asked to keep what they confirm.
    assert_eq!(of("commits")["ok"], json!(false), "{told}");
    Ok(())
}
