//! The OAuth callback: opened twice, in another browser, and cut off.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};
use url::Url;
use weir_tests::{Browser, Stack, until};

use super::support::text_of;
use super::{Result, channels, ended, ready, session};

/// The callback of a consent that was given, as the browser would open it; it is not opened yet.
async fn consented(stack: &Stack, browser: &mut Browser, session: &Value) -> anyhow::Result<Url> {
    let (at, ..) = browser.open(text_of(&session["url"])?.parse()?).await?;
    let query: BTreeMap<String, String> = at.query_pairs().into_owned().collect();
    let form = [
        ("client_key", query["client_key"].as_str()),
        ("redirect_uri", query["redirect_uri"].as_str()),
        ("state", query["state"].as_str()),
        ("scope", query["scope"].as_str()),
        ("account", "acme_store"),
        ("decision", "allow"),
        ("granted", "*"),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = stack
        .client()
        .post(at)
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(body).send().await?;
    let location = answer.headers().get("location").context("no callback")?;
    Ok(location.to_str()?.parse()?)
}

#[tokio::test]
async fn a_second_callback_shows_the_outcome_of_the_first() -> Result {
    let (stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    let mut browser = Browser::new(stack.client().clone());
    let callback = consented(&stack, &mut browser, &session).await?;
    for _ in 0..2 {
        let (_, status, page) = browser.open(callback.clone()).await?;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("is connected"), "{page}");
    }
    assert_eq!(ended(&stack, &session).await?["status"], "succeeded");
    assert_eq!(channels(&stack).await?, 1);
    assert_eq!(stack.phone.calls("token").await?.len(), 1, "the code was used once");
    Ok(())
}

#[tokio::test]
async fn only_a_person_in_the_right_browser_spends_the_code() -> Result {
    let (stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    let mut browser = Browser::new(stack.client().clone());
    let callback = consented(&stack, &mut browser, &session).await?;
    let ahead = stack
        .client()
        .get(callback.clone())
        .header("sec-purpose", "prefetch;prerender");
    assert_eq!(ahead.send().await?.status(), 503);
    let head = stack.client().head(callback.clone()).send().await?;
    assert!(
        head.headers()
            .get("cache-control")
            .is_some_and(|value| value == "no-store")
    );
    // A program that follows links to check them.
    let (_, status, _) = Browser::new(stack.client().clone()).open(callback.clone()).await?;
    assert_eq!(status, 400);
    assert_eq!(ended(&stack, &session).await?["status"], "pending");
    assert!(stack.phone.calls("token").await?.is_empty());
    let (_, status, page) = browser.open(callback).await?;
    assert_eq!(status, 200, "{page}");
    assert_eq!(ended(&stack, &session).await?["status"], "succeeded");
    Ok(())
}

#[tokio::test]
async fn two_links_in_one_browser_do_not_spend_each_other() -> Result {
    let (stack, _folder) = ready().await?;
    let (first, second) = (session(&stack).await?, session(&stack).await?);
    let mut browser = Browser::new(stack.client().clone());
    let one = consented(&stack, &mut browser, &first).await?;
    let other = consented(&stack, &mut browser, &second).await?;
    for callback in [one, other] {
        let (_, status, page) = browser.open(callback).await?;
        assert_eq!(status, 200, "{page}");
    }
    for session in [&first, &second] {
        assert_eq!(ended(&stack, session).await?["status"], "succeeded");
    }
    Ok(())
}

#[tokio::test]
async fn a_set_up_that_a_kill_cut_off_is_finished_by_the_start() -> Result {
    let (mut stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    let mut browser = Browser::new(stack.client().clone());
    let callback = consented(&stack, &mut browser, &session).await?;
    let slow = json!({"on": "webhook_update", "fault": {"delay_ms": 60_000}});
    stack.phone.order_fault(slow).await?;
    let opened = tokio::spawn(async move { browser.open(callback).await.map(|_| ()) });
    stack.phone.faults_struck().await?;
    // The account is connected, and TikTok does not know yet where to send its webhooks.
    assert_eq!(ended(&stack, &session).await?["status"], "succeeded");
    stack.kill_weir().await?;
    opened.abort();
    stack.start_weir().await?;
    until("the set-up to be finished", async || {
        let events = stack.api.get("/v1/events?limit=200").await?.expect(200)?;
        let kinds: Vec<_> = events["data"].as_array().into_iter().flatten().collect();
        let at = |kind: &str| kinds.iter().position(|event| event["type"] == kind);
        Ok(at("channel.degraded").and(at("channel.recovered")))
    })
    .await?;
    let subscribed = stack.phone.calls("webhook_update").await?;
    assert!(subscribed.iter().any(|call| call["code"] == 0), "{subscribed:#?}");
    Ok(())
}

#[tokio::test]
async fn a_session_cut_off_in_the_exchange_comes_to_an_end() -> Result {
    let (mut stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    let mut browser = Browser::new(stack.client().clone());
    let callback = consented(&stack, &mut browser, &session).await?;
    stack
        .phone
        .order_fault(json!({"on": "token", "fault": {"delay_ms": 60_000}}))
        .await?;
    let opened = tokio::spawn(async move { browser.open(callback).await.map(|_| ()) });
    stack.phone.faults_struck().await?;
    stack.kill_weir().await?;
    opened.abort();
    stack.start_weir().await?;
    let over = until("the session to end", async || {
        let session = ended(&stack, &session).await?;
        Ok((session["status"] != "pending").then_some(session))
    })
    .await?;
    assert_eq!(
        (over["status"].as_str(), over["problem"]["code"].as_str()),
        (Some("failed"), Some("connect_interrupted"))
    );
    Ok(())
}

#[tokio::test]
async fn a_closed_browser_does_not_cut_connecting_off() -> Result {
    let (stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    let mut browser = Browser::new(stack.client().clone());
    let callback = consented(&stack, &mut browser, &session).await?;
    stack
        .phone
        .order_fault(json!({"on": "token", "fault": {"delay_ms": 300_000}}))
        .await?;
    let opened = tokio::spawn(async move { browser.open(callback).await.map(|_| ()) });
    stack.phone.faults_struck().await?;
    opened.abort();
    stack.phone.forget_faults().await?;
    until("the account to be connected", async || {
        Ok((ended(&stack, &session).await?["status"] == "succeeded").then_some(()))
    })
    .await
}
