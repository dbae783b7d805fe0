//! The operator's messages reach the phone once, in order, with a correct status.

mod support;

use serde_json::{Value, json};
use support::{Connected, text_of};

type Result = anyhow::Result<()>;

#[tokio::test]
async fn answers_reach_the_phone_in_the_order_of_their_acceptance() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let texts: Vec<String> = (1..=8).map(|number| format!("answer {number}")).collect();
    let mut last = Value::Null;
    for text in &texts {
        last = weir.stack.api.say(&thread, text).await?.expect(202)?;
    }
    weir.event_of("message.sent", &last["id"]).await?;
    assert_eq!(weir.on_phone().await?, texts);
    Ok(())
}

#[tokio::test]
async fn text_picture_card_quote_typing_and_read_mark_all_go() -> Result {
    let mut weir = Connected::begin().await?;
    let received = weir.stack.receives(&mut weir.events, "Which sizes are there?").await?;
    let thread = text_of(&received["data"]["conversation_id"])?;
    let path = format!("/v1/conversations/{thread}");
    let card = json!({"type": "card", "card": "buttons", "title": "Which size?", "buttons": [{"id": "s", "title": "S"}, {"id": "m", "title": "M"}]});
    for body in [
        json!({"content": {"type": "text", "text": "These."}, "reply_to": received["data"]["id"]}),
        json!({"content": card}),
    ] {
        let queued = weir
            .stack
            .api
            .post(&format!("{path}/messages"), body)
            .await?
            .expect(202)?;
        weir.event_of("message.sent", &queued["id"]).await?;
    }
    for kind in ["typing", "read"] {
        let answer = weir
            .stack
            .api
            .post(&format!("{path}/activity"), json!({"type": kind}))
            .await?;
        assert!(answer.status < 300, "{kind}: {} {}", answer.status, answer.body);
    }
    let shown = weir.stack.phone.from_business().await?;
    assert_eq!(shown[0]["text"], "These.");
    assert!(shown[0]["quotes"].is_string(), "{shown:#?}");
    assert_eq!(shown[1]["template"]["title"], "Which size?");
    // The tap on a button arrives as a reply to that button.
    let tap = json!({"type": "tap", "message_id": shown[1]["id"], "button_id": "m"});
    weir.stack.phone.does("write", tap).await?;
    let answer = weir
        .events
        .wait_where("message.received", |event| event["data"]["answers"].is_string())
        .await?;
    assert_eq!(answer["data"]["answers"], "m");
    Ok(())
}

#[tokio::test]
async fn the_same_key_sends_once_and_answers_the_same() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let send = async |key: &str, text: &str| {
        let path = format!("/v1/conversations/{thread}/messages");
        let body = json!({"content": {"type": "text", "text": text}});
        let request = weir
            .stack
            .api
            .request(reqwest::Method::POST, &path)
            .header("Idempotency-Key", key)
            .json(&body);
        weir.stack.api.send(request).await
    };
    let first = send("k1", "once").await?;
    let again = send("k1", "once").await?;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(send("k1", "another").await?.status, 422);
    let marker = send("k2", "marker").await?.expect(202)?;
    weir.event_of("message.sent", &marker["id"]).await?;
    assert_eq!(weir.on_phone().await?, ["once", "marker"]);
    Ok(())
}

#[tokio::test]
async fn an_echo_that_comes_before_the_answer_makes_no_second_message() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "webhook", "fault": {"early_echo": true}}))
        .await?;
    weir.say(&thread, "early").await?;
    weir.say(&thread, "marker").await?;
    let messages = weir.messages(&thread).await?;
    let outbound: Vec<&Value> = messages
        .iter()
        .filter(|message| message["direction"] == "outbound")
        .collect();
    assert_eq!(outbound.len(), 2, "{outbound:#?}");
    assert!(weir.events.seen().iter().all(|event| event["type"] != "message.echoed"));
    Ok(())
}

