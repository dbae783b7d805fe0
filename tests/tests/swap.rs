//! A version is tested before it serves, and a change of versions loses, duplicates and refuses nothing.

mod support;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::until;

type Result = anyhow::Result<()>;

const FIRST: &str = "0.1.0";

/// The operator's actions with versions of the TikTok connector.
struct Operator {
    weir: Connected,
}

impl Operator {
    async fn begin() -> anyhow::Result<Self> {
        let weir = Connected::begin().await?;
        Ok(Self { weir })
    }

    /// Stages a later version, and grants everything that it requests; returns its number.
    async fn stage(&self, name: &str) -> anyhow::Result<String> {
        let staged = self.stage_only(name).await?;
        let yes = json!({ "version": staged["version"], "grants": staged["wanted_grants"] });
        let api = &self.weir.stack.api;
        api.put("/v1/connectors/tiktok/grants", yes).await?.expect(200)?;
        text_of(&staged["version"])
    }

    async fn stage_only(&self, name: &str) -> anyhow::Result<Value> {
        let api = &self.weir.stack.api;
        let component = self.weir.stack.binaries().connector(&format!("variants/{name}"))?;
        let request = api.request(reqwest::Method::POST, "/v1/connectors");
        let request = request.header("content-type", "application/wasm").body(component);
        api.send(request).await?.expect(201)
    }

    async fn does(&self, version: &str, step: &str, body: Value) -> anyhow::Result<weir_tests::Answer> {
        let path = format!("/v1/connectors/tiktok/versions/{version}/{step}");
        self.weir.stack.api.post(&path, body).await
    }

    async fn get(&self, what: &str) -> anyhow::Result<Value> {
        let path = format!("/v1/connectors/tiktok{what}");
        self.weir.stack.api.get(&path).await?.expect(200)
    }

    async fn serves(&self) -> anyhow::Result<String> {
        text_of(&self.get("").await?["active_version"])
    }

    /// The event of a version, when it has come.
    async fn version_event(&mut self, kind: &str, version: &str) -> anyhow::Result<Value> {
        let is_it = |event: &Value| event["type"] == kind && event["data"]["version"] == version;
        let events = &mut self.weir.events;
        match events.seen().iter().find(|event| is_it(event)).cloned() {
            Some(event) => Ok(event),
            None => events.wait_where(kind, is_it).await,
        }
    }

    /// A conversation with some messages in both directions, so that there are calls to replay.
    async fn with_calls(&mut self) -> anyhow::Result<String> {
        let thread = self.weir.conversation().await?;
        for text in ["one", "two", "three"] {
            self.weir.say(&thread, text).await?;
        }
        Ok(thread)
    }
}

#[tokio::test]
async fn replay_names_changed_field() -> Result {
    let mut operator = Operator::begin().await?;
    operator.with_calls().await?;
    let mapped = operator.stage("tiktok-mapped").await?;
    // No version was promoted, and no request goes to the platform.
    let report = operator.does(&mapped, "replay", json!({})).await?.expect(200)?;
    ensure!(report["calls"].as_u64().unwrap_or(0) >= 8, "{report:#}");
    let groups = report["groups"].as_array().context("no groups")?;
    ensure!(
        groups.iter().any(|group| group["kind"] == "event"
            && group["call"] == "receive"
            && group["at"] == "[*].event.Message.contact.display_name"
            && group["after"] == "jane_doe"),
        "{report:#}"
    );
    ensure!(
        groups
            .iter()
            .all(|group| group["at"] == "[*].event.Message.contact.display_name"),
        "{report:#}"
    );
    let same = operator
        .does(FIRST, "replay", json!({ "against": FIRST }))
        .await?
        .expect(200)?;
    ensure!(same["differ"] == 0 && same["calls"] == report["calls"], "{same:#}");
    let same = operator.stage("tiktok-same").await?;
    let same = operator
        .does(&same, "replay", json!({ "last": 5 }))
        .await?
        .expect(200)?;
    ensure!(same["differ"] == 0 && same["calls"] == 5, "{same:#}");
    ensure!(operator.serves().await? == FIRST);
    for bad in [json!({ "last": 0 }), json!({ "last": 1001 }), json!({ "lst": 1 })] {
        operator.does(FIRST, "replay", bad).await?.problem(422)?;
    }
    operator.does("9.9.9", "replay", json!({})).await?.problem(404)?;
    Ok(())
}

