//! Credentials are renewed automatically, and if that fails, no accepted message is lost.

mod support;

use anyhow::Context;
use rusqlite::Connection;
use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::{APP, Browser, HOUR_MS, until};

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
        let received = weir.events.wait_for("message.received").await?;
        threads.push((name, text_of(&received["data"]["conversation_id"])?));
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
    // TikTok allows an app ten calls per second: the rest waited, and no caller was asked to retry.
    let calls = weir.stack.phone.calls("").await?;
    assert!(calls.iter().all(|call| call["code"] != 40_100), "{calls:#?}");
    Ok(())
}

/// A host whose channel waits for a person, a conversation, and a message in it that was accepted meanwhile.
async fn revoked(text: &str) -> anyhow::Result<(Connected, String, Value)> {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.revoke().await?;
    let queued = weir.stack.api.say(&thread, text).await?.expect(202)?;
    weir.events.wait_for("channel.reauthorization_required").await?;
    Ok((weir, thread, queued))
}

#[tokio::test]
async fn revoked_authorization_holds_messages() -> Result {
    let (mut weir, thread, queued) = revoked("held").await?;
    let channel = weir.read_of_channel("").await?;
    assert_eq!(channel["status"], "reauthorization_required");
    // More messages are accepted, and held too: the window is still open.
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
    let (mut weir, _, queued) = revoked("too late").await?;
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
    let channel = weir.read_of_channel("").await?;
    assert_eq!(channel["status"], "connected", "a warning is no end");
    Ok(())
}

#[tokio::test]
async fn reauthorization_needs_same_account() -> Result {
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
    let channel = weir.read_of_channel("").await?;
    assert_eq!(
        (&channel["name"], &channel["username"]),
        (&json!("Our shop"), &json!("acme_store"))
    );
    weir.say(&thread, "as before").await?;
    Ok(())
}

/// Renews a channel's credential on request; returns the response.
async fn refresh(weir: &Connected) -> anyhow::Result<weir_tests::Answer> {
    weir.stack.api.post(&weir.of_channel("/refresh")?, json!({})).await
}

/// Renews in a task of its own, and returns once the platform has the call. It answers when the faults are forgotten.
async fn begin_refresh(
    weir: &Connected,
) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<weir_tests::Answer>>> {
    let slow = json!({"on": "refresh", "fault": {"delay_ms": 300_000}});
    weir.stack.phone.order_fault(slow).await?;
    let (api, path) = (weir.stack.api.clone(), weir.of_channel("/refresh")?);
    let renewal = tokio::spawn(async move { api.post(&path, json!({})).await });
    weir.stack.phone.faults_struck().await?;
    Ok(renewal)
}

#[tokio::test]
async fn a_token_renewed_while_the_record_is_locked_is_written_later() -> Result {
    let mut weir = Connected::begin().await?;
    let renewal = begin_refresh(&weir).await?;
    let record = Connection::open(weir.stack.data().join("weir.db"))?;
    record.execute_batch("BEGIN IMMEDIATE")?;
    weir.stack.phone.forget_faults().await?;
    // It is renewed, in memory only, and the host reports that.
    let response = until("the renewed token to wait for the database", async || {
        let ready = weir.stack.api.get("/readyz").await?;
        Ok((ready.body["code"] == "credential_unwritten").then_some(ready))
    })
    .await?;
    assert_eq!(response.status, 503);
    let held = format!("{:#}", response.body);
    assert!(held.contains("do not stop the host"), "{held}");
    record.execute_batch("ROLLBACK")?;
    until("the database to accept it", async || {
        Ok((weir.stack.api.get("/readyz").await?.status == 200).then_some(()))
    })
    .await?;
    // The response of the renewal may have been sent before.
    renewal.await??;
    // The refresh token rotated, and the new one is on the disk.
    weir.stack.kill_weir().await?;
    weir.stack.start_weir().await?;
    refresh(&weir).await?.expect(200)?;
    let renewals = weir.stack.phone.calls("refresh").await?;
    assert!(renewals.iter().all(|call| call["code"] == 0), "{renewals:#?}");
    Ok(())
}

