//! No failure of TikTok makes Weir lose, duplicate or misreport a message: a short conversation under each fault of the
//! sandbox (docs/sandbox.md), with the clock controlled by the test, and then a comparison of the phone, the API and
//! the events.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::Connected;
use weir_tests::{HOUR_MS, PATIENCE};

/// A Monday morning.
const START_MS: i64 = 1_772_445_600_000;
/// One step of the clock: retry delays double up to five minutes, uncertain messages are looked up after two minutes,
/// and then ever less often. The number of steps depends on how soon Weir follows the clock.
const STEP_MS: u64 = 120_000;
/// Steps after which a person handles the messages that are still uncertain: a picture that the history does not show
/// is not sent again automatically.
const A_PERSON_LOOKS: usize = 30;

/// Every fault of a call that the sandbox documents, on a call, as often as it strikes.
fn call_faults() -> Vec<Value> {
    let mut orders = Vec::new();
    for fault in [
        json!({"code": 51065, "message": "system error"}),
        json!({"code": 40100, "message": "App reaches the QPS limit."}),
        json!({"code": 40105, "message": "Access token is incorrect or has been revoked."}),
        json!({"code": 40064, "message": "Due to risk control strategy."}),
        json!({"http_status": 503}),
        json!({"html": true}),
        json!({"reset": true}),
        json!({"lost": true}),
        json!({"truncated": true}),
        json!({"delay_ms": 300}),
    ] {
        for on in ["send", "*"] {
            orders.push(json!({"on": on, "fault": fault, "times": 1}));
        }
        orders.push(json!({"on": "send", "fault": fault, "times": 2, "after": 1}));
    }
    // The calls for a message: upload and download of its picture, its features, the lookup of an uncertain one, the
    // token.
    for on in ["upload", "download", "media", "capabilities", "content_list", "refresh"] {
        for fault in [
            json!({"code": 51065}),
            json!({"reset": true}),
            json!({"truncated": true}),
        ] {
            orders.push(json!({"on": on, "fault": fault, "times": 1}));
        }
    }
    // A renewal whose response lacks what it should return.
    orders.push(json!({"on": "refresh", "fault": {"answer": {"refresh_token": ""}}, "times": 1}));
    orders
}

/// Every fault of a webhook, on all of them and on those of one kind.
fn webhook_faults() -> Vec<Value> {
    let mut orders: Vec<_> = ["duplicate", "reorder", "drop", "early_echo"]
        .into_iter()
        .map(|fault| json!({"on": "webhook", "fault": {fault: true}, "times": 2}))
        .collect();
    orders.push(json!({"on": "webhook", "fault": {"delay_ms": 5_000}, "times": 2}));
    for event in ["im_send_msg", "im_mark_read_msg"] {
        for fault in ["duplicate", "reorder", "drop"] {
            orders.push(json!({"on": "webhook", "event": event, "fault": {fault: true}, "times": 2}));
        }
    }
    orders
}

async fn begin() -> anyhow::Result<Connected> {
    Connected::with(|options| {
        options.start_ms = Some(START_MS);
        options.stopped = true;
    })
    .await
}

/// One conversation of its own under one fault.
struct Scene<'w> {
    weir: &'w Connected,
    name: String,
    thread: String,
    /// The customer's messages, in order.
    written: Vec<String>,
    /// The operator's accepted messages: id and text, in order.
    accepted: Vec<(Value, String)>,
}

