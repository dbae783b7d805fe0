//! History and retention: nothing is lost while Weir is down or a webhook is missing, and nothing is kept too long.

mod support;

use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::{HOUR_MS, until};

type Result = anyhow::Result<()>;

#[tokio::test]
async fn outage_gap_is_read_once_in_order() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack.stop_weir().await?;
    weir.stack.phone.set(json!({"webhooks": false})).await?;
    weir.stack
        .phone
        .order("clock/advance", json!({"ms": 10 * HOUR_MS}))
        .await?;
    for text in ["first", "second"] {
        weir.stack.phone.writes(text).await?;
    }
    weir.stack.phone.of("kenji").writes("a new face").await?;
    weir.stack.phone.order("clock/advance", json!({"ms": HOUR_MS})).await?;
    weir.stack.start_weir().await?;
    until("what came meanwhile", async || {
        Ok((weir.messages(&thread).await?.len() == 3).then_some(()))
    })
    .await?;
    let texts: Vec<_> = weir
        .messages(&thread)
        .await?
        .iter()
        .map(|m| m["content"]["text"].clone())
        .collect();
    assert_eq!(texts, ["Hello!", "first", "second"]);
    // The window is that of the true time, not of the reading an hour later.
    let conversation = weir.stack.api.conversation(&thread).await?;
    let second = weir.messages(&thread).await?.remove(2);
    assert_eq!(conversation["window"]["opened_at"], second["sent_at"]);
    assert!(text_of(&second["sent_at"])? < text_of(&second["created_at"])?);
    // New contacts have a name and a picture.
    let face = until("the new contact", async || {
        let listed = weir.stack.api.get("/v1/contacts").await?.expect(200)?;
        let contacts = listed["data"].as_array().cloned().unwrap_or_default();
        Ok(contacts.into_iter().find(|contact| contact["username"] == "kenji"))
    })
    .await?;
    assert!(
        face["display_name"].is_string() && face["avatar_url"].is_string(),
        "{face:#}"
    );
    // A second request returns nothing new.
    let again = weir.catch_up().await?;
    assert_eq!(again["stored"], 0, "{again:#}");
    weir.events = weir.stack.api.listen().await?;
    weir.say(&thread, "and on").await?;
    Ok(())
}

#[tokio::test]
async fn missed_message_is_found_on_request() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "webhook", "fault": {"drop": true}, "times": 1}))
        .await?;
    weir.stack.phone.writes("lost on the way").await?;
    weir.stack.receives(&mut weir.events, "did you get it?").await?;
    assert_eq!(weir.messages(&thread).await?.len(), 2);
    let found = weir.catch_up().await?;
    assert_eq!(found["stored"], 1, "{found:#}");
    weir.events
        .wait_where("message.received", |event| {
            event["data"]["content"]["text"] == "lost on the way"
        })
        .await?;
    assert_eq!(weir.messages(&thread).await?.len(), 3);
    Ok(())
}

/// Four people write without webhooks; returns the platform's ids of their conversations.
async fn four_write_unheard(weir: &Connected, text: &str) -> anyhow::Result<Vec<String>> {
    weir.stack.phone.set(json!({"webhooks": false})).await?;
    let mut conversations = Vec::new();
    for person in ["jane_doe", "kenji", "nina", "omar"] {
        let order = json!({"username": person, "country": "ID"});
        weir.stack.phone.order("people", order).await?;
        let written = weir.stack.phone.of(person).writes(text).await?;
        conversations.push(text_of(&written["conversation_id"])?);
    }
    weir.stack.phone.set(json!({"webhooks": true})).await?;
    Ok(conversations)
}

/// The platform's ids of the conversations in which Weir has this text, once each.
async fn where_it_is(weir: &Connected, text: &str) -> anyhow::Result<Vec<String>> {
    let page = weir.stack.api.get("/v1/conversations?limit=200").await?.expect(200)?;
    let mut found = Vec::new();
    for conversation in page["data"].as_array().into_iter().flatten() {
        let messages = weir.messages(&text_of(&conversation["id"])?).await?;
        let count = messages
            .iter()
            .filter(|message| message["content"]["text"] == text)
            .count();
        anyhow::ensure!(count <= 1, "{count} times in {conversation:#}");
        if count == 1 {
            found.push(text_of(&conversation["platform_id"])?);
        }
    }
    found.sort();
    Ok(found)
}

