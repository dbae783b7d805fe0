//! A customer's messages are received once, completely and in order, whatever the form of the platform's webhooks.

mod support;

use serde_json::{Value, json};
use support::{Connected, envelope, signature, text_of};

type Result = anyhow::Result<()>;

#[tokio::test]
async fn text_events_follow_fixed_order() -> Result {
    let mut weir = Connected::begin().await?;
    weir.conversation().await?;
    weir.events.wait_for("window.opened").await?;
    let kinds: Vec<&str> = weir
        .events
        .seen()
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "contact.created",
            "conversation.opened",
            "message.received",
            "window.opened"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn every_kind_of_message_arrives_and_none_is_empty() -> Result {
    let mut weir = Connected::begin().await?;
    let cases = [
        (json!({"type": "text", "text": "مرحبا 👋"}), "text"),
        (json!({"type": "image"}), "image"),
        (json!({"type": "share_post"}), "shared_post"),
        (json!({"type": "video"}), "fallback"),
        (json!({"type": "sticker"}), "fallback"),
        (json!({"type": "emoji"}), "fallback"),
        (json!({"type": "unknown", "name": "voice"}), "fallback"),
    ];
    for (written, kind) in cases {
        weir.stack.phone.does("write", written.clone()).await?;
        let event = weir.events.wait_for("message.received").await?;
        let content = &event["data"]["content"];
        assert_eq!(content["type"], kind, "{written}");
        if kind == "fallback" {
            assert!(
                content["text"].as_str().is_some_and(|text| !text.is_empty()),
                "{content}"
            );
            assert!(content["reason"].is_string(), "{content}");
            assert!(content["original_type"].is_string(), "{content}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_reaction_and_a_read_mark_are_no_messages() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "An answer").await?;
    weir.stack
        .phone
        .does("write", json!({"type": "reaction", "emoji": "👍"}))
        .await?;
    let reaction = weir.events.wait_for("reaction.added").await?;
    assert_eq!(reaction["data"]["emoji"], "👍");
    weir.stack.phone.does("read", json!({})).await?;
    weir.events.wait_for("message.read").await?;
    assert_eq!(weir.messages(&thread).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_same_webhook_twice_is_one_message() -> Result {
    let mut weir = Connected::begin().await?;
    let body = weir.text_webhook("C+1==", "M1==", "once").await?;
    for _ in 0..3 {
        assert_eq!(weir.webhook(&body, 0).await?, 200);
    }
    let marker = weir.text_webhook("C+1==", "M2==", "marker").await?;
    assert_eq!(weir.webhook(&marker, 0).await?, 200);
    weir.events
        .wait_where("message.received", |event| event["data"]["content"]["text"] == "marker")
        .await?;
    let received = weir
        .events
        .seen()
        .iter()
        .filter(|event| event["type"] == "message.received")
        .count();
    assert_eq!(received, 2);
    Ok(())
}

#[tokio::test]
async fn duplicated_and_reordered_webhooks_do_no_harm() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "webhook", "fault": {"duplicate": true}, "times": 2}))
        .await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "webhook", "fault": {"reorder": true}}))
        .await?;
    let texts = ["one", "two", "three", "four"];
    for text in texts {
        weir.stack.phone.writes(text).await?;
    }
    let mut received = Vec::new();
    while received.len() < texts.len() {
        let event = weir.events.wait_for("message.received").await?;
        received.push(text_of(&event["data"]["content"]["text"])?);
    }
    received.sort();
    assert_eq!(received, ["four", "one", "three", "two"]);
    assert_eq!(weir.messages(&thread).await?.len(), 5);
    Ok(())
}

#[tokio::test]
async fn an_unproven_webhook_gets_401_and_leaves_nothing() -> Result {
    let weir = Connected::begin().await?;
    let body = weir.text_webhook("C+1==", "M1==", "forged").await?;
    let at = weir.now().await? / 1000;
    let good = signature(support::SECRET, at, &body);
    let cases = [
        ("no signature at all", String::new()),
        ("another secret", signature("not-the-secret", at, &body)),
        ("another body", signature(support::SECRET, at, "{}")),
        ("too old", signature(support::SECRET, at - 301, &body)),
        ("from the future", signature(support::SECRET, at + 330, &body)),
        (
            "upper-case hex",
            good.to_uppercase().replace("T=", "t=").replace("S=", "s="),
        ),
        ("cut short", good[..good.len() - 2].to_owned()),
    ];
    for (what, signature) in cases {
        assert_eq!(weir.post_webhook(&body, &signature).await?, 401, "{what}");
    }
    let conversations = weir.stack.api.get("/v1/conversations").await?.expect(200)?;
    assert_eq!(conversations["data"], json!([]));
    // The same body with its own signature is welcome: it was not the body that was refused.
    assert_eq!(weir.post_webhook(&body, &good).await?, 200);
    Ok(())
}

