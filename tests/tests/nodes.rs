//! Several hosts on one PostgreSQL database, with the real programs.

mod support;

use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use support::{Connected, SECRET, signature, text_of};
use tokio::process::Command;
use weir_test_postgres::PostgresServer;
use weir_tests::{APP, Api, HOUR_MS, Program, until};

type Result<T = ()> = anyhow::Result<T>;

/// The time from a node's last heartbeat to the takeover by others: the time after which a silent node is considered
/// dead, plus the time to detect and write that.
const GOES_ON: Duration = Duration::from_secs(12);

/// Another node on the database of a stack.
struct Second {
    program: Program,
    api: Api,
}

impl Second {
    async fn start(weir: &Connected) -> Result<Self> {
        let data = weir.stack.data().with_file_name("second");
        let mut command = weir.stack.weir_command();
        command
            .env("WEIR_LISTEN", "127.0.0.1:0")
            .env("WEIR_DATA", &data)
            .env("WEIR_NODE_NAME", "second");
        let program = Program::start("weir", &mut command, &weir.stack.data().with_file_name("second.log")).await?;
        let api = Api::new(weir.stack.client().clone(), program.origin(), weir.stack.api.key());
        Ok(Self { program, api })
    }

    async fn signal(&self, signal: &str) -> Result {
        send_signal(&self.program, signal).await
    }
}

async fn send_signal(program: &Program, signal: &str) -> Result {
    let id = program.id().map(|id| id.to_string()).unwrap_or_default();
    let ended = Command::new("kill").args([signal, &id]).status().await?;
    ensure!(ended.success(), "kill {signal} {id}: {ended}");
    Ok(())
}

/// The nodes as one of them shows them: name, id and state.
async fn nodes(api: &Api) -> Result<Vec<(String, String, String)>> {
    let listed = api.get("/v1/nodes").await?.expect(200)?;
    let rows = listed["data"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|node| Ok((text_of(&node["name"])?, text_of(&node["id"])?, text_of(&node["state"])?)))
        .collect()
}

/// Waits until the second node is listed in this state; returns its id.
async fn second_is(api: &Api, wanted: &str) -> Result<String> {
    until(&format!("the second node to be {wanted}"), async || {
        let all = nodes(api).await?;
        // A node that continues under a new id takes over from its old id.
        let last = all.into_iter().rfind(|(name, ..)| name == "second");
        Ok(last.filter(|(.., state)| state == wanted).map(|(_, id, _)| id))
    })
    .await
}

#[tokio::test]
async fn when_a_node_is_killed_the_other_goes_on() -> Result {
    let mut weir = Connected::on_postgres("weir_nodes_killed").await?;
    let thread = weir.conversation().await?;
    let second = Second::start(&weir).await?;
    for api in [&weir.stack.api, &second.api] {
        api.get("/readyz").await?.expect(200)?;
        api.get(&format!("/v1/conversations/{thread}")).await?.expect(200)?;
        second_is(api, "alive").await?;
    }
    // The depths of the queues, which are the same for all, are exported by one, however soon the other would like to.
    let counting = until("a node to count the queues", async || {
        let mut counting = 0;
        for api in [&weir.stack.api, &second.api] {
            let metrics = api
                .request(reqwest::Method::GET, "/metrics")
                .send()
                .await?
                .text()
                .await?;
            counting += usize::from(metrics.contains("weir_queue_depth{"));
        }
        Ok((counting > 0).then_some(counting))
    })
    .await?;
    assert_eq!(counting, 1);
    // A message is in flight on the second node: the first is suspended while it is leased.
    let fault = json!({"on": "send", "fault": {"delay_ms": 200_000}});
    weir.stack.phone.order_fault(fault).await?;
    let first = weir.stack.weir.as_ref().expect("it runs");
    send_signal(first, "-STOP").await?;
    let in_flight = second.api.say(&thread, "in flight").await?.expect(202)?;
    weir.stack.phone.faults_struck().await?;
    send_signal(first, "-CONT").await?;
    let waiting = second.api.say(&thread, "waiting").await?.expect(202)?;
    second.program.kill().await?;
    weir.event_of("message.uncertain", &in_flight["id"]).await?;
    second_is(&weir.stack.api, "dead").await?;
    // By the clock of the server, and not of a test that waits for its processor.
    let took = PostgresServer::installed().execute(
        "weir_nodes_killed",
        "SELECT ended_at - beat_at FROM nodes WHERE name = 'second' AND ended_at IS NOT NULL",
    );
    let took = Duration::from_millis(took.trim().parse()?);
    ensure!(took <= GOES_ON, "the other node went on after {took:?}");
    // New messages are accepted meanwhile, and what the platform's history does not have is sent again.
    let after = weir.stack.api.say(&thread, "after").await?.expect(202)?;
    weir.stack.phone.forget_faults().await?;
    weir.stack.time_passes(115_000).await?;
    for message in [&in_flight, &waiting, &after] {
        until("all three to be sent", async || {
            let path = format!("/v1/messages/{}", text_of(&message["id"])?);
            let found = weir.stack.api.get(&path).await?.expect(200)?;
            Ok((found["status"] == "sent").then_some(()))
        })
        .await?;
    }
    assert_eq!(weir.on_phone().await?, ["in flight", "waiting", "after"]);
    Ok(())
}