#[tokio::test]
async fn app_messages_are_reported_and_counted() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .does(
            "app-reply",
            json!({"type": "text", "text": "From the app", "source": "APP"}),
        )
        .await?;
    let echoed = weir.events.wait_for("message.echoed").await?;
    assert_eq!(
        (echoed["data"]["origin"].as_str(), echoed["data"]["direction"].as_str()),
        (Some("app"), Some("outbound"))
    );
    let conversation = weir.stack.api.conversation(&thread).await?;
    assert_eq!(conversation["budget"]["used"], 1);
    Ok(())
}

#[tokio::test]
async fn platform_refusal_is_reported_verbatim() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let fault = json!({"code": 40064, "message": "Due to risk control strategy."});
    weir.stack
        .phone
        .order_fault(json!({"on": "send", "fault": fault}))
        .await?;
    let queued = weir.stack.api.say(&thread, "refused").await?.expect(202)?;
    let failed = weir.event_of("message.failed", &queued["id"]).await?;
    let error = &failed["data"]["error"];
    assert_eq!(error["code"], "recipient_risk_controlled");
    assert_eq!(
        (error["fault"].as_str(), error["retryable"].as_bool()),
        (Some("platform"), Some(false))
    );
    assert_eq!(error["platform"]["code"], "40064");
    assert_eq!(error["platform"]["message"], "Due to risk control strategy.");
    let conversation = weir.stack.api.conversation(&thread).await?;
    assert_eq!(conversation["budget"]["used"], 0);
    Ok(())
}

#[tokio::test]
async fn throttled_send_arrives_once() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let sent = weir.send_throttled(&thread, "patience").await?;
    assert_eq!(weir.on_phone().await?, ["patience"]);
    let tries = weir.tries(&sent).await?;
    assert_eq!(tries.len(), 2, "{tries:#?}");
    Ok(())
}

#[tokio::test]
async fn lost_response_is_uncertain_never_resent() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let uncertain = weir.send_uncertain(&thread, "uncertain").await?;
    assert_eq!(uncertain["data"]["error"]["code"], "outcome_unknown");
    assert_eq!(weir.on_phone().await?, ["uncertain"]);
    // After the grace time the platform's own history settles it: it is there, so it was sent.
    weir.stack.time_passes(200_000).await?;
    weir.event_of("message.sent", &uncertain["data"]["id"]).await?;
    assert_eq!(weir.on_phone().await?, ["uncertain"]);
    Ok(())
}

#[tokio::test]
async fn the_echo_settles_a_send_whose_answer_was_lost() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "send", "fault": {"lost": true}}))
        .await?;
    let sent = weir.say(&thread, "echoed").await?;
    assert!(sent["platform_id"].is_string());
    assert_eq!(weir.on_phone().await?, ["echoed"]);
    Ok(())
}

#[tokio::test]
async fn unsent_message_is_retried() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order_fault(json!({"on": "send", "fault": {"code": 51065, "message": "System error"}}))
        .await?;
    weir.say(&thread, "again").await?;
    assert_eq!(weir.on_phone().await?, ["again"]);
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_renewed_and_the_message_goes() -> Result {
    let mut weir = Connected::begin().await?;
    weir.stack.time_passes(25 * weir_tests::HOUR_MS).await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "with a new token").await?;
    assert_eq!(weir.on_phone().await?, ["with a new token"]);
    Ok(())
}

