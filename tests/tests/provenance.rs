//! A component serves only while its bytes are those that were checked, and their signer is trusted.

mod support;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::signed::{host, public, sign};
use support::text_of;
use weir_tests::Stack;

type Result<T = ()> = anyhow::Result<T>;

async fn offer(stack: &Stack, component: Vec<u8>, signature: Option<&str>) -> Result<weir_tests::Answer> {
    let mut request = stack
        .api
        .request(reqwest::Method::POST, "/v1/connectors")
        .header("content-type", "application/wasm");
    if let Some(text) = signature {
        request = request.header("component-signature", STANDARD.encode(text));
    }
    stack.api.send(request.body(component)).await
}

async fn promote(stack: &Stack, staged: &Value) -> Result {
    let yes = json!({ "grants": staged["wanted_grants"] });
    stack.api.put("/v1/connectors/echo/grants", yes).await?.expect(200)?;
    let path = format!("/v1/connectors/echo/versions/{}/promote", text_of(&staged["version"])?);
    stack.api.post(&path, json!({})).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn trusted_keys_allow_only_signed_components() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = host(folder.path(), &format!("[trusted_keys]\nrelease = '{}'\n", public())).await?;
    let component = stack.binaries().connector("echo")?;
    let signature = sign(&component);
    let refused = offer(&stack, component.clone(), None).await?;
    ensure!(refused.problem(422)? == "signature_refused", "{:#}", refused.body);
    let why = format!("/v1/refusals/{}", text_of(&refused.body["refusal_id"])?);
    let why = stack.api.get(&why).await?.expect(200)?;
    ensure!(why["about"] == "grant" && why["rule"] == "signature_refused", "{why:#}");
    let mut altered = component.clone();
    *altered.last_mut().context("an empty component")? ^= 1;
    ensure!(offer(&stack, altered, Some(&signature)).await?.problem(422)? == "signature_refused");
    let garbled = offer(&stack, component.clone(), Some("no signature")).await?;
    ensure!(garbled.problem(422)? == "signature_refused");
    let staged = offer(&stack, component, Some(&signature)).await?.expect(201)?;
    ensure!(
        staged["signature"] == json!({ "status": "trusted", "key": "release" }),
        "{staged:#}"
    );
    promote(&stack, &staged).await?;
    // The audit log has the actor and the signing key.
    let log = stack.api.get("/v1/audit-log").await?.expect(200)?;
    let installed = log["data"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["action"] == "connector.install")
        .context("the audit log has no entry of it")?;
    ensure!(installed["detail"]["key"] == "release", "{installed:#}");
    ensure!(text_of(&installed["actor"])?.starts_with("key_"), "{installed:#}");
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_no_longer_trusted_ends_what_it_signed() -> Result {
    let folder = tempfile::tempdir()?;
    let mut stack = host(folder.path(), &format!("[trusted_keys]\nrelease = '{}'\n", public())).await?;
    let component = stack.binaries().connector("echo")?;
    let signature = sign(&component);
    let staged = offer(&stack, component, Some(&signature)).await?.expect(201)?;
    promote(&stack, &staged).await?;
    let app = json!({ "connector": "echo", "secrets": { "webhook_secret": "x" }, "origins": { "https://echo.example": stack.sandbox.origin() } });
    stack.api.put("/v1/apps/echo", app).await?.expect(200)?;
    let hook = async |stack: &Stack| -> Result<u16> {
        let url = format!("{}/hooks/echo", stack.api.origin());
        Ok(stack.client().post(url).body("{}").send().await?.status().as_u16())
    };
    ensure!(hook(&stack).await? == 401, "it serves, and requires a signature");
    stack.stop_weir().await?;
    std::fs::write(stack.data().join("weir.toml"), "allow_unsigned = false\n")?;
    stack.start_weir().await?;
    ensure!(hook(&stack).await? == 503, "no untrusted version serves");
    Ok(())
}

#[tokio::test]
async fn what_was_changed_on_the_disk_is_read_from_the_record() -> Result {
    let folder = tempfile::tempdir()?;
    let mut stack = host(folder.path(), "").await?;
    let staged = offer(&stack, stack.binaries().connector("echo")?, None)
        .await?
        .expect(201)?;
    promote(&stack, &staged).await?;
    stack.stop_weir().await?;
    let digest = text_of(&staged["digest"])?;
    let file = stack
        .data()
        .join("components")
        .join(format!("{}.wasm", digest.trim_start_matches("sha256:")));
    let installed = std::fs::read(&file)?;
    let mut bytes = installed.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes)?;
    stack.start_weir().await?;
    let path = format!("/v1/connectors/echo/versions/{}/promote", text_of(&staged["version"])?);
    stack.api.post(&path, json!({})).await?.expect(200)?;
    ensure!(std::fs::read(&file)? == installed, "the file is as it was installed");
    stack.stop_weir().await?;
    std::fs::remove_file(&file)?;
    let record = rusqlite::Connection::open(stack.data().join("weir.db"))?;
    record.execute("UPDATE components SET bytes = ?1", [&bytes])?;
    drop(record);
    stack.start_weir().await?;
    let refused = stack.api.post(&path, json!({})).await?;
    ensure!(refused.problem(502)? == "connector_failed", "{:#}", refused.body);
    Ok(())
}