#[tokio::test]
async fn a_renewal_ends_though_its_caller_left() -> Result {
    let weir = Connected::begin().await?;
    let renewal = begin_refresh(&weir).await?;
    renewal.abort();
    weir.stack.phone.forget_faults().await?;
    until("the renewal to end", async || {
        let renewals = weir.stack.phone.calls("refresh").await?;
        Ok((!renewals.is_empty()).then_some(()))
    })
    .await?;
    // The platform no longer accepts the old refresh token.
    refresh(&weir).await?.expect(200)?;
    let renewals = weir.stack.phone.calls("refresh").await?;
    assert!(renewals.iter().all(|call| call["code"] == 0), "{renewals:#?}");
    Ok(())
}

#[tokio::test]
async fn a_renewal_cut_off_by_a_kill_is_repeated_at_the_start() -> Result {
    let mut weir = Connected::begin().await?;
    // Stored, so that a response that was not received is not the only copy.
    weir.stack.phone.set(json!({"rotate_refresh_tokens": false})).await?;
    let renewal = begin_refresh(&weir).await?;
    weir.stack.kill_weir().await?;
    renewal.abort();
    weir.stack.phone.forget_faults().await?;
    weir.stack.start_weir().await?;
    until("a second renewal", async || {
        let renewals = weir.stack.phone.calls("refresh").await?;
        Ok((renewals.len() == 2).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_renewal_that_is_not_granted_names_what_is_missing() -> Result {
    let weir = Connected::begin().await?;
    let connector = weir.stack.api.get("/v1/connectors/tiktok").await?.expect(200)?;
    let granted = connector["grants"].as_array().cloned().unwrap_or_default();
    let rest: Vec<_> = granted
        .iter()
        .filter(|grant| grant["capability"] != "authorization" || grant["route"] != "refresh")
        .collect();
    let put = json!({ "grants": rest });
    weir.stack
        .api
        .put("/v1/connectors/tiktok/grants", put)
        .await?
        .expect(200)?;
    let refused = refresh(&weir).await?;
    assert_eq!(refused.problem(409)?, "grants_missing");
    let missing = refused.body["missing"].as_array().cloned().unwrap_or_default();
    assert_eq!(missing.len(), 1, "{:#}", refused.body);
    assert_eq!(
        (&missing[0]["capability"], &missing[0]["route"]),
        (&json!("authorization"), &json!("refresh"))
    );
    let yes = json!({ "grants": connector["grants"] });
    weir.stack
        .api
        .put("/v1/connectors/tiktok/grants", yes)
        .await?
        .expect(200)?;
    refresh(&weir).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_empty_refresh_token_does_not_replace_the_one_that_works() -> Result {
    let weir = Connected::begin().await?;
    weir.stack.phone.set(json!({"rotate_refresh_tokens": false})).await?;
    for members in [
        json!({"refresh_token": ""}),
        json!({"refresh_token": null}),
        json!({"refresh_token": null, "expires_in": null, "refresh_token_expires_in": 0, "open_id": ""}),
    ] {
        let fault = json!({"on": "refresh", "fault": {"answer": members}});
        weir.stack.phone.order_fault(fault).await?;
        refresh(&weir).await?.expect(200)?;
    }
    // Without an access token it is no renewal.
    let fault = json!({"on": "refresh", "fault": {"answer": {"access_token": ""}}});
    weir.stack.phone.order_fault(fault).await?;
    assert_eq!(refresh(&weir).await?.problem(502)?, "renewal_unanswered");
    refresh(&weir).await?.expect(200)?;
    let channel = weir.read_of_channel("").await?;
    assert_eq!(channel["status"], "connected");
    // A lifetime that the response does not contain stays as before.
    let findings = weir.read_of_channel("/diagnostics").await?;
    let token = of_subject(&findings, "token")?;
    assert!(
        text_of(&token["evidence"])?.contains("renewed automatically before"),
        "{token:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_app_secret_is_the_operators_fault() -> Result {
    let weir = Connected::begin().await?;
    let path = format!("/v1/apps/{APP}");
    let mut app = weir.stack.api.get(&path).await?.expect(200)?;
    let mut put = async |secret: &str| {
        let secrets = json!({"client_secret": secret});
        let body = json!({"connector": app["connector"], "settings": app["settings"].take(), "origins": app["origins"], "secrets": secrets});
        app = weir.stack.api.put(&path, body).await?.expect(200)?;
        anyhow::Ok(())
    };
    put("not-the-platforms").await?;
    let refused = refresh(&weir).await?;
    assert_eq!(refused.problem(409)?, "renewal_refused");
    assert_eq!(
        (
            &refused.body["fault"],
            &refused.body["retryable"],
            &refused.body["platform"]["code"]
        ),
        (&json!("caller"), &json!(false), &json!("40101")),
        "{:#}",
        refused.body
    );
    let channel = weir.read_of_channel("").await?;
    assert_eq!(channel["status"], "connected", "the authorization stands");
    put(support::SECRET).await?;
    refresh(&weir).await?.expect(200)?;
    Ok(())
}

/// One finding of a diagnosis.
fn of_subject(findings: &Value, subject: &str) -> anyhow::Result<Value> {
    let mut all = findings["data"].as_array().into_iter().flatten();
    let found = all.find(|finding| finding["subject"] == subject).cloned();
    found.with_context(|| format!("no finding {subject} in {findings:#}"))
}

#[tokio::test]
async fn a_token_of_another_account_is_never_used() -> Result {
    let mut weir = Connected::begin().await?;
    weir.stack.phone.set(json!({"rotate_refresh_tokens": false})).await?;
    let answer = json!({"access_token": "act.of.somebody.else", "open_id": "somebody-else"});
    let fault = json!({"on": "refresh", "fault": {"answer": answer}});
    weir.stack.phone.order_fault(fault).await?;
    let refused = refresh(&weir).await?;
    assert_eq!(refused.problem(502)?, "renewal_unanswered");
    assert!(
        text_of(&refused.body["detail"])?.contains("somebody-else"),
        "{:#}",
        refused.body
    );
    let degraded = weir.events.wait_for("channel.degraded").await?;
    assert!(
        text_of(&degraded["data"]["reason"])?.contains("somebody-else"),
        "{degraded:#}"
    );
    // The one before is used as ever.
    let thread = weir.conversation().await?;
    weir.say(&thread, "still us").await?;
    let calls = weir.stack.phone.calls("").await?;
    assert!(calls.iter().all(|call| call["code"] == 0), "{calls:#?}");
    refresh(&weir).await?.expect(200)?;
    let channel = weir.read_of_channel("").await?;
    assert_eq!(channel["status"], "connected");
    Ok(())
}

#[tokio::test]
async fn a_gone_grant_met_by_hand_is_the_channels_state() -> Result {
    let mut weir = Connected::begin().await?;
    weir.revoke().await?;
    assert_eq!(refresh(&weir).await?.problem(409)?, "reauthorization_required");
    weir.events.wait_for("channel.reauthorization_required").await?;
    let channel = weir.read_of_channel("").await?;
    assert_eq!(channel["status"], "reauthorization_required");
    Ok(())
}

#[tokio::test]
async fn a_refused_consent_leaves_the_live_authorization() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let session = weir
        .stack
        .api
        .post(&weir.of_channel("/reauthorize")?, json!({}))
        .await?
        .expect(201)?;
    Browser::new(weir.stack.client().clone())
        .consent_to(
            &text_of(&session["url"])?,
            "acme_store",
            "allow",
            &["user.info.basic", "user.account.type"],
        )
        .await?;
    let path = format!("/v1/connect-sessions/{}", text_of(&session["id"])?);
    let refused = weir.stack.api.get(&path).await?.expect(200)?;
    assert_eq!(refused["problem"]["code"], "ungranted_scopes");
    let words = text_of(&refused["problem"]["detail"])?;
    assert!(words.contains("stays connected"), "{words}");
    assert!(weir.stack.phone.calls("revoke").await?.is_empty());
    weir.say(&thread, "still here").await?;
    Ok(())
}