#[tokio::test]
async fn a_queued_message_can_be_taken_back_while_the_channel_is_held() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let channel = format!("/v1/channels/{}", text_of(&weir.channel["id"])?);
    weir.stack
        .api
        .patch(&channel, json!({"paused": true}))
        .await?
        .expect(200)?;
    assert_eq!(
        weir.stack.api.say(&thread, "held").await?.problem(409)?,
        "channel_paused"
    );
    weir.stack
        .api
        .patch(&channel, json!({"paused": false}))
        .await?
        .expect(200)?;
    // A message that waits for a retry can be cancelled.
    weir.stack
        .phone
        .order_fault(json!({"on": "send", "fault": {"code": 51065}, "times": 3}))
        .await?;
    let queued = weir.stack.api.say(&thread, "never").await?.expect(202)?;
    let path = format!("/v1/messages/{}", text_of(&queued["id"])?);
    weir_tests::until("the message to be cancelled", async || {
        let answer = weir.stack.api.delete(&path).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    weir.event_of("message.cancelled", &queued["id"]).await?;
    weir.stack.phone.look("faults").await?;
    assert!(weir.on_phone().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn nothing_accepted_is_lost_when_the_power_fails() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let mut accepted = Vec::new();
    for number in 1..=6 {
        let queued = weir
            .stack
            .api
            .say(&thread, &format!("answer {number}"))
            .await?
            .expect(202)?;
        accepted.push(text_of(&queued["id"])?);
    }
    weir.stack.kill_weir().await?;
    weir.stack.start_weir().await?;
    // Messages in flight are settled by their echo, or after the grace period by the history.
    weir.stack.time_passes(400_000).await?;
    weir_tests::until("every accepted message to be sent", async || {
        for id in &accepted {
            let message = weir.stack.api.get(&format!("/v1/messages/{id}")).await?.expect(200)?;
            if message["status"] != "sent" {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let mut shown = weir.on_phone().await?;
    shown.sort();
    assert_eq!(
        shown,
        (1..=6).map(|number| format!("answer {number}")).collect::<Vec<_>>()
    );
    Ok(())
}

#[tokio::test]
async fn person_retries_failed_and_resolves_uncertain() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let phone = weir.stack.phone.clone();
    phone
        .order_fault(json!({"on": "send", "fault": {"code": 40064, "message": "Due to risk control strategy."}}))
        .await?;
    let failed = weir.stack.api.say(&thread, "second time lucky").await?.expect(202)?;
    weir.event_of("message.failed", &failed["id"]).await?;
    let path = |message: &Value| Ok::<_, anyhow::Error>(format!("/v1/messages/{}", text_of(&message["id"])?));
    let again = weir
        .stack
        .api
        .post(&format!("{}/retry", path(&failed)?), json!({}))
        .await?
        .expect(202)?;
    assert_eq!(again["id"], failed["id"]);
    weir.event_of("message.sent", &failed["id"]).await?;
    let answer = weir
        .stack
        .api
        .post(&format!("{}/retry", path(&failed)?), json!({}))
        .await?;
    assert_eq!(answer.problem(409)?, "message_not_retryable");
    // Two messages that never left, without any sign of it: they have no echo.
    let mut uncertain_sends = Vec::new();
    for text in ["sent again on request", "given up on request"] {
        phone
            .order_fault(json!({"on": "send", "fault": {"reset": true}}))
            .await?;
        let uncertain_send = weir.stack.api.say(&thread, text).await?.expect(202)?;
        weir.event_of("message.uncertain", &uncertain_send["id"]).await?;
        if uncertain_sends.is_empty() {
            weir.stack
                .api
                .post(&format!("{}/retry", path(&uncertain_send)?), json!({}))
                .await?
                .expect(202)?;
            weir.event_of("message.sent", &uncertain_send["id"]).await?;
        }
        uncertain_sends.push(uncertain_send);
    }
    let given_up = weir.stack.api.delete(&path(&uncertain_sends[1])?).await?.expect(200)?;
    assert_eq!(
        (&given_up["status"], &given_up["error"]["code"]),
        (&json!("failed"), &json!("outcome_unknown"))
    );
    weir.event_of("message.failed", &uncertain_sends[1]["id"]).await?;
    assert_eq!(
        weir.stack.api.delete(&path(&uncertain_sends[1])?).await?.problem(409)?,
        "message_not_cancellable"
    );
    // The history, which would have caused another send, is no longer queried.
    weir.stack.time_passes(300_000).await?;
    weir.say(&thread, "last").await?;
    assert_eq!(
        weir.on_phone().await?,
        ["second time lucky", "sent again on request", "last"]
    );
    Ok(())
}
