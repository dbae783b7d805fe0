//! Events reach the operator's own endpoint: signed so that the public Standard Webhooks libraries verify them
//! unchanged, retried until they are accepted, in order within a conversation.

mod support;

use anyhow::ensure;
use serde_json::{Value, json};
use support::{Connected, python, text_of};
use weir_tests::{Subscriber, until};

type Result = anyhow::Result<()>;

async fn subscribe(weir: &Connected, url: &str, types: Value) -> anyhow::Result<Value> {
    weir.stack
        .api
        .post("/v1/endpoints", json!({"url": url, "types": types}))
        .await?
        .expect(201)
}

#[tokio::test]
async fn the_public_library_verifies_what_we_sign() -> Result {
    let mut weir = Connected::with_endpoints().await?;
    let subscriber = Subscriber::answering(vec![200]).await?;
    let made = subscribe(&weir, subscriber.url(), json!(["message.received"])).await?;
    let secret = text_of(&made["secret"])?;
    ensure!(secret.starts_with("whsec_"));
    weir.conversation().await?;
    let delivered = until("the delivery", async || Ok(subscriber.delivered().into_iter().next())).await?;
    let event: Value = serde_json::from_str(&delivered.body)?;
    assert_eq!(
        (event["type"].as_str(), event["id"].as_str()),
        (Some("message.received"), Some(delivered.header("webhook-id")?))
    );
    let check = json!({
        "secret": secret, "body": delivered.body,
        "headers": {
            "webhook-id": delivered.header("webhook-id")?,
            "webhook-timestamp": delivered.header("webhook-timestamp")?,
            "webhook-signature": delivered.header("webhook-signature")?,
        },
    });
    // The library has its own clock, so the check of the time is done against the moment that was signed.
    let script = "
import json, sys, datetime
from unittest import mock
import standardwebhooks.webhooks as library
given = json.load(sys.stdin)
moment = datetime.datetime.fromtimestamp(int(given['headers']['webhook-timestamp']), datetime.timezone.utc)
class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return moment
with mock.patch.object(library, 'datetime', Then):
    hook = library.Webhook(given['secret'])
    hook.verify(given['body'], given['headers'])
    try:
        hook.verify(given['body'] + ' ', given['headers'])
    except library.WebhookVerificationError:
        print('verified')
";
    let output = python(script, &check.to_string()).await?;
    assert_eq!(output.trim(), "verified");
    Ok(())
}

#[tokio::test]
async fn failed_delivery_is_retried_with_same_id() -> Result {
    let mut weir = Connected::with_endpoints().await?;
    let subscriber = Subscriber::answering(vec![500, 200]).await?;
    subscribe(&weir, subscriber.url(), json!(["message.received"])).await?;
    weir.conversation().await?;
    until("the first try", async || {
        Ok((!subscriber.delivered().is_empty()).then_some(()))
    })
    .await?;
    weir.stack.time_passes(60_000).await?;
    until("the second try", async || {
        Ok((subscriber.delivered().len() == 2).then_some(()))
    })
    .await?;
    let delivered = subscriber.delivered();
    assert_eq!(delivered[0].header("webhook-id")?, delivered[1].header("webhook-id")?);
    assert_eq!(delivered[0].body, delivered[1].body);
    Ok(())
}

#[tokio::test]
async fn gone_endpoint_is_disabled_and_reported() -> Result {
    let mut weir = Connected::with_endpoints().await?;
    let subscriber = Subscriber::answering(vec![410]).await?;
    let made = subscribe(&weir, subscriber.url(), json!(["message.received"])).await?;
    weir.conversation().await?;
    let disabled = weir.events.wait_for("endpoint.disabled").await?;
    assert_eq!(disabled["data"]["id"], made["id"]);
    Ok(())
}

#[tokio::test]
async fn private_endpoint_needs_operator_consent() -> Result {
    let weir = Connected::begin().await?;
    for url in [
        "http://127.0.0.1:9/x",
        "https://127.0.0.1/x",
        "https://user@hooks.example/x",
        "ftp://hooks.example",
    ] {
        let answer = weir.stack.api.post("/v1/endpoints", json!({"url": url})).await?;
        assert_eq!(answer.status, 422, "{url}: {:#}", answer.body);
        assert_eq!(answer.body["errors"][0]["pointer"], "/url", "{url}");
    }
    Ok(())
}