impl Scene<'_> {
    async fn play(weir: &Connected, number: usize, order: &Value) -> anyhow::Result<()> {
        let name = format!("person_{number}");
        weir.stack
            .phone
            .order("people", json!({"username": name, "country": "ID"}))
            .await?;
        let mut scene = Scene {
            weir,
            name,
            thread: String::new(),
            written: Vec::new(),
            accepted: Vec::new(),
        };
        scene.writes("Hello!").await?;
        scene.thread = scene.conversation().await?;
        weir.stack.phone.order_fault(order.clone()).await?;
        scene.answers("one").await?;
        scene.writes("and then?").await?;
        scene.answers("two").await?;
        scene.picture().await?;
        weir.stack
            .phone
            .of(&scene.name)
            .does("write", json!({"type": "image"}))
            .await?;
        scene.answers("three").await?;
        scene.settle().await?;
        weir.stack.phone.of(&scene.name).does("read", json!({})).await?;
        // The fault is over, struck or not.
        weir.stack.phone.forget_faults().await?;
        scene.settle().await?;
        // Messages without a webhook are found by a catch-up.
        let since = weir.stack.api.conversation(&scene.thread).await?["created_at"].clone();
        weir.stack
            .api
            .post(&weir.of_channel("/catch-up")?, json!({"since": since}))
            .await?
            .expect(200)?;
        scene.reconcile().await
    }

    async fn writes(&mut self, text: &str) -> anyhow::Result<()> {
        self.weir.stack.phone.of(&self.name).writes(text).await?;
        self.written.push(text.to_owned());
        self.a_second().await
    }

    async fn answers(&mut self, text: &str) -> anyhow::Result<()> {
        let queued = self.weir.stack.api.say(&self.thread, text).await?.expect(202)?;
        self.accepted.push((queued["id"].clone(), text.to_owned()));
        self.a_second().await
    }

    async fn picture(&mut self) -> anyhow::Result<()> {
        let media = self.weir.picture().await?;
        let body = json!({"content": {"type": "image", "media": {"id": media}}});
        let queued = self.weir.send(&self.thread, body).await?.expect(202)?;
        self.accepted.push((queued["id"].clone(), "[picture]".to_owned()));
        self.a_second().await
    }

    /// Moves the platform's clock on by a second, so that no two messages have the same time. Weir follows in its own
    /// time.
    async fn a_second(&self) -> anyhow::Result<()> {
        let clock = self.weir.stack.phone.order("clock/advance", json!({"ms": 1_000})).await;
        clock.map(|_| ())
    }

    async fn conversation(&self) -> anyhow::Result<String> {
        weir_tests::until("the conversation", async || {
            let listed = self
                .weir
                .stack
                .api
                .get("/v1/conversations?limit=200")
                .await?
                .expect(200)?;
            let all = listed["data"].as_array().cloned().unwrap_or_default();
            Ok(all
                .iter()
                .find(|found| found["contact"]["username"] == self.name.as_str())
                .and_then(|found| found["id"].as_str().map(str::to_owned)))
        })
        .await
    }

    /// Moves the clock on until every message has come to an end.
    async fn settle(&self) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        for step in 0.. {
            // Pending work is completed at each moment of the clock: after that only time causes more.
            while !self.is_quiet().await? {
                if self.is_waiting().await? {
                    break;
                }
                ensure!(
                    tokio::time::Instant::now() < end,
                    "the messages of {} do not leave the worker's hands",
                    self.name
                );
                tokio::task::yield_now().await;
            }
            if self.is_quiet().await? {
                return Ok(());
            }
            self.renew_if_requested().await?;
            ensure!(
                tokio::time::Instant::now() < end,
                "unsettled after {PATIENCE:?}: {:#?}",
                self.statuses().await?
            );
            if step >= A_PERSON_LOOKS {
                self.a_person_looks().await?;
            }
            self.weir.stack.time_passes(STEP_MS).await?;
        }
        Ok(())
    }

    /// Uncertain messages that are not on the phone are retried by request.
    async fn a_person_looks(&self) -> anyhow::Result<()> {
        let chat = self.weir.stack.phone.of(&self.name).chat().await?;
        let messages = chat["messages"].as_array().cloned().unwrap_or_default();
        let shown = messages
            .iter()
            .filter(|message| message["direction"] == "outbound")
            .count();
        let statuses = self.statuses().await?;
        let sent = statuses
            .iter()
            .filter(|status| *status == "sent" || *status == "read")
            .count();
        for ((id, _), status) in self.accepted.iter().zip(&statuses) {
            if status == "uncertain" && shown == sent {
                let path = format!("/v1/messages/{}/retry", id.as_str().context("no id")?);
                self.weir.stack.api.post(&path, json!({})).await?;
            }
        }
        Ok(())
    }

    /// A credential that is refused again right after its renewal is a person's to renew; what was accepted waits for
    /// them.
    async fn renew_if_requested(&self) -> anyhow::Result<()> {
        let channel = self.weir.stack.api.get(&self.weir.of_channel("")?).await?.expect(200)?;
        if channel["status"] == "reauthorization_required" {
            // Refused during a fault; a person then tries again.
            self.weir
                .stack
                .api
                .post(&self.weir.of_channel("/refresh")?, json!({}))
                .await?;
        }
        Ok(())
    }

    async fn statuses(&self) -> anyhow::Result<Vec<Value>> {
        let mut statuses = Vec::new();
        for (id, _) in &self.accepted {
            let path = format!("/v1/messages/{}", id.as_str().context("no id")?);
            statuses.push(self.weir.stack.api.get(&path).await?.expect(200)?["status"].clone());
        }
        Ok(statuses)
    }

    async fn is_quiet(&self) -> anyhow::Result<bool> {
        let open = ["queued", "sending", "uncertain"];
        let statuses = self.statuses().await?;
        Ok(!statuses.iter().any(|status| open.iter().any(|open| status == open)))
    }

    /// Nothing is in a worker's hands: what is open waits for the clock.
    async fn is_waiting(&self) -> anyhow::Result<bool> {
        let statuses = self.statuses().await?;
        Ok(!statuses.iter().any(|status| status == "sending"))
    }

    /// The phone, the API and the events agree.
    async fn reconcile(&self) -> anyhow::Result<()> {
        let chat = self.weir.stack.phone.of(&self.name).chat().await?;
        let on_phone = chat["messages"].as_array().cloned().unwrap_or_default();
        let messages = self.weir.messages(&self.thread).await?;
        let log = self.all_events().await?;

        // Inbound: each message once, with one event.
        for text in &self.written {
            let stored: Vec<_> = messages
                .iter()
                .filter(|message| message["direction"] == "inbound" && message["content"]["text"] == text.as_str())
                .collect();
            ensure!(stored.len() == 1, "{text:?} is stored {} times", stored.len());
            let times = log
                .iter()
                .filter(|event| event["type"] == "message.received" && event["data"]["id"] == stored[0]["id"])
                .count();
            ensure!(times == 1, "{text:?} was reported {times} times");
        }
        let inbound = on_phone
            .iter()
            .filter(|message| message["direction"] == "inbound")
            .count();
        let stored = messages
            .iter()
            .filter(|message| message["direction"] == "inbound")
            .count();
        ensure!(
            inbound == stored,
            "the phone wrote {inbound} messages, and {stored} are stored"
        );

        // Outbound: messages that are sent in the database are on the phone once, failed ones are not there.
        let mut shown: BTreeMap<String, u32> = BTreeMap::new();
        for message in on_phone.iter().filter(|message| message["direction"] == "outbound") {
            *shown
                .entry(message["id"].as_str().context("no id")?.to_owned())
                .or_default() += 1;
        }
        let outbound: Vec<_> = messages
            .iter()
            .filter(|message| message["direction"] == "outbound")
            .collect();
        ensure!(
            outbound.len() == self.accepted.len(),
            "{} were accepted, and {} are stored: {outbound:#?}",
            self.accepted.len(),
            outbound.len()
        );
        let mut sent = 0;
        for (id, text) in &self.accepted {
            let message = outbound
                .iter()
                .find(|message| message["id"] == *id)
                .context("a message is gone")?;
            let status = message["status"].as_str().unwrap_or_default();
            let ends: Vec<_> = log
                .iter()
                .filter(|event| event["data"]["id"] == *id)
                .filter_map(|event| event["type"].as_str())
                .filter(|kind| matches!(*kind, "message.sent" | "message.failed"))
                .collect();
            match status {
                "sent" | "delivered" | "read" => {
                    sent += 1;
                    let platform_id = message["platform_id"].as_str().context("sent, and without an id")?;
                    ensure!(
                        shown.get(platform_id) == Some(&1),
                        "{text:?} is {status}, and on the phone {shown:?}"
                    );
                    ensure!(
                        ends.iter().filter(|kind| **kind == "message.sent").count() == 1,
                        "{text:?} was reported as {ends:?}"
                    );
                    let read = on_phone.iter().any(|m| m["id"] == platform_id && m["status"] == "seen");
                    ensure!(
                        status != "read" || read,
                        "{text:?} has the status read, and the contact did not read it"
                    );
                }
                "failed" => {
                    ensure!(message["error"]["code"].is_string(), "{text:?} failed without a reason");
                    ensure!(ends == ["message.failed"], "{text:?} was reported as {ends:?}");
                }
                other => anyhow::bail!("{text:?} is {other}"),
            }
        }
        ensure!(
            shown.len() == sent,
            "the phone shows {} messages of the business, and {sent} are called sent",
            shown.len()
        );
        // The reported budget equals the platform's: the messages that it accepted since the contact's last one.
        let conversation = self.weir.stack.api.conversation(&self.thread).await?;
        let wrote = conversation["window"]["opened_at"].clone();
        let since = outbound
            .iter()
            .filter(|message| message["status"] != "failed" && message["sent_at"].as_str() > wrote.as_str())
            .count();
        ensure!(
            conversation["budget"]["used"] == since,
            "{} are counted, and {since} were sent since {wrote}",
            conversation["budget"]["used"]
        );
        Ok(())
    }

    async fn all_events(&self) -> anyhow::Result<Vec<Value>> {
        let mut events = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .weir
                .stack
                .api
                .get(&format!("/v1/events?limit=200{after}"))
                .await?
                .expect(200)?;
            events.extend(page["data"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(cursor) => after = format!("&cursor={cursor}"),
                None => return Ok(events),
            }
        }
    }
}

