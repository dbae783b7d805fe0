//! Credentials live on by themselves, and when they cannot, nothing that was accepted is lost.

mod support;

use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::{Browser, HOUR_MS, until};

type Result = anyhow::Result<()>;

const DAY_MS: u64 = 24 * HOUR_MS;

#[tokio::test]
async fn fifty_sends_at_the_end_of_a_token_renew_it_once() -> Result {
    let mut weir = Connected::begin().await?;
    let mut threads = Vec::new();
    for number in 0..10 {
        let name = format!("buyer_{number}");
        let person = json!({"username": name, "country": "ID"});
        weir.stack.phone.order("people", person).await?;
        weir.stack.phone.of(&name).writes("Hello!").await?;
        let heard = weir.events.wait_for("message.received").await?;
        threads.push((name, text_of(&heard["data"]["conversation_id"])?));
    }
    weir.stack.time_passes(25 * HOUR_MS).await?;
    let sends = threads
        .iter()
        .flat_map(|(_, thread)| (0..5).map(move |number| (thread.clone(), number)));
    let sends: Vec<_> = sends
        .map(|(thread, number)| {
            let api = weir.stack.api.clone();
            tokio::spawn(async move { api.say(&thread, &format!("answer {number}")).await?.expect(202) })
        })
        .collect();
    for send in sends {
        send.await??;
    }
    until("fifty messages on the phones", async || {
        let mut shown = 0;
        for (name, _) in &threads {
            shown += weir.stack.phone.of(name).from_business().await?.len();
        }
        Ok((shown == 50).then_some(()))
    })
    .await?;
    let renewals = weir.stack.phone.calls("refresh").await?;
    assert_eq!(renewals.len(), 1, "{renewals:#?}");
    // Ten calls a second are what TikTok lets one app make: the rest waited, and nobody was told to come back.
    let calls = weir.stack.phone.calls("").await?;
    assert!(calls.iter().all(|call| call["code"] != 40_100), "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn a_dead_authorisation_holds_what_was_accepted_until_a_person_renews_it() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order("revoke", json!({"account": "acme_store"}))
        .await?;
    let queued = weir.stack.api.say(&thread, "held").await?.expect(202)?;
    weir.events.wait_for("channel.reauthorization_required").await?;
    let channel = weir.stack.api.get(&weir.of_channel("")?).await?.expect(200)?;
    assert_eq!(channel["status"], "reauthorization_required");
    // More is accepted, and held too: the window is still open.
    let second = weir.stack.api.say(&thread, "held too").await?.expect(202)?;
    let path = format!("/v1/messages/{}", text_of(&queued["id"])?);
    until("the message to be held", async || {
        let message = weir.stack.api.get(&path).await?.expect(200)?;
        Ok((message["status"] == "queued").then_some(()))
    })
    .await?;
    assert!(weir.on_phone().await?.is_empty());
    let session = weir
        .stack
        .api
        .post(&weir.of_channel("/reauthorize")?, json!({}))
        .await?
        .expect(201)?;
    Browser::new(weir.stack.client().clone())
        .consent(&text_of(&session["url"])?, "acme_store", "allow")
        .await?;
    weir.events.wait_for("channel.recovered").await?;
    weir.event_of("message.sent", &second["id"]).await?;
    assert_eq!(weir.on_phone().await?, ["held", "held too"]);
    Ok(())
}

#[tokio::test]
async fn what_is_held_past_its_window_fails_and_is_not_sent_late() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .phone
        .order("revoke", json!({"account": "acme_store"}))
        .await?;
    let queued = weir.stack.api.say(&thread, "too late").await?.expect(202)?;
    weir.events.wait_for("channel.reauthorization_required").await?;
    weir.stack.time_passes(48 * HOUR_MS).await?;
    let failed = weir.event_of("message.failed", &queued["id"]).await?;
    assert_eq!(failed["data"]["error"]["code"], "reply_window_closed");
    assert!(weir.on_phone().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_person_is_warned_thirty_seven_and_one_days_ahead() -> Result {
    let mut weir = Connected::begin().await?;
    for (ms, days) in [(335 * DAY_MS + HOUR_MS, 30), (23 * DAY_MS, 7), (6 * DAY_MS, 1)] {
        weir.stack.time_passes(ms).await?;
        let warned = weir
            .events
            .wait_where("channel.reauthorization_required", |event| {
                event["data"]["days_left"].is_u64()
            })
            .await?;
        assert_eq!(warned["data"]["days_left"], days);
    }
    let channel = weir.stack.api.get(&weir.of_channel("")?).await?.expect(200)?;
    assert_eq!(channel["status"], "connected", "a warning is no end");
    Ok(())
}

#[tokio::test]
async fn a_channel_is_authorised_again_in_place_and_by_its_own_account_only() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let again = async |weir: &Connected, account: &str| -> anyhow::Result<Value> {
        let path = weir.of_channel("/reauthorize")?;
        let session = weir.stack.api.post(&path, json!({})).await?.expect(201)?;
        Browser::new(weir.stack.client().clone())
            .consent(&text_of(&session["url"])?, account, "allow")
            .await?;
        let path = format!("/v1/connect-sessions/{}", text_of(&session["id"])?);
        weir.stack.api.get(&path).await?.expect(200)
    };
    weir.stack
        .api
        .patch(&weir.of_channel("")?, json!({"name": "Our shop"}))
        .await?
        .expect(200)?;
    let done = again(&weir, "acme_store").await?;
    assert_eq!(
        (&done["status"], &done["channel_id"]),
        (&json!("succeeded"), &weir.channel["id"])
    );
    let other = json!({"username": "other_shop", "country": "ID"});
    weir.stack.phone.order("accounts", other).await?;
    let refused = again(&weir, "other_shop").await?;
    assert_eq!(
        (&refused["status"], &refused["problem"]["code"]),
        (&json!("failed"), &json!("other_account"))
    );
    let channel = weir.stack.api.get(&weir.of_channel("")?).await?.expect(200)?;
    assert_eq!(
        (&channel["name"], &channel["username"]),
        (&json!("Our shop"), &json!("acme_store"))
    );
    weir.say(&thread, "as before").await?;
    Ok(())
}
