//! Operation of a host: backup, restore, monitoring, shutdown.

mod support;

use std::path::Path;
use std::process::Output;

use anyhow::Context;
use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::until;

type Result<T = ()> = anyhow::Result<T>;

#[tokio::test]
async fn a_copy_made_under_load_is_a_host_that_goes_on() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "before the copy").await?;
    // The directory is next to the data directory and is removed with it.
    let data = weir.stack.data().to_owned();
    let copy = data.with_file_name("copy");
    let load = json!({"account": "acme_store", "people": 20, "per_second": 100, "count": 10_000});
    weir.stack.phone.order("load", load).await?;
    let run = async || {
        let mut command = weir.stack.binaries().command("weir");
        let command = command.args(["--json", "backup"]).arg(&copy).env("WEIR_DATA", &data);
        anyhow::Ok(command.output().await?)
    };
    let made = run().await?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout)?;
    assert!(
        made["record_bytes"].as_u64() > Some(0) && made["files"].as_u64() > Some(0),
        "{made}"
    );
    documents(&data)?;
    documents(&copy)?;
    // A copy is never written over, and holds no key.
    assert_eq!(run().await?.status.code(), Some(1));
    assert!(!copy.join("master.key").exists());
    weir.stack.kill_weir().await?;
    std::fs::copy(data.join("master.key"), copy.join("master.key"))?;
    weir.stack.start_weir_on(&copy).await?;
    let restored = weir.messages(&thread).await?;
    let texts: Vec<&str> = restored
        .iter()
        .filter_map(|message| message["content"]["text"].as_str())
        .collect();
    assert_eq!(texts, ["Hello!", "before the copy"]);
    // Messages pass in both directions as before: connector, credential and window are restored.
    weir.events = weir.stack.api.listen().await?;
    weir.stack.receives(&mut weir.events, "Still there?").await?;
    weir.say(&thread, "Yes").await?;
    assert_eq!(weir.on_phone().await?, ["before the copy", "Yes"]);
    Ok(())
}

/// Everything in a data directory is in the table of operations.md, except the logs of the programs of these tests.
fn documents(folder: &Path) -> Result {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"))?;
    let table = page
        .split("## The data directory")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next());
    let rows = table
        .context("no table")?
        .lines()
        .filter(|line| line.starts_with("| `"));
    let known: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2))
        .collect();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        let name = format!("{}{slash}", entry.file_name().to_string_lossy());
        anyhow::ensure!(
            known.contains(&name.as_str()) || matches!(name.as_str(), "weir.log" | "sandbox.log"),
            "operations.md does not describe {name}, only {known:?}"
        );
    }
    Ok(())
}

async fn reseal(weir: &Connected, data: &Path) -> Result<Output> {
    let mut command = weir.stack.binaries().command("weir");
    let command = command.args(["--json", "reseal"]).env("WEIR_DATA", data);
    Ok(command.output().await?)
}

#[tokio::test]
async fn master_key_is_replaced_offline() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let data = weir.stack.data().to_owned();
    let nowhere = data.with_file_name("mistyped");
    let refused = reseal(&weir, &nowhere).await?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(!nowhere.exists(), "nothing is made where there was nothing");
    let key = || std::fs::read_to_string(data.join("master.key"));
    let old = key()?;
    let refused = reseal(&weir, &data).await?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "a host is at work on the folder");
    assert!(
        words.contains("another Weir process is using the data directory"),
        "{words}"
    );
    assert_eq!(key()?, old);
    weir.stack.stop_weir().await?;
    let done = reseal(&weir, &data).await?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done: Value = serde_json::from_slice(&done.stdout)?;
    // The app's secrets and the account's credential at least.
    assert!(done["values"].as_u64() >= Some(2), "{done}");
    assert_ne!(key()?, old);
    weir.stack.start_weir().await?;
    weir.events = weir.stack.api.listen().await?;
    weir.say(&thread, "sealed again").await?;
    assert_eq!(weir.on_phone().await?, ["sealed again"]);
    Ok(())
}

#[tokio::test]
async fn loops_and_queues_report_health() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    // One uncertain message: its result is not reported, and the echo never arrives.
    weir.send_uncertain(&thread, "uncertain").await?;
    let text = until("the depths to be counted", async || {
        let metrics = weir.stack.api.get("/metrics").await?.expect(200)?;
        let text = text_of(&metrics)?;
        Ok(text.contains("weir_queue_depth{queue=\"uncertain\"} 1").then_some(text))
    })
    .await?;
    for queue in ["outbox", "uncertain", "deliveries", "media", "dead_letters"] {
        for name in ["weir_queue_depth", "weir_queue_oldest_seconds"] {
            assert!(
                text.contains(&format!("{name}{{queue=\"{queue}\"}}")),
                "{name} {queue}: {text}"
            );
        }
    }
    for name in [
        "deliverer",
        "publisher",
        "fetcher",
        "sweeper",
        "refresher",
        "reconciler",
    ] {
        assert!(
            text.contains(&format!("weir_loop_silent_seconds{{loop=\"{name}\"}}")),
            "{name}: {text}"
        );
    }
    weir.stack.api.get("/readyz").await?.expect(200)?;
    weir.stack.stop_weir().await?;
    Ok(())
}
