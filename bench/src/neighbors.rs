//! R2: the latency of one connector while a hostile one runs on the same host.
//!
//! Each hostile connector serves an app of its own, whose webhooks are called as fast as they are answered. One that is
//! quarantined is promoted again at once, so that the sandbox is measured and not the quarantine.

use anyhow::ensure;
use serde_json::json;
use weir_domain::limits;
use weir_tests::Api;

use crate::load::{Connection, Customers, address, steadily};
use crate::report::{Row, percentile};
use crate::rig::Rig;

/// What they do when they are called: run without end, fill memory in one instruction, take all of it, overflow the
/// stack, trap, flood the log, hand over too much, nest without end.
const HOSTILE: [&str; 8] = ["spin", "bulk", "grow", "recurse", "trap", "flood", "giant", "deep"];
/// The neighbor's webhooks in a second.
const RATE: usize = 200;
/// How long the neighbor is measured with each of them, and as long without one before.
const SECONDS: usize = 5;
/// Connections over which the conversations begin.
const CONNECTIONS: usize = 16;
/// People who write.
const PEOPLE: usize = 200;
/// The secret that signs the hostile connectors' webhooks.
const SECRET: &str = "attack";

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let rig = Rig::begin(false).await?;
    for name in HOSTILE {
        invite(&rig, name).await?;
    }
    let customers = Customers {
        path: "/hooks/tiktok",
        business: rig.business()?,
        people: PEOPLE,
    };
    crate::load::drive(rig.origin(), customers.write(0, PEOPLE), CONNECTIONS).await?;
    let (mut peace, mut worst) = (Vec::new(), (0.0, ""));
    let mut all = Vec::new();
    let mut from = PEOPLE;
    for name in HOSTILE {
        peace.extend(waits(&rig, &customers, from).await?);
        let attack = tokio::spawn(attack(rig.origin().to_owned(), rig.stack.api.clone(), name));
        let with_neighbor = waits(&rig, &customers, from + RATE * SECONDS).await?;
        attack.abort();
        let p99 = percentile(&with_neighbor, 0.99);
        if p99 > worst.0 {
            worst = (p99, name);
        }
        all.extend(with_neighbor);
        from += 2 * RATE * SECONDS;
    }
    let calm = percentile(&peace, 0.99);
    rig.stack.stop().await?;
    Ok(Row::new("R2", "neighbors")
        .saw(format!(
            "{RATE} webhooks/s beside {} hostile connectors in turn",
            HOSTILE.len()
        ))
        .saw(format!(
            "p99 {calm:.1} ms in peace, {:.1} ms beside them",
            percentile(&all, 0.99)
        ))
        .saw(format!("the worst is {}: {:.1} ms", worst.1, worst.0))
        .at_most("p99 beside the worst to p99 in peace", worst.0 / calm, 2.0))
}

/// Installs a hostile connector with everything granted that it requests, and an app for it.
async fn invite(rig: &Rig, name: &str) -> anyhow::Result<()> {
    let api = &rig.stack.api;
    let component = rig.stack.binaries().connector(&format!("hostile/{name}"))?;
    let request = api.request(reqwest::Method::POST, "/v1/connectors");
    let request = request.header("content-type", "application/wasm").body(component);
    let staged = api.send(request).await?.expect(201)?;
    let connector = connector(name);
    let grants = json!({"grants": staged["wanted_grants"]});
    api.put(&format!("/v1/connectors/{connector}/grants"), grants)
        .await?
        .expect(200)?;
    api.post(&promotion(name), json!({})).await?.expect(200)?;
    let app = json!({
        "connector": connector, "secrets": {"webhook_secret": SECRET},
        // None of them gets that far; while the sandbox's clock is followed nothing may leave this machine.
        "origins": {"https://platform.example": rig.stack.sandbox.origin()},
    });
    api.put(&format!("/v1/apps/{name}"), app).await?.expect(200)?;
    Ok(())
}

/// Its name.
fn connector(name: &str) -> String {
    format!("hostile-{name}")
}

fn promotion(name: &str) -> String {
    format!("/v1/connectors/{}/versions/0.1.0/promote", connector(name))
}

/// Calls a hostile connector without a pause, and promotes it again whenever it was quarantined.
async fn attack(origin: String, api: Api, name: &'static str) -> anyhow::Result<()> {
    let request =
        format!("POST /hooks/{name} HTTP/1.1\r\nhost: weir\r\nx-secret: {SECRET}\r\ncontent-length: 4\r\n\r\ntext");
    let mut connection = Connection::open(address(&origin)?).await?;
    loop {
        for _ in 0..limits::CRASHES {
            connection.exchange(request.as_bytes()).await?;
        }
        // One that does not crash still serves, and the API reports that.
        api.post(&promotion(name), json!({})).await?;
    }
}

/// How long each of the neighbor's webhooks waited for its answer, in milliseconds.
async fn waits(rig: &Rig, customers: &Customers<'_>, from: usize) -> anyhow::Result<Vec<f64>> {
    let timed = steadily(rig.origin(), RATE, from..from + RATE * SECONDS, |n| customers.writes(n)).await?;
    let refused = timed.iter().find(|timed| timed.status != 200);
    ensure!(
        refused.is_none(),
        "a neighbor's webhook was answered {:?}",
        refused.map(|timed| timed.status)
    );
    Ok(timed.iter().map(|timed| timed.waited.as_secs_f64() * 1_000.0).collect())
}
