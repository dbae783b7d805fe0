//! Connecting an account: the whole OAuth flow, and each way in which it can end.

mod callback;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};
use support::{Connected, text_of};
use tempfile::TempDir;
use weir_tests::{APP, Browser, Options, Stack};

type Result = anyhow::Result<()>;

/// A host with the connector and the app, without a connected account.
async fn ready() -> anyhow::Result<(Stack, TempDir)> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    stack.install("tiktok").await?;
    stack.put_app().await?;
    Ok((stack, folder))
}

async fn session(stack: &Stack) -> anyhow::Result<Value> {
    stack
        .api
        .post(
            "/v1/connect-sessions",
            json!({"app": APP, "name": "Main shop", "labels": {"team": "a"}}),
        )
        .await?
        .expect(201)
}

async fn ended(stack: &Stack, session: &Value) -> anyhow::Result<Value> {
    stack
        .api
        .get(&format!("/v1/connect-sessions/{}", text_of(&session["id"])?))
        .await?
        .expect(200)
}

async fn channels(stack: &Stack) -> anyhow::Result<usize> {
    let listed = stack.api.get("/v1/channels").await?.expect(200)?;
    listed["data"].as_array().map(Vec::len).context("no list")
}

#[tokio::test]
async fn a_business_account_is_connected_with_name_picture_and_links() -> Result {
    let (stack, _folder) = ready().await?;
    let mut events = stack.api.listen().await?;
    let session = session(&stack).await?;
    assert_eq!(session["status"], "pending");
    let (_, status, _) = Browser::new(stack.client().clone())
        .consent(&text_of(&session["url"])?, "acme_store", "allow")
        .await?;
    assert_eq!(status, 200);
    let done = ended(&stack, &session).await?;
    assert_eq!(done["status"], "succeeded");
    let channel = stack
        .api
        .get(&format!("/v1/channels/{}", text_of(&done["channel_id"])?))
        .await?
        .expect(200)?;
    assert_eq!(
        (channel["type"].as_str(), channel["name"].as_str()),
        (Some("tiktok"), Some("Main shop"))
    );
    assert_eq!(
        (channel["username"].as_str(), channel["status"].as_str()),
        (Some("acme_store"), Some("connected"))
    );
    assert_eq!(channel["labels"], json!({"team": "a"}));
    assert_eq!(events.wait_for("channel.connected").await?["channel_id"], channel["id"]);
    // The webhook URL is registered at TikTok.
    let calls = stack.phone.calls("").await?;
    assert!(
        calls
            .iter()
            .any(|call| call["api"].as_str().is_some_and(|api| api.contains("webhook"))),
        "{calls:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_personal_account_is_refused_and_leaves_nothing_behind() -> Result {
    let (stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    Browser::new(stack.client().clone())
        .consent(&text_of(&session["url"])?, "just_me", "allow")
        .await?;
    let done = ended(&stack, &session).await?;
    assert_eq!(
        (done["status"].as_str(), done["problem"]["code"].as_str()),
        (Some("failed"), Some("personal_account_not_supported"))
    );
    assert_eq!(channels(&stack).await?, 0);
    let revoked = stack.phone.calls("revoke").await?;
    assert_eq!(revoked.len(), 1, "the token must be given back");
    Ok(())
}

#[tokio::test]
async fn denial_and_missing_scopes_are_named() -> Result {
    let (stack, _folder) = ready().await?;
    let denied = session(&stack).await?;
    Browser::new(stack.client().clone())
        .consent(&text_of(&denied["url"])?, "acme_store", "deny")
        .await?;
    assert_eq!(ended(&stack, &denied).await?["status"], "failed");
    let partial = session(&stack).await?;
    let mut browser = Browser::new(stack.client().clone());
    browser
        .consent_to(
            &text_of(&partial["url"])?,
            "acme_store",
            "allow",
            &["user.info.basic", "user.account.type"],
        )
        .await?;
    let done = ended(&stack, &partial).await?;
    assert_eq!(
        (done["status"].as_str(), done["problem"]["code"].as_str()),
        (Some("failed"), Some("ungranted_scopes"))
    );
    assert!(
        done["problem"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("message.list.send")),
        "{done:#}"
    );
    assert_eq!(channels(&stack).await?, 0);
    Ok(())
}

#[tokio::test]
async fn callback_works_once_in_its_browser() -> Result {
    let (stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    // Another person's browser: the page was opened in one browser, and the callback comes from another.
    let mut mine = Browser::new(stack.client().clone());
    let (at, ..) = mine.open(text_of(&session["url"])?.parse()?).await?;
    let query: BTreeMap<String, String> = at.query_pairs().into_owned().collect();
    let callback = format!(
        "{}/oauth/callback?code=anything&state={}",
        stack.api.origin(),
        query["state"]
    );
    let (_, stolen, page) = Browser::new(stack.client().clone()).open(callback.parse()?).await?;
    assert!((400..500).contains(&stolen), "{stolen} {page}");
    // A state that was never issued.
    let unknown = format!("{}/oauth/callback?code=x&state=unknown", stack.api.origin());
    let (_, status, _) = mine.open(unknown.parse()?).await?;
    assert!((400..500).contains(&status));
    assert_eq!(channels(&stack).await?, 0);
    Ok(())
}

#[tokio::test]
async fn unfinished_session_expires() -> Result {
    let (stack, _folder) = ready().await?;
    let session = session(&stack).await?;
    stack.time_passes(weir_tests::HOUR_MS).await?;
    assert_eq!(ended(&stack, &session).await?["status"], "expired");
    Ok(())
}

#[tokio::test]
async fn reconnected_account_is_same_channel() -> Result {
    let weir = Connected::begin().await?;
    let again = weir.stack.connect("acme_store").await?;
    assert_eq!(again["id"], weir.channel["id"]);
    assert_eq!(channels(&weir.stack).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_deleted_channel_keeps_its_history_and_gives_its_token_back() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "before").await?;
    let path = format!("/v1/channels/{}", text_of(&weir.channel["id"])?);
    let answer = weir.stack.api.delete(&path).await?;
    assert!(answer.status < 300, "{answer:?}");
    weir.events.wait_for("channel.deleted").await?;
    let closed = weir.events.wait_for("conversation.closed").await?;
    assert_eq!(
        (closed["data"]["id"].as_str(), closed["data"]["reason"].as_str()),
        (Some(thread.as_str()), Some("channel_deleted"))
    );
    assert_eq!(weir.stack.api.conversation(&thread).await?["status"], "closed");
    assert_eq!(weir.messages(&thread).await?.len(), 2);
    assert_eq!(
        weir.stack.api.say(&thread, "after").await?.problem(409)?,
        "channel_deleted"
    );
    assert_eq!(weir.stack.phone.calls("revoke").await?.len(), 1);
    // Webhooks that still arrive are acknowledged, and not stored.
    let body = weir.text_webhook("C+9==", "M9==", "too late").await?;
    assert_eq!(weir.webhook(&body, 0).await?, 200);
    assert_eq!(weir.messages(&thread).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn nothing_serves_before_the_operator_says_yes() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let bytes = stack.binaries().connector("tiktok")?;
    let request = stack
        .api
        .request(reqwest::Method::POST, "/v1/connectors")
        .header("content-type", "application/wasm");
    let staged = stack.api.send(request.body(bytes)).await?.expect(201)?;
    assert_eq!(staged["state"], "staged");
    let wanted = staged["wanted_grants"].as_array().context("no wanted grants")?;
    let send = wanted
        .iter()
        .find(|grant| grant["class"] == "message-send")
        .context("no send route")?;
    assert_eq!(send["origin"], "https://business-api.tiktok.com");
    assert!(send["why"].as_str().is_some_and(|why| !why.is_empty()));
    let promote = format!(
        "/v1/connectors/tiktok/versions/{}/promote",
        text_of(&staged["version"])?
    );
    let refused = stack.api.post(&promote, json!({})).await?;
    assert_eq!(refused.status, 409, "{:#}", refused.body);
    Ok(())
}

#[tokio::test]
async fn a_channel_is_tried_out_by_opening_its_link_and_writing() -> Result {
    let mut weir = Connected::begin().await?;
    let path = format!("/v1/channels/{}", text_of(&weir.channel["id"])?);
    let started = weir
        .stack
        .api
        .post(&format!("{path}/test"), json!({}))
        .await?
        .expect(200)?;
    let reference = text_of(&started["ref"])?;
    assert!(
        text_of(&started["url"])?.starts_with("https://tiktok.me/acme_store?"),
        "{started:#}"
    );
    assert_eq!(started["passed"], false);
    weir.stack.phone.does("link-open", json!({"ref": reference})).await?;
    weir.events.wait_for("referral.received").await?;
    weir.stack.receives(&mut weir.events, "trying it out").await?;
    let ended = weir
        .stack
        .api
        .get(&format!("{path}/test?ref={reference}"))
        .await?
        .expect(200)?;
    assert_eq!(ended["passed"], true, "{ended:#}");
    assert_eq!(
        weir.stack
            .api
            .get(&format!("{path}/test?ref=other"))
            .await?
            .problem(404)?,
        "not_found"
    );
    let features = weir.stack.api.get(&format!("{path}/features")).await?.expect(200)?;
    assert_eq!(
        (features["budget_limit"].as_u64(), features["window_ms"].as_u64()),
        (Some(10), Some(172_800_000))
    );
    assert_eq!(features["statuses"]["read"], "native");
    Ok(())
}

#[tokio::test]
async fn erased_contact_returns_as_new_one() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "a secret of theirs").await?;
    weir.stack.phone.does("write", json!({"type": "image"})).await?;
    weir.events
        .wait_where("message.received", |event| event["data"]["content"]["type"] == "image")
        .await?;
    let contacts = weir.stack.api.get("/v1/contacts").await?.expect(200)?;
    let contact = text_of(&contacts["data"][0]["id"])?;
    weir.stack
        .api
        .post(&format!("/v1/contacts/{contact}/erase"), json!({}))
        .await?
        .expect(204)?;
    assert_eq!(
        weir.events.wait_for("contact.erased").await?["data"]["id"],
        contact.as_str()
    );
    for path in [format!("/v1/contacts/{contact}"), format!("/v1/conversations/{thread}")] {
        assert_eq!(weir.stack.api.get(&path).await?.problem(404)?, "not_found", "{path}");
    }
    for path in ["/v1/events?limit=200", "/v1/refusals", "/v1/conversations"] {
        let left = weir.stack.api.get(path).await?.expect(200)?.to_string();
        assert!(
            !left.contains("a secret of theirs") && !left.contains("jane_doe"),
            "{path}: {left}"
        );
    }
    weir.stack.receives(&mut weir.events, "me again").await?;
    let contacts = weir.stack.api.get("/v1/contacts").await?.expect(200)?;
    assert_ne!(text_of(&contacts["data"][0]["id"])?, contact);
    Ok(())
}

#[tokio::test]
async fn excluded_country_is_refused_before_login() -> Result {
    let (stack, _folder) = ready().await?;
    let begin = async |country: &str| {
        let body = json!({"app": APP, "country": country});
        stack.api.post("/v1/connect-sessions", body).await
    };
    for country in ["US", "DE", "no", "CH", "GB"] {
        let refused = begin(country).await?;
        assert_eq!(refused.problem(409)?, "region_not_eligible", "{country}");
        assert_eq!(refused.body["fault"], "platform");
    }
    assert_eq!(begin("Germany").await?.problem(422)?, "invalid_request");
    stack.put_app_with(json!({"allow_countries": ["US"]})).await?;
    let session = begin("US").await?.expect(201)?;
    Browser::new(stack.client().clone())
        .consent(&text_of(&session["url"])?, "acme_store", "allow")
        .await?;
    let done = ended(&stack, &session).await?;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let path = format!("/v1/channels/{}", text_of(&done["channel_id"])?);
    assert_eq!(stack.api.get(&path).await?.expect(200)?["country"], "US");
    Ok(())
}

#[tokio::test]
async fn unserved_account_is_reported_at_once() -> Result {
    let (stack, _folder) = ready().await?;
    let mut events = stack.api.listen().await?;
    let session = session(&stack).await?;
    Browser::new(stack.client().clone())
        .consent(&text_of(&session["url"])?, "berlin_laden", "allow")
        .await?;
    let done = ended(&stack, &session).await?;
    let degraded = events.wait_for("channel.degraded").await?;
    let reason = text_of(&degraded["data"]["reason"])?;
    assert!(reason.contains("Advanced Access") && reason.contains("EEA"), "{reason}");
    let path = format!("/v1/channels/{}/diagnostics", text_of(&done["channel_id"])?);
    let findings = stack.api.get(&path).await?.expect(200)?;
    let messaging = findings["data"]
        .as_array()
        .and_then(|all| all.iter().find(|finding| finding["subject"] == "messaging").cloned());
    assert_eq!(messaging.map(|finding| finding["ok"].clone()), Some(json!(false)));
    Ok(())
}

#[tokio::test]
async fn a_channels_name_is_the_operators_own() -> Result {
    let weir = Connected::begin().await?;
    let path = weir.of_channel("")?;
    let before = weir.stack.phone.calls("").await?.len();
    let renamed = weir
        .stack
        .api
        .patch(&path, json!({"name": "Flagship, Jakarta"}))
        .await?
        .expect(200)?;
    assert_eq!(renamed["name"], "Flagship, Jakarta");
    assert_eq!(renamed["display_name"], weir.channel["display_name"]);
    assert_eq!(
        weir.stack.phone.calls("").await?.len(),
        before,
        "TikTok receives no request"
    );
    Ok(())
}

#[tokio::test]
async fn requirements_are_in_connector_description() -> Result {
    let (stack, _folder) = ready().await?;
    let connector = stack.api.get("/v1/connectors/tiktok").await?.expect(200)?;
    let version = text_of(&connector["active_version"]).or_else(|_| text_of(&connector["versions"][0]["version"]))?;
    let version = stack
        .api
        .get(&format!("/v1/connectors/tiktok/versions/{version}"))
        .await?
        .expect(200)?;
    let manifest = &version["manifest"];
    assert_eq!(
        (&manifest["maturity"], &manifest["pricing"]),
        (&json!("beta"), &json!("free"))
    );
    let steps = manifest["prerequisites"].to_string();
    for words in [
        "business account",
        "Switch to Business Account",
        "category",
        "Everyone",
        "EEA",
    ] {
        assert!(steps.contains(words), "{words}: {steps}");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_with_a_line_end_is_refused() -> Result {
    let (stack, _folder) = ready().await?;
    let rotate = format!("/v1/apps/{APP}/secrets/rotate");
    for secret in ["secret\n", " secret", ""] {
        let body = json!({"secrets": {"client_secret": secret}});
        let refused = stack.api.post(&rotate, body).await?;
        assert_eq!(refused.problem(422)?, "invalid_request", "{secret:?}");
        assert_eq!(refused.body["errors"][0]["pointer"], "/secrets/client_secret");
        let body = json!({"connector": "tiktok", "secrets": {"client_secret": secret}});
        let refused = stack.api.put(&format!("/v1/apps/{APP}"), body).await?;
        assert_eq!(refused.problem(422)?, "invalid_request", "{secret:?}");
    }
    Ok(())
}

#[tokio::test]
async fn forged_webhooks_are_explained_to_the_operator() -> Result {
    let weir = Connected::begin().await?;
    let body = weir.text_webhook("C1==", "M1==", "hello").await?;
    assert_eq!(weir.post_webhook(&body, "t=1,s=00").await?, 401);
    let app = weir.stack.api.get(&format!("/v1/apps/{APP}")).await?.expect(200)?;
    let refused = &app["refused_webhooks"];
    assert_eq!(
        (&refused["count"], &refused["accepted_since"]),
        (&json!(1), &json!(false))
    );
    let findings = weir.read_of_channel("/diagnostics").await?;
    let proof = findings["data"].as_array().and_then(|all| {
        let mut all = all.iter();
        all.find(|finding| finding["subject"] == "webhook_proof")
    });
    let proof = proof.with_context(|| format!("{findings:#}"))?;
    assert_eq!(proof["ok"], false);
    assert!(
        text_of(&proof["evidence"])?.contains(text_of(&refused["reason"])?.as_str()),
        "{proof:#}"
    );
    // A genuine one shows that the secret is right.
    assert_eq!(weir.webhook(&body, 0).await?, 200);
    let app = weir.stack.api.get(&format!("/v1/apps/{APP}")).await?.expect(200)?;
    assert_eq!(app["refused_webhooks"]["accepted_since"], true);
    Ok(())
}