#[tokio::test]
async fn shadow_shows_differences_before_serving() -> Result {
    let mut operator = Operator::begin().await?;
    let mapped = operator.stage("tiktok-mapped").await?;
    operator
        .does(&mapped, "canary", json!({ "percent": 0 }))
        .await?
        .expect(200)?;
    operator.with_calls().await?;
    let path = format!("/versions/{mapped}/trial");
    let shadow = until("the candidate has followed", async || {
        let trial = operator.get(&path).await?;
        Ok((trial["shadow"]["differ"].as_u64() > Some(0)).then(|| trial["shadow"].clone()))
    })
    .await?;
    ensure!(
        shadow["groups"][0]["at"] == "[*].event.Message.contact.display_name",
        "{shadow:#}"
    );
    // It never served: the events are the active version's.
    let trial = operator.get(&path).await?;
    ensure!(trial["on_trial"]["calls"] == 0, "{trial:#}");
    let contacts = operator.weir.stack.api.get("/v1/contacts").await?.expect(200)?;
    ensure!(contacts["data"][0]["display_name"] != "jane_doe", "{contacts:#}");
    Ok(())
}

#[tokio::test]
async fn a_canary_that_traps_goes_back_at_once_and_no_message_is_lost() -> Result {
    let mut operator = Operator::begin().await?;
    let traps = operator.stage("tiktok-traps").await?;
    operator
        .does(&traps, "canary", json!({ "percent": 100 }))
        .await?
        .expect(200)?;
    operator.version_event("connector.canary", &traps).await?;
    // The webhook that it crashes over arrives all the same.
    let thread = operator.weir.conversation().await?;
    let back = operator.version_event("connector.rolled_back", &traps).await?;
    let reason = text_of(&back["data"]["reason"])?;
    ensure!(reason.contains("crashed in 1 of"), "{reason}");
    ensure!(operator.serves().await? == FIRST);
    operator.weir.say(&thread, "as before").await?;
    let steps = operator.get("/timeline").await?;
    ensure!(
        steps["data"][0]["version"] == json!(traps)
            && steps["data"][0]["state"] == "staged"
            && steps["data"][0]["reason"] == json!(reason),
        "{steps:#}"
    );
    // The crash has a transcript, which can be exported without personal data.
    let found = operator.get("/transcripts?broke_off=true").await?;
    let id = text_of(&found["data"][0]["id"])?;
    let scrubbed = operator.get(&format!("/transcripts/{id}?scrub=true")).await?;
    let whole = operator.get(&format!("/transcripts/{id}")).await?;
    ensure!(whole["end"]["broke"]["name"] == "trapped", "{whole:#}");
    ensure!(!text_of(&whole["end"]["broke"]["backtrace"])?.is_empty(), "{whole:#}");
    for theirs in ["Hello!", "jane_doe"] {
        ensure!(whole.to_string().contains(theirs), "{whole:#}");
        ensure!(!scrubbed.to_string().contains(theirs), "{scrubbed:#}");
    }
    let file = operator.weir.stack.data().join("call.json");
    std::fs::write(&file, scrubbed.to_string())?;
    let component = operator.weir.stack.binaries().connector_path("variants/tiktok-traps");
    let home = operator
        .weir
        .stack
        .binaries()
        .command("weir")
        .args(["connector", "replay", "--json", "--file"])
        .arg(&file)
        .arg("--component")
        .arg(&component)
        .output()
        .await?;
    let report: Value = serde_json::from_slice(&home.stdout).context("no report")?;
    ensure!(
        home.status.success() && report["calls"] == 1 && report["differ"] == 0,
        "{report:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_canary_that_answers_wrongly_goes_back_by_its_failures() -> Result {
    let mut operator = Operator::begin().await?;
    let fails = operator.stage("tiktok-fails").await?;
    let thread = operator.weir.conversation().await?;
    let rule = json!({ "calls": 3, "margin": 10 });
    let canary = json!({ "percent": 100, "rule": rule });
    operator.does(&fails, "canary", canary).await?.expect(200)?;
    for n in 0..3 {
        operator
            .weir
            .send(
                &thread,
                json!({ "content": { "type": "text", "text": format!("answer {n}") } }),
            )
            .await?;
    }
    let back = operator.version_event("connector.rolled_back", &fails).await?;
    let reason = text_of(&back["data"]["reason"])?;
    ensure!(reason.contains("% of calls failed"), "{reason}");
    ensure!(operator.serves().await? == FIRST);
    operator.weir.say(&thread, "as before").await?;
    Ok(())
}

#[tokio::test]
async fn version_with_new_grants_shows_changes() -> Result {
    let mut operator = Operator::begin().await?;
    let thread = operator.weir.conversation().await?;
    let staged = operator.stage_only("tiktok-asks").await?;
    let asks = text_of(&staged["version"])?;
    let missing = staged["missing_grants"].as_array().context("no list")?;
    let missing: Vec<_> = missing
        .iter()
        .map(|one| (one["route"].as_str(), one["changes"][0]["member"].as_str()))
        .collect();
    ensure!(
        missing == [(Some("more"), None), (Some("proof"), Some("tolerance_s"))],
        "{missing:?}"
    );
    let changes = operator.get(&format!("/versions/{asks}/changes")).await?;
    ensure!(changes["active_version"] == FIRST);
    let members: Vec<_> = changes["manifest"].as_array().context("no changes")?.iter().collect();
    let tells = |at: &str| {
        members
            .iter()
            .any(|one| one["at"].as_str().is_some_and(|place| place.starts_with(at)))
    };
    ensure!(
        tells("routes[") && tells("policies[") && tells("version"),
        "{changes:#}"
    );
    for step in ["promote", "canary"] {
        let body = if step == "canary" {
            json!({ "percent": 50 })
        } else {
            json!({})
        };
        let refused = operator.does(&asks, step, body).await?;
        ensure!(refused.problem(409)? == "grants_missing");
    }
    // To follow along it needs nothing: nothing of it is performed.
    operator
        .does(&asks, "canary", json!({ "percent": 0 }))
        .await?
        .expect(200)?;
    operator
        .does(&asks, "canary", json!({ "percent": 101 }))
        .await?
        .problem(422)?;
    let yes = json!({ "version": asks, "grants": staged["wanted_grants"] });
    operator
        .weir
        .stack
        .api
        .put("/v1/connectors/tiktok/grants", yes)
        .await?
        .expect(200)?;
    operator.does(&asks, "promote", json!({})).await?.expect(200)?;
    // Its policy applies from now on: one answer, and no more.
    operator.weir.say(&thread, "the only one").await?;
    let refused = operator
        .weir
        .send(&thread, json!({ "content": { "type": "text", "text": "one more" } }))
        .await?;
    ensure!(refused.problem(409)? == "message_budget_exhausted");
    let back = operator
        .does(&asks, "rollback", json!({ "reason": "too strict" }))
        .await?
        .expect(200)?;
    ensure!(back["version"] == FIRST && back["state"] == "active", "{back:#}");
    operator.version_event("connector.rolled_back", FIRST).await?;
    operator.weir.say(&thread, "and one more").await?;
    operator.does(FIRST, "retire", json!({})).await?.problem(409)?;
    operator.does("9.9.9", "rollback", json!({})).await?.problem(404)?;
    Ok(())
}

#[tokio::test]
async fn version_change_under_load_loses_nothing() -> Result {
    const SWAPS: usize = 10;
    let mut operator = Operator::begin().await?;
    let thread = operator.weir.conversation().await?;
    let same = operator.stage("tiktok-same").await?;
    let mut texts = Vec::new();
    for swap in 0..SWAPS {
        let to = if swap % 2 == 0 { &same } else { FIRST };
        // The webhooks come while the version changes.
        let promote = operator.does(to, "promote", json!({}));
        let sent_texts: Vec<String> = (0..5).map(|n| format!("swap {swap} word {n}")).collect();
        let write = async {
            for text in &sent_texts {
                operator.weir.stack.phone.writes(text).await?;
            }
            anyhow::Ok(())
        };
        let (promoted, written) = tokio::join!(promote, write);
        promoted?.expect(200)?;
        written?;
        texts.extend(sent_texts);
    }
    for text in &texts {
        let wait = operator.weir.events.wait_where("message.received", |event| {
            event["data"]["content"]["text"] == json!(text)
        });
        wait.await?;
    }
    let messages = operator.weir.messages(&thread).await?;
    for text in &texts {
        let times = messages
            .iter()
            .filter(|message| message["content"]["text"] == json!(text))
            .count();
        ensure!(times == 1, "{text} appears {times} times");
    }
    let metrics = format!("{}/metrics", operator.weir.stack.api.origin());
    let metrics = operator.weir.stack.client().get(metrics).send().await?.text().await?;
    let webhooks: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("weir_webhooks_total"))
        .collect();
    ensure!(!webhooks.is_empty(), "{metrics}");
    for line in webhooks {
        ensure!(line.contains("outcome=\"stored\""), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_version_without_routes_for_pictures_is_found_by_its_replay() -> Result {
    let mut operator = Operator::begin().await?;
    let thread = operator.with_calls().await?;
    let media = operator.weir.picture().await?;
    let image = json!({ "content": { "type": "image", "media": { "id": media } } });
    let queued = operator.weir.send(&thread, image).await?.expect(202)?;
    operator.weir.event_of("message.sent", &queued["id"]).await?;
    let blind = operator.stage("tiktok-no-pictures").await?;
    let replayed = async || operator.does(&blind, "replay", json!({})).await?.expect(200);
    let report = until("the picture is among the transcripts", async || {
        let report = replayed().await?;
        Ok((report["refused"] == 1).then_some(report))
    })
    .await?;
    ensure!(report["differ"].as_u64() >= Some(1), "{report:#}");
    let groups = report["groups"].as_array().context("no groups")?;
    let refusal = groups.iter().find(|group| group["kind"] == "refusal");
    let refusal = refusal.with_context(|| format!("nothing is refused: {report:#}"))?;
    ensure!(
        refusal["call"] == "send" && refusal["count"] == 1 && refusal["after"]["rule"] == "no_route",
        "{refusal:#}"
    );
    let reason = text_of(&refusal["after"]["reason"])?;
    ensure!(reason.contains("POST https://business-api.tiktok.com"), "{reason}");
    // The same on the command line, which ends as if anything differs.
    let stack = &operator.weir.stack;
    let printed = stack
        .binaries()
        .command("weir")
        .args(["connector", "replay", "tiktok", &blind])
        .env("WEIR_URL", stack.api.origin())
        .env("WEIR_KEY", stack.api.key())
        .output()
        .await?;
    ensure!(printed.status.code() == Some(3), "{printed:?}");
    let words = String::from_utf8(printed.stdout)?;
    ensure!(
        words.contains(&reason) && words.contains("would refuse") && words.contains("FAIL  replay"),
        "{words}"
    );
    Ok(())
}

#[tokio::test]
async fn quarantined_canary_serves_no_accounts() -> Result {
    let mut operator = Operator::begin().await?;
    let traps = operator.stage("tiktok-traps").await?;
    let rule = json!({ "breaks": 1_000, "calls": 1_000 });
    let canary = json!({ "percent": 100, "rule": rule });
    operator.does(&traps, "canary", canary).await?.expect(200)?;
    // It crashes on each; the active version translates them instead, and nothing is lost.
    let thread = operator.weir.conversation().await?;
    for n in 1..5 {
        let stack = &operator.weir.stack;
        stack.receives(&mut operator.weir.events, &format!("word {n}")).await?;
    }
    operator.version_event("connector.quarantined", &traps).await?;
    let version = operator.get(&format!("/versions/{traps}")).await?;
    ensure!(
        version["state"] == "quarantined" && version["canary"].is_null(),
        "{version:#}"
    );
    // Its account sends and receives by the active version, in which alone calls are written down from now on.
    let calls = async |operator: &Operator| -> anyhow::Result<usize> {
        let found = operator.get(&format!("/transcripts?version={traps}&limit=200")).await?;
        Ok(found["data"].as_array().context("no list")?.len())
    };
    // Each of the five crashes has a transcript, which may be stored after the event.
    let before = until("its breaks are written down", async || {
        let written = calls(&operator).await?;
        Ok((written >= 5).then_some(written))
    })
    .await?;
    operator.weir.say(&thread, "as before").await?;
    let stack = &operator.weir.stack;
    stack.receives(&mut operator.weir.events, "one more").await?;
    operator.weir.say(&thread, "and after").await?;
    ensure!(calls(&operator).await? == before, "no call of it begins");
    ensure!(operator.serves().await? == FIRST);
    Ok(())
}