#[tokio::test]
async fn unknown_or_oversized_webhook_is_refused() -> Result {
    let weir = Connected::begin().await?;
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(weir.webhook(&large, 0).await?, 413);
    let url = format!("{}/hooks/nobody", weir.stack.api.origin());
    let answer = weir.stack.client().post(url).body("{}").send().await?;
    assert_eq!(answer.status().as_u16(), 404);
    Ok(())
}

#[tokio::test]
async fn unreadable_webhook_becomes_dead_letter() -> Result {
    let weir = Connected::begin().await?;
    let business = text_of(&weir.channel["platform_id"])?;
    let strange = [
        "this is no JSON".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        envelope(&business, "im_not_yet_invented", 1, &json!({"a": 1})),
        json!({"event": "im_receive_msg", "user_openid": business, "content": "no JSON inside"}).to_string(),
    ];
    for body in &strange {
        assert_eq!(weir.webhook(body, 0).await?, 200, "{body}");
    }
    let letters = weir.stack.api.get("/v1/dead-letters").await?.expect(200)?;
    let letters = letters["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(letters.len(), strange.len(), "{letters:#?}");
    assert!(
        letters
            .iter()
            .all(|letter| letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()))
    );
    // They can be read, replayed and deleted.
    let id = text_of(&letters[0]["id"])?;
    weir.stack
        .api
        .get(&format!("/v1/dead-letters/{id}"))
        .await?
        .expect(200)?;
    weir.stack
        .api
        .delete(&format!("/v1/dead-letters/{id}"))
        .await?
        .expect(204)?;
    assert_eq!(
        weir.stack
            .api
            .get(&format!("/v1/dead-letters/{id}"))
            .await?
            .problem(404)?,
        "not_found"
    );
    Ok(())
}

#[tokio::test]
async fn lenient_with_everything_but_ids() -> Result {
    let mut weir = Connected::begin().await?;
    let business = text_of(&weir.channel["platform_id"])?;
    let now = weir.now().await?;
    let base = |message: Value, more: Value| {
        let mut content = json!({
            "from_user": {"id": "U", "role": "personal_account"}, "to_user": {"id": business, "role": "business_account"},
            "conversation_id": "C+1==", "message_id": message, "timestamp": now,
        });
        content
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        envelope(&business, "im_receive_msg", now / 1000, &content)
    };
    let bodies = [
        base(
            json!("M1"),
            json!({"type": "text", "text": {"body": "no names, no tag"}}),
        ),
        base(json!("M2"), json!({"type": "text"})),
        base(json!("M3"), json!({"type": "hologram", "hologram": {"depth": 3}})),
        base(json!("M4"), json!({})),
        // A number beyond 2^53, as another TikTok webhook writes ids.
        base(
            json!(7_301_234_567_890_123_457_u64),
            json!({"type": "text", "text": {"body": "a number for an id"}}),
        ),
    ];
    for body in &bodies {
        assert_eq!(weir.webhook(body, 0).await?, 200, "{body}");
        weir.events.wait_for("message.received").await?;
    }
    let received = weir
        .events
        .seen()
        .iter()
        .filter(|event| event["type"] == "message.received");
    let ids: Vec<&str> = received
        .filter_map(|event| event["data"]["platform_id"].as_str())
        .collect();
    assert_eq!(ids, ["M1", "M2", "M3", "M4", "7301234567890123457"]);
    Ok(())
}

#[tokio::test]
async fn hidden_message_is_reported_withheld() -> Result {
    let mut weir = Connected::begin().await?;
    weir.stack.phone.of("lena").writes("Hallo!").await?;
    let withheld = weir.events.wait_for("channel.inbound_withheld").await?;
    assert_eq!(withheld["channel_id"], weir.channel["id"]);
    Ok(())
}

#[tokio::test]
async fn a_webhook_while_weir_is_down_arrives_when_it_is_back() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack.stop_weir().await?;
    weir.stack.phone.writes("Are you there?").await?;
    weir.stack.start_weir().await?;
    weir.stack.phone.order("webhooks/retry", json!({})).await?;
    weir_tests::until("the message", async || {
        let messages = weir.messages(&thread).await?;
        Ok(messages
            .iter()
            .any(|message| message["content"]["text"] == "Are you there?")
            .then_some(()))
    })
    .await
}