#[tokio::test]
async fn a_frozen_node_goes_on_under_a_new_id() -> Result {
    let weir = Connected::on_postgres("weir_nodes_frozen").await?;
    let second = Second::start(&weir).await?;
    let before = second_is(&weir.stack.api, "alive").await?;
    second.signal("-STOP").await?;
    assert_eq!(second_is(&weir.stack.api, "dead").await?, before);
    second.signal("-CONT").await?;
    let after = second_is(&weir.stack.api, "alive").await?;
    assert_ne!(after, before);
    second.api.get("/readyz").await?.expect(200)?;
    // A node that is stopped signs off, and is not listed any more.
    second.program.stop().await?;
    let listed = nodes(&weir.stack.api).await?;
    assert!(listed.iter().all(|(_, id, _)| *id != after), "{listed:?}");
    let mut command = weir.stack.binaries().command("weir");
    command
        .args(["--json", "nodes"])
        .env("WEIR_URL", weir.stack.api.origin())
        .env("WEIR_KEY", weir.stack.api.key());
    let printed = command.output().await?.stdout;
    let lines: Vec<Value> = printed
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), listed.len(), "{lines:?}");
    assert!(lines.iter().any(|node| node["is_this"] == json!(true)), "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn what_one_node_changes_the_other_serves_by() -> Result {
    const NEW: &str = "another-client-secret";
    let weir = Connected::on_postgres("weir_nodes_shared").await?;
    let second = Second::start(&weir).await?;
    let receives = async |app: &str, header: &str, signature: String, body: String| {
        let url = format!("{}/hooks/{app}", second.api.origin());
        let request = weir.stack.client().post(url).header(header, signature).body(body);
        anyhow::Ok(request.send().await?.status().as_u16())
    };
    let proves = async |secret: &str, id: &str| {
        let body = weir.text_webhook("c-nodes", id, "hello").await?;
        let at = weir.now().await? / 1000;
        receives(APP, "tiktok-signature", signature(secret, at, &body), body).await
    };
    // A secret that is changed on one node.
    assert_eq!(proves(SECRET, "before").await?, 200);
    let rotate = json!({ "secrets": { "client_secret": NEW } });
    let rotated = format!("/v1/apps/{APP}/secrets/rotate");
    weir.stack.api.post(&rotated, rotate).await?.expect(200)?;
    until("the new secret to prove webhooks", async || {
        Ok((proves(NEW, "after").await? == 200).then_some(()))
    })
    .await?;
    // A connector that is installed and promoted there.
    let secret = "echo-webhook-secret";
    weir.stack.install("echo").await?;
    let app = json!({
        "connector": "echo", "settings": {}, "secrets": {"webhook_secret": secret},
        "origins": {"https://echo.example": weir.stack.sandbox.origin()},
    });
    weir.stack.api.put("/v1/apps/echo", app).await?.expect(200)?;
    until("the other node to serve the connector", async || {
        let at = weir.now().await? / 1000;
        let body = json!({"account": "acme", "events": []}).to_string();
        let received = receives("echo", "echo-signature", signature(secret, at, &body), body).await?;
        Ok((received == 200).then_some(()))
    })
    .await?;
    // A file that was uploaded there.
    let bytes: Vec<u8> = (0..600_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let form = Form::new().part("file", Part::bytes(bytes.clone()).file_name("rose.bin"));
    let request = weir.stack.api.request(Method::POST, "/v1/media").multipart(form);
    let media = weir.stack.api.send(request).await?.expect(201)?;
    let url = text_of(&media["url"])?.replace(weir.stack.api.origin(), second.api.origin());
    let fetched = weir.stack.client().get(url).send().await?;
    assert_eq!(fetched.status(), 200);
    assert!(fetched.bytes().await? == bytes, "it is the same file");
    Ok(())
}

#[tokio::test]
async fn two_nodes_spend_no_refresh_token_twice() -> Result {
    let mut weir = Connected::on_postgres("weir_nodes_renewal").await?;
    let thread = weir.conversation().await?;
    let second = Second::start(&weir).await?;
    // Asked for on both at one moment: the platform takes time over each, and ends the refresh token that was spent.
    let slow = json!({"on": "refresh", "fault": {"delay_ms": 300}, "times": 1000});
    weir.stack.phone.order_fault(slow).await?;
    let path = weir.of_channel("/refresh")?;
    for _ in 0..3 {
        let (here, there) = tokio::join!(weir.stack.api.post(&path, json!({})), second.api.post(&path, json!({})),);
        here?.expect(200)?;
        there?.expect(200)?;
    }
    let by_hand = weir.stack.phone.calls("refresh").await?;
    assert!(by_hand.iter().all(|call| call["code"] == 0), "{by_hand:#?}");
    // At the end of the access token both find that it is due.
    weir.stack.time_passes(25 * HOUR_MS).await?;
    let (here, there) = tokio::join!(
        weir.stack.api.say(&thread, "from one"),
        second.api.say(&thread, "from the other"),
    );
    here?.expect(202)?;
    there?.expect(202)?;
    until("both messages on the phone", async || {
        Ok((weir.on_phone().await?.len() == 2).then_some(()))
    })
    .await?;
    let all = weir.stack.phone.calls("refresh").await?;
    assert_eq!(all.len(), by_hand.len() + 1, "{all:#?}");
    assert!(all.iter().all(|call| call["code"] == 0), "{all:#?}");
    Ok(())
}
