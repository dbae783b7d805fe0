//! No version runs before the operator grants its requests, a version that requests more waits, and requests can be
//! withheld.

mod support;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::{Options, Stack};

type Result = anyhow::Result<()>;

/// A component like this one, of another version and with one route changed. The texts are as long as before, so that
/// every length and offset within the component stays true.
fn changed(component: &[u8], changes: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = component.to_vec();
    for (before, after) in changes {
        ensure!(before.len() == after.len(), "{before} and {after} differ in length");
        // Interfaces have versions too, behind an @.
        let places: Vec<usize> = (1..bytes.len().saturating_sub(before.len()))
            .filter(|at| bytes[*at..].starts_with(before.as_bytes()) && bytes[at - 1] != b'@')
            .collect();
        ensure!(!places.is_empty(), "the component does not contain {before}");
        for at in places {
            bytes[at..at + after.len()].copy_from_slice(after.as_bytes());
        }
    }
    Ok(bytes)
}

async fn stage(stack: &Stack, component: Vec<u8>) -> anyhow::Result<Value> {
    let request = stack.api.request(reqwest::Method::POST, "/v1/connectors");
    let request = request.header("content-type", "application/wasm").body(component);
    stack.api.send(request).await?.expect(201)
}

fn routes(document: &Value, member: &str) -> Vec<String> {
    let grants = document[member].as_array().cloned().unwrap_or_default();
    grants
        .iter()
        .filter_map(|grant| grant["route"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn requested_grants_are_described() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let staged = stage(&stack, stack.binaries().connector("tiktok")?).await?;
    let wanted = staged["wanted_grants"].as_array().context("no wanted grants")?;
    for grant in wanted {
        let words = text_of(&grant["words"])?;
        ensure!(words.contains(&text_of(&grant["origin"])?), "{words}");
        for secret in grant["secrets"].as_array().into_iter().flatten() {
            ensure!(words.contains(&text_of(secret)?), "{words}");
        }
        ensure!(text_of(&grant["why"])?.len() > 5, "{grant:#}");
    }
    ensure!(staged["missing_grants"] == staged["wanted_grants"]);
    Ok(())
}

#[tokio::test]
async fn version_with_new_grants_waits() -> Result {
    let mut weir = Connected::begin().await?;
    let component = weir.stack.binaries().connector("tiktok")?;
    let before = weir.stack.api.get("/v1/connectors/tiktok").await?.expect(200)?;
    let number = text_of(&before["active_version"])?;
    let (next, path) = (next_of(&number), "/business/message/conversation/list/");
    let other = "/business/message/conversation/lost/";
    let component = changed(&component, &[(&number, &next), (path, other)])?;
    let staged = stage(&weir.stack, component).await?;
    ensure!(text_of(&staged["version"])? == next, "{staged:#}");
    let missing = staged["missing_grants"].as_array().context("no list")?;
    ensure!(missing.len() == 1, "{missing:#?}");
    let change = &missing[0]["changes"][0];
    ensure!(
        change["member"] == "path"
            && text_of(&change["before"])?.ends_with(path)
            && text_of(&change["after"])?.ends_with(other),
        "{change:#}"
    );
    let promote = format!("/v1/connectors/tiktok/versions/{next}/promote");
    let refused = weir.stack.api.post(&promote, json!({})).await?;
    ensure!(refused.problem(409)? == "grants_missing");
    // The refusal can be read.
    let id = text_of(&refused.body["refusal_id"])?;
    let why = weir.stack.api.get(&format!("/v1/refusals/{id}")).await?.expect(200)?;
    ensure!(
        why["about"] == "grant" && why["rule"] == "grants_missing" && why["whom"] == "tiktok",
        "{why:#}"
    );
    ensure!(why["facts"]["missing"][0] == missing[0]["route"], "{why:#}");
    // Meanwhile the one before serves as if nothing had come.
    let thread = weir.conversation().await?;
    weir.say(&thread, "still here").await?;
    let after = weir.stack.api.get("/v1/connectors/tiktok").await?.expect(200)?;
    ensure!(after["active_version"] == json!(number));
    // With the operator's grant it serves.
    let yes = json!({ "version": next, "grants": staged["wanted_grants"] });
    weir.stack
        .api
        .put("/v1/connectors/tiktok/grants", yes)
        .await?
        .expect(200)?;
    weir.stack.api.post(&promote, json!({})).await?.expect(200)?;
    weir.say(&thread, "and here still").await?;
    Ok(())
}

/// The number after this one, as long as it.
fn next_of(number: &str) -> String {
    let (rest, last) = number.split_at(number.len() - 1);
    format!("{rest}{}", if last == "9" { "8" } else { "9" })
}

#[tokio::test]
async fn what_is_withheld_is_refused_in_the_operators_name() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let version = weir.stack.api.get("/v1/connectors/tiktok").await?.expect(200)?;
    let granted = version["grants"].as_array().context("no grants")?;
    let send: Vec<&Value> = granted
        .iter()
        .filter(|grant| grant["class"] == "message-send")
        .collect();
    let rest: Vec<&Value> = granted
        .iter()
        .filter(|grant| grant["class"] != "message-send")
        .collect();
    let put = weir
        .stack
        .api
        .put("/v1/connectors/tiktok/grants", json!({ "grants": rest }))
        .await?
        .expect(200)?;
    ensure!(routes(&put, "withheld_grants").len() == send.len(), "{put:#}");
    let queued = weir.stack.api.say(&thread, "does not leave").await?.expect(202)?;
    let failed = weir.event_of("message.failed", &queued["id"]).await?;
    ensure!(
        !weir.on_phone().await?.contains(&"does not leave".to_owned()),
        "{failed:#}"
    );
    let why = weir_tests::until("the refusal", async || {
        let refusals = weir.stack.api.get("/v1/refusals").await?.expect(200)?;
        Ok(refusals["data"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|refusal| refusal["rule"] == "withheld")
            .cloned())
    })
    .await?;
    ensure!(why["about"] == "request" && why["whom"] == "tiktok", "{why:#}");
    ensure!(why["channel_id"] == weir.channel["id"], "{why:#}");
    for member in ["detail", "changes", "remedy"] {
        ensure!(text_of(&why[member])?.contains("operator"), "{member}: {why:#}");
    }
    let counts = weir.stack.api.get("/v1/refusals/counts").await?.expect(200)?;
    let counted = counts["data"].as_array().context("no counts")?;
    ensure!(
        counted.iter().any(|count| count["rule"] == "withheld"
            && count["whom"] == "tiktok"
            && count["count"].as_u64() >= Some(1)),
        "{counts:#}"
    );
    // A grant that no version requested is an error, and is reported as one.
    let mut odd = send[0].clone();
    odd["origin"] = json!("https://elsewhere.example");
    let answer = weir
        .stack
        .api
        .put("/v1/connectors/tiktok/grants", json!({ "grants": [odd] }))
        .await?;
    ensure!(answer.problem(422)? == "invalid_request");
    ensure!(answer.body["errors"][0]["pointer"] == "/grants/0", "{:#}", answer.body);
    Ok(())
}