/// Lets time pass until the conversation that was refused is read too.
async fn reread(weir: &Connected, text: &str) -> Result {
    until("the refused conversation", async || {
        if where_it_is(weir, text).await?.len() == 4 {
            return Ok(Some(()));
        }
        weir.stack.time_passes(60_000).await?;
        Ok(None)
    })
    .await?;
    // Its messages are recorded before the gap is closed.
    until("the end of the finding", async || {
        let findings = weir.read_of_channel("/diagnostics").await?;
        Ok(found(&findings, "history").is_none().then_some(()))
    })
    .await
}

#[tokio::test]
async fn one_refused_conversation_costs_only_itself() -> Result {
    let weir = Connected::begin().await?;
    for (number, fault) in [
        json!({"code": 40002, "message": "Param conversation_id is invalid."}),
        json!({"code": 51065}),
        json!({"reset": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("missed {number}");
        let conversations = four_write_unheard(&weir, &text).await?;
        let fault = json!({"on": "content_list", "fault": fault});
        weir.stack.phone.order_fault(fault).await?;
        let caught_up = weir.catch_up().await?;
        assert_eq!(caught_up["stored"], 3, "{caught_up:#}");
        let gaps = caught_up["gaps"].as_array().cloned().unwrap_or_default();
        anyhow::ensure!(gaps.len() == 1 && gaps[0]["retry_at"].is_string(), "{caught_up:#}");
        let refused = text_of(&gaps[0]["conversation_platform_id"])?;
        let mut others = conversations;
        others.retain(|conversation| *conversation != refused);
        others.sort();
        assert_eq!(others.len(), 3, "one of the four is named: {caught_up:#}");
        assert_eq!(where_it_is(&weir, &text).await?, others);
        let findings = weir.read_of_channel("/diagnostics").await?;
        let finding = found(&findings, "history").unwrap_or_default();
        anyhow::ensure!(finding.to_string().contains(&refused), "{findings:#}");
        reread(&weir, &text).await?;
    }
    Ok(())
}

#[tokio::test]
async fn after_an_outage_a_refused_conversation_is_read_later() -> Result {
    let mut weir = Connected::begin().await?;
    weir.stack.stop_weir().await?;
    let conversations = four_write_unheard(&weir, "missed").await?;
    weir.stack.phone.order("clock/advance", json!({"ms": HOUR_MS})).await?;
    let fault = json!({"on": "content_list", "fault": {"code": 40002, "message": "Param conversation_id is invalid."}});
    weir.stack.phone.order_fault(fault).await?;
    weir.stack.start_weir().await?;
    let gap = until("the named conversation", async || {
        let findings = weir.read_of_channel("/diagnostics").await?;
        Ok(found(&findings, "history"))
    })
    .await?;
    anyhow::ensure!(
        conversations
            .iter()
            .any(|conversation| gap.to_string().contains(conversation)),
        "{gap:#}"
    );
    until("the other three", async || {
        Ok((where_it_is(&weir, "missed").await?.len() >= 3).then_some(()))
    })
    .await?;
    reread(&weir, "missed").await
}

#[tokio::test]
async fn withheld_image_leaves_text_and_reason() -> Result {
    let mut weir = Connected::begin().await?;
    for (fault, reason) in [
        (
            json!({"code": 40064, "message": "Due to Media send strategy"}),
            "region_blocked",
        ),
        (json!({"code": 40007}), "download_failed"),
    ] {
        weir.stack
            .phone
            .order_fault(json!({"on": "download", "fault": fault, "times": 1}))
            .await?;
        weir.stack.phone.does("write", json!({"type": "image"})).await?;
        let received = weir
            .events
            .wait_where("message.received", |event| event["data"]["content"]["type"] == "image")
            .await?;
        let path = format!("/v1/messages/{}", text_of(&received["data"]["id"])?);
        let message = until("the text in its place", async || {
            let message = weir.stack.api.get(&path).await?.expect(200)?;
            Ok((message["content"]["type"] == "fallback").then_some(message))
        })
        .await?;
        assert_eq!(
            (&message["content"]["original_type"], &message["content"]["reason"]),
            (&json!("image"), &json!(reason))
        );
        assert!(message["content"]["text"].as_str().is_some_and(|text| !text.is_empty()));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_too_old_is_deleted_and_the_conversation_goes_on() -> Result {
    let days = ("WEIR_RETENTION_MESSAGES_DAYS".into(), "30".into());
    let mut weir = Connected::with(|options| options.env.push(days)).await?;
    let data = weir.stack.data().to_owned();
    let thread = weir.conversation().await?;
    weir.say(&thread, "a secret of theirs").await?;
    weir.stack.phone.does("write", json!({"type": "image"})).await?;
    until("the picture's file", async || Ok((files(&data) == 1).then_some(()))).await?;
    weir.stack.time_passes(31 * 24 * HOUR_MS).await?;
    until("the old messages to go", async || {
        Ok(weir.messages(&thread).await?.is_empty().then_some(()))
    })
    .await?;
    until("the old events to go", async || {
        let log = weir.stack.api.get("/v1/events?limit=200").await?.expect(200)?;
        Ok((!log.to_string().contains("a secret of theirs")).then_some(()))
    })
    .await?;
    assert_eq!(files(&data), 0);
    // When the platform's history is fetched again, the database does not store it twice.
    let again = weir
        .stack
        .api
        .post(&weir.of_channel("/catch-up")?, json!({"since": "2020-01-01T00:00:00Z"}))
        .await?
        .expect(200)?;
    assert_eq!(again["stored"], 0, "{again:#}");
    let received = weir.stack.receives(&mut weir.events, "still there?").await?;
    assert_eq!(received["data"]["conversation_id"], thread.as_str());
    weir.say(&thread, "yes").await?;
    Ok(())
}

fn files(data: &std::path::Path) -> usize {
    std::fs::read_dir(data.join("media")).map_or(0, |files| files.flatten().count())
}

fn found(findings: &Value, subject: &str) -> Option<Value> {
    let all = findings["data"].as_array()?;
    // The platform's own text comes last.
    all.iter().rev().find(|finding| finding["subject"] == subject).cloned()
}

#[tokio::test]
async fn lost_subscription_is_diagnosed_and_fixed() -> Result {
    let mut weir = Connected::begin().await?;
    let look = async |weir: &Connected, subject: &str| -> anyhow::Result<Value> {
        let findings = weir.read_of_channel("/diagnostics").await?;
        found(&findings, subject).ok_or_else(|| anyhow::anyhow!("nothing of {subject}: {findings:#}"))
    };
    for subject in ["token", "permissions", "webhook_subscription", "messaging", "silence"] {
        assert_eq!(look(&weir, subject).await?["ok"], true, "{subject}");
    }
    weir.stack.time_passes(25 * HOUR_MS).await?;
    let silent = look(&weir, "silence").await?;
    assert_eq!(silent["ok"], false);
    assert!(
        silent["remedy"]
            .as_str()
            .is_some_and(|words| words.contains("everyone")),
        "{silent:#}"
    );
    // Another program registered its own URL as the app's only webhook.
    let gone = json!({"app_id": "7000000000000000001", "secret": support::SECRET, "event_type": "DIRECT_MESSAGE"});
    let url = format!("{}/open_api/v1.3/business/webhook/delete/", weir.stack.sandbox.origin());
    weir.stack
        .client()
        .post(url)
        .json(&gone)
        .send()
        .await?
        .error_for_status()?;
    let lost = look(&weir, "webhook_subscription").await?;
    assert_eq!(lost["ok"], false, "{lost:#}");
    weir.stack
        .api
        .post(&weir.of_channel("/refresh")?, json!({}))
        .await?
        .expect(200)?;
    assert_eq!(look(&weir, "webhook_subscription").await?["ok"], true);
    weir.stack.receives(&mut weir.events, "and now?").await?;
    assert_eq!(look(&weir, "silence").await?["ok"], true);
    Ok(())
}