async fn walk(orders: Vec<Value>) -> anyhow::Result<()> {
    let weir = begin().await?;
    for (number, order) in orders.iter().enumerate() {
        Scene::play(&weir, number, order)
            .await
            .with_context(|| format!("under the fault {order}"))?;
        // Each fault in an hour of its own, so that no window of the one before is open by chance.
        weir.stack.time_passes(HOUR_MS).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_fault_of_a_call_loses_doubles_or_misreports_a_message() -> anyhow::Result<()> {
    walk(call_faults()).await
}

#[tokio::test]
async fn no_fault_of_a_webhook_loses_doubles_or_misreports_a_message() -> anyhow::Result<()> {
    walk(webhook_faults()).await
}

/// The list above is complete: it has every kind of fault in the documentation.
#[test]
fn every_documented_fault_is_walked_through() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sandbox.md"))?;
    let faults = text
        .split("### Faults")
        .nth(1)
        .context("no faults in the documentation")?;
    let struck: String = call_faults()
        .iter()
        .chain(&webhook_faults())
        .map(Value::to_string)
        .collect();
    let mut found = 0;
    for line in faults.lines().filter(|line| line.starts_with("| `{\"")) {
        let word = line.split('"').nth(1).context("a fault without a name")?;
        ensure!(
            struck.contains(&format!("\"{word}\"")),
            "the fault {word} is in no case"
        );
        found += 1;
    }
    ensure!(found >= 12, "the documentation's table was not read: {found}");
    Ok(())
}
