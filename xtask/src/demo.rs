//! `cargo xtask demo`: the real programs, an account connected through the whole OAuth flow, and the links to open.

use std::path::PathBuf;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::Value;
use weir_test_postgres::PostgresServer;
use weir_tests::{Events, Nodes, Options, Stack, until};

use crate::{build, script, show, test};

/// The addresses of the interactive demo: sandbox, Weir.
const PORTS: (u16, u16) = (9100, 8080);

/// Weir's database engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoStore {
    #[default]
    Sqlite,
    Postgres,
}

/// Starts everything; plays the script, or waits for Ctrl-C.
pub(crate) fn run(once: bool, data: Option<PathBuf>, store: DemoStore, count: usize) -> anyhow::Result<()> {
    anyhow::ensure!(
        count == 1 || store == DemoStore::Postgres,
        "several hosts need one PostgreSQL; add --store postgres"
    );
    anyhow::ensure!(
        data.is_none() || store == DemoStore::Sqlite,
        "the database in PostgreSQL ends with the demo, and the directory would contain a part of a database; omit --data"
    );
    let data = match data {
        Some(data) => data,
        None => build::empty_folder("demo")?,
    };
    let store = match store {
        DemoStore::Sqlite => None,
        DemoStore::Postgres => Some(on_postgres()?),
    };
    let runtime = tokio::runtime::Runtime::new().context("the async runtime cannot be started")?;
    runtime.block_on(async {
        let ports = if once { (0, 0) } else { PORTS };
        show::step("Starting TikTok's sandbox and Weir");
        let options = Options {
            ports,
            ..Options::new(&data)
        };
        let (stack, mut nodes) = match store {
            None => (Stack::start(options).await?, None),
            Some(store) => {
                let stack = Stack::start_sandbox(options).await?;
                let nodes = Nodes::start(&stack, &store, count).await?;
                (stack, Some(nodes))
            }
        };
        show::step("Installing the TikTok connector and granting its requests");
        stack.install("tiktok").await?;
        stack.put_app().await?;
        show::step("Connecting the business account: authorize page, code, token, profile, webhook subscription");
        let channel = stack.connect("acme_store").await?;
        if let Some(nodes) = &mut nodes {
            nodes.join(&stack).await?;
        }
        let stack = if once {
            script::play(stack, &channel).await?
        } else {
            stay(&stack, nodes.as_ref(), &channel).await?;
            stack
        };
        show::step("Stopping");
        if let Some(nodes) = nodes {
            // Before the sandbox, whose clock they follow. The user may have killed some of them.
            nodes.stop_running().await?;
        }
        stack.stop().await
    })
}

/// Starts a server with an empty database; returns its URL.
fn on_postgres() -> anyhow::Result<String> {
    test::ensure_postgres()?;
    show::step("Starting PostgreSQL");
    let server = PostgresServer::current();
    server.execute("postgres", "CREATE DATABASE weir");
    let url = server.url("weir");
    show::step(&format!("The database is {url}"));
    Ok(url)
}

/// Prints the links to open, and shows events as they arrive, until Ctrl-C.
async fn stay(stack: &Stack, nodes: Option<&Nodes>, channel: &Value) -> anyhow::Result<()> {
    let mut events = stack.api.listen().await?;
    let first = stack
        .receives(&mut events, "Hi! Is the blue one still in stock?")
        .await?;
    let conversation = first["data"]["conversation_id"]
        .as_str()
        .context("the message has no conversation")?;
    greet(stack, channel, conversation);
    if let Some(nodes) = nodes {
        greet_nodes(nodes);
    }
    let ended = tokio::select! {
        ended = tail(stack, &mut events, nodes.is_some()) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    anstream::println!();
    // The events end here: an open stream would delay the host's shutdown up to its deadline.
    ended
}

fn greet(stack: &Stack, channel: &Value, conversation: &str) {
    let (api, key) = (stack.api.origin(), stack.api.key());
    let name = channel["display_name"].as_str().unwrap_or("The account");
    anstream::println!();
    anstream::println!("{} {} is connected, and Jane has written.", show::good("✓"), name);
    anstream::println!();
    anstream::println!("  {}   {}/phone", show::bright("Phone"), stack.sandbox.origin());
    anstream::println!(
        "          {}",
        show::quiet("write as a customer, see the chat as a phone would show it")
    );
    anstream::println!("  {} {api}/inbox/{conversation}#key={key}", show::bright("Console"));
    anstream::println!(
        "          {}",
        show::quiet("answer as the business: the link signs you in; put the two side by side")
    );
    anstream::println!("  {}     {api}/v1", show::bright("API"));
    anstream::println!("          {}", show::quiet(&format!("key {key}")));
    anstream::println!("  {}    {}", show::bright("Data"), stack.data().display());
    anstream::println!();
    anstream::println!("  Answer Jane:");
    anstream::println!();
    anstream::println!("    curl -sS {api}/v1/conversations/{conversation}/messages \\");
    anstream::println!("      -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\");
    anstream::println!("      -d '{{\"content\":{{\"type\":\"text\",\"text\":\"It is. Shall I put one aside?\"}}}}'");
    anstream::println!();
    anstream::println!("  Listen to the events:");
    anstream::println!();
    anstream::println!("    curl -sN {api}/v1/events/stream -H 'Authorization: Bearer {key}'");
    anstream::println!();
    anstream::println!("  {}", show::quiet("They are shown here too. Ctrl-C ends everything."));
    anstream::println!();
}

fn greet_nodes(nodes: &Nodes) {
    anstream::println!("  Kill a node; the conversation continues:");
    anstream::println!();
    for (number, process) in (0..nodes.count()).filter_map(|number| Some((number, nodes.process(number)?))) {
        anstream::println!("    kill -9 {process}    {}", show::quiet(&format!("node-{number}")));
    }
    anstream::println!();
}

/// Shows events as they arrive. With several nodes the stream continues at another one when its own is killed.
async fn tail(stack: &Stack, events: &mut Events, goes_on: bool) -> anyhow::Result<()> {
    let mut last: Option<String> = None;
    loop {
        match events.next().await {
            Ok(event) => {
                last = event["id"].as_str().map(str::to_owned);
                line(&event);
            }
            // Silence is not an error here: there may be no messages.
            Err(error) if error.to_string().contains("no event came") => {}
            Err(_) if goes_on => {
                *events = until("another node", async || {
                    Ok(stack.api.listen_after(last.as_deref()).await.ok())
                })
                .await?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn line(event: &Value) {
    let time = event["timestamp"]
        .as_str()
        .and_then(|time| time.get(11..19))
        .unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default();
    anstream::println!("  {} {kind:<24} {}", show::quiet(time), summary(&event["data"]));
}

/// A short description of an event.
fn summary(data: &Value) -> String {
    let content = &data["content"];
    match content["type"].as_str() {
        Some("text") => format!("“{}”", content["text"].as_str().unwrap_or_default()),
        Some("fallback") => content["text"].as_str().unwrap_or_default().to_owned(),
        Some(kind) => kind.to_owned(),
        None => ["display_name", "username", "name", "source"]
            .iter()
            .find_map(|member| data[*member].as_str())
            .unwrap_or_default()
            .to_owned(),
    }
}
