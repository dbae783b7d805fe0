//! The platform's rules are enforced at the trust boundary, before the platform has to refuse.

mod support;

use serde_json::json;
use support::{Connected, kind_of, text_of};

type Result = anyhow::Result<()>;

#[tokio::test]
async fn two_callers_cannot_both_spend_the_last_message() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let path = format!("/v1/conversations/{thread}/messages");
    let sends = (0..24).map(|number| {
        let (api, path) = (weir.stack.api.clone(), path.clone());
        tokio::spawn(async move {
            api.post(
                &path,
                json!({"content": {"type": "text", "text": format!("race {number}")}}),
            )
            .await
        })
    });
    let mut accepted = Vec::new();
    let mut refused = 0;
    for send in sends.collect::<Vec<_>>() {
        let answer = send.await??;
        match answer.status {
            202 => accepted.push(answer.body["id"].clone()),
            _ => {
                assert_eq!(answer.problem(409)?, "message_budget_exhausted");
                refused += 1;
            }
        }
    }
    assert_eq!((accepted.len(), refused), (10, 14));
    weir_tests::until("ten messages on the phone", async || {
        Ok((weir.on_phone().await?.len() == 10).then_some(()))
    })
    .await?;
    // TikTok itself had nothing to refuse.
    assert!(
        weir.stack
            .phone
            .calls("send")
            .await?
            .iter()
            .all(|call| call["code"] == 0)
    );
    Ok(())
}

#[tokio::test]
async fn refusal_names_rule_facts_and_remedy() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack.time_passes(48 * weir_tests::HOUR_MS).await?;
    let answer = weir.stack.api.say(&thread, "late").await?;
    assert_eq!(answer.problem(409)?, "reply_window_closed");
    let problem = &answer.body;
    assert_eq!(
        (problem["fault"].as_str(), problem["retryable"].as_bool()),
        (Some("caller"), Some(false))
    );
    assert!(problem["closed_at"].is_string(), "{problem:#}");
    assert!(problem["request_id"].as_str().is_some_and(|id| id.starts_with("req_")));
    // The refusal is kept and explains itself.
    let id = text_of(&problem["refusal_id"])?;
    let kept = weir.stack.api.get(&format!("/v1/refusals/{id}")).await?.expect(200)?;
    assert_eq!(kept["rule"], "reply_window_closed");
    Ok(())
}

#[tokio::test]
async fn window_events_stop_when_contact_writes() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack.time_passes(44 * weir_tests::HOUR_MS).await?;
    let closing = weir.events.wait_for("window.closing").await?;
    assert_eq!(
        (
            closing["conversation_id"].as_str(),
            closing["data"]["can_reply"].as_bool()
        ),
        (Some(thread.as_str()), Some(true))
    );
    weir.stack.receives(&mut weir.events, "still here").await?;
    // The old end of the window causes no event; the new one does.
    weir.stack.time_passes(24 * weir_tests::HOUR_MS).await?;
    weir.stack.time_passes(24 * weir_tests::HOUR_MS).await?;
    let closed = weir.events.wait_for("window.closed").await?;
    assert_eq!(closed["data"]["refusal"]["code"], "reply_window_closed");
    let listed = weir
        .stack
        .api
        .get("/v1/events?types=window.closed")
        .await?
        .expect(200)?;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn unsupported_content_is_refused_with_pointer() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let path = format!("/v1/conversations/{thread}/messages");
    let cases = [
        (json!({"type": "text", "text": ""}), "text_empty", "/content/text"),
        (
            json!({"type": "text", "text": "x".repeat(6_001)}),
            "text_too_long",
            "/content/text",
        ),
        (
            json!({"type": "shared_post", "post_id": "7", "url": null}),
            "content_type_not_supported",
            "/content/type",
        ),
        (
            json!({"type": "image", "media": {"id": "med_00000000000070008000000000000000"}}),
            "media_not_stored",
            "/content/media/id",
        ),
    ];
    for (content, code, pointer) in cases {
        let answer = weir.stack.api.post(&path, json!({"content": content})).await?;
        assert_eq!(answer.problem(422)?, code);
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{:#}", answer.body);
    }
    // At the edge: exactly 6,000 characters go.
    weir.say(&thread, &"x".repeat(6_000)).await?;
    Ok(())
}

#[tokio::test]
async fn a_card_is_judged_by_its_connector_before_it_is_accepted() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let card =
        json!({"type": "card", "card": "buttons", "title": "x".repeat(41), "buttons": [{"id": "a", "title": "A"}]});
    let answer = weir
        .stack
        .api
        .post(
            &format!("/v1/conversations/{thread}/messages"),
            json!({"content": card}),
        )
        .await?;
    assert_eq!(answer.status, 422, "{:#}", answer.body);
    assert!(
        answer.body["errors"][0]["pointer"]
            .as_str()
            .is_some_and(|pointer| pointer.contains("title")),
        "{:#}",
        answer.body
    );
    Ok(())
}

#[tokio::test]
async fn files_are_judged_by_their_bytes_and_not_by_their_names() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let upload = async |name: &str, bytes: Vec<u8>| {
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = weir
            .stack
            .api
            .request(reqwest::Method::POST, "/v1/media")
            .multipart(form);
        weir.stack.api.send(request).await
    };
    let send = async |media: &serde_json::Value| {
        let body = json!({"content": {"type": "image", "media": {"id": media["id"]}}});
        weir.stack
            .api
            .post(&format!("/v1/conversations/{thread}/messages"), body)
            .await
    };
    let gif = upload("innocent.jpg", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;".to_vec())
        .await?
        .expect(201)?;
    assert_eq!(gif["mime_type"], "image/gif");
    assert_eq!(send(&gif).await?.problem(422)?, "media_type_not_supported");
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0];
    jpeg.resize(3_000_001, 0);
    let large = upload("large.png", jpeg).await?.expect(201)?;
    assert_eq!(send(&large).await?.problem(422)?, "media_too_large");
    Ok(())
}

#[tokio::test]
async fn an_operator_tightens_a_rule_and_it_holds_at_once() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let channel = format!("/v1/channels/{}", text_of(&weir.channel["id"])?);
    weir.stack
        .api
        .patch(&channel, json!({"policy": {"budget_limit": 1}}))
        .await?
        .expect(200)?;
    weir.say(&thread, "the one").await?;
    let answer = weir.stack.api.say(&thread, "one too many").await?;
    assert_eq!(answer.problem(409)?, "message_budget_exhausted");
    assert_eq!(
        (answer.body["limit"].as_u64(), answer.body["used"].as_u64()),
        (Some(1), Some(1))
    );
    Ok(())
}

#[tokio::test]
async fn links_are_warned_of() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let queued = weir
        .stack
        .api
        .say(&thread, "see https://acme.example/blue")
        .await?
        .expect(202)?;
    assert_eq!(queued["warnings"], json!(["links_not_clickable"]));
    Ok(())
}

#[tokio::test]
async fn pictures_do_not_go_where_the_platform_says_they_cannot() -> Result {
    let mut weir = Connected::begin().await?;
    weir.stack.phone.of("kenji").writes("konnichiwa").await?;
    let received = weir.events.wait_for("message.received").await?;
    let thread = text_of(&received["data"]["conversation_id"])?;
    let features = weir.features(&thread).await?;
    let image = kind_of(&features, "image")?;
    assert_eq!(image["allowed"], false, "{features:#}");
    Ok(())
}

#[tokio::test]
async fn a_broadcast_is_refused_with_its_reason() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let body = json!({
        "channel_id": weir.channel["id"], "content": {"type": "text", "text": "to all"}, "conversation_ids": [thread],
    });
    let answer = weir.stack.api.post("/v1/broadcasts", body).await?;
    assert_eq!(answer.problem(422)?, "broadcast_not_supported");
    let kept = format!("/v1/refusals/{}", text_of(&answer.body["refusal_id"])?);
    assert_eq!(
        weir.stack.api.get(&kept).await?.expect(200)?["rule"],
        "broadcast_not_supported"
    );
    let features = weir.read_of_channel("/features").await?;
    assert_eq!(features["broadcast"], false);
    assert!(weir.on_phone().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn unsupported_media_is_refused_before_upload() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let media = weir.picture().await?;
    for kind in ["video", "audio", "file", "sticker"] {
        let answer = weir
            .send(&thread, json!({"content": {"type": kind, "media": {"id": media}}}))
            .await?;
        assert_eq!(answer.problem(422)?, "content_type_not_supported", "{kind}");
    }
    assert!(weir.stack.phone.calls("upload").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_account_in_a_country_without_pictures_sends_none() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let media = weir.picture().await?;
    let picture = json!({"content": {"type": "image", "media": {"id": media}}});
    let channel = weir.of_channel("")?;
    weir.stack
        .api
        .patch(&channel, json!({"country": "au"}))
        .await?
        .expect(200)?;
    let refused = weir.send(&thread, picture.clone()).await?;
    assert_eq!(refused.problem(409)?, "media_not_allowed_in_region");
    let features = weir.features(&thread).await?;
    let image = kind_of(&features, "image")?;
    assert_eq!(image["allowed"], false);
    assert_eq!(image["reason"], "media_not_allowed_in_region");
    assert!(weir.stack.phone.calls("upload").await?.is_empty());
    // Text goes, and so do pictures from a country off the list.
    weir.say(&thread, "text goes").await?;
    weir.stack
        .api
        .patch(&channel, json!({"country": "ID"}))
        .await?
        .expect(200)?;
    let queued = weir.send(&thread, picture).await?.expect(202)?;
    weir.event_of("message.sent", &queued["id"]).await?;
    let wrong = weir.stack.api.patch(&channel, json!({"country": "Indonesia"})).await?;
    assert_eq!(wrong.problem(422)?, "invalid_request");
    Ok(())
}

#[tokio::test]
async fn excluded_country_needs_operator_override() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.stack
        .api
        .patch(&weir.of_channel("")?, json!({"country": "GB"}))
        .await?
        .expect(200)?;
    let refused = weir.stack.api.say(&thread, "no").await?;
    assert_eq!(refused.problem(409)?, "region_not_eligible");
    assert_eq!(
        (refused.body["country"].as_str(), refused.body["fault"].as_str()),
        (Some("GB"), Some("platform"))
    );
    assert!(
        refused.body["source"]
            .as_str()
            .is_some_and(|source| source.contains("2025"))
    );
    let conversation = weir.stack.api.conversation(&thread).await?;
    assert_eq!(
        (
            conversation["can_reply"].clone(),
            conversation["refusal"]["code"].as_str()
        ),
        (json!(false), Some("region_not_eligible"))
    );
    let found = weir.read_of_channel("/diagnostics").await?;
    let region = found["data"]
        .as_array()
        .and_then(|all| all.iter().find(|finding| finding["subject"] == "region").cloned());
    assert_eq!(region.map(|region| region["ok"].clone()), Some(json!(false)));
    weir.stack.put_app_with(json!({"allow_countries": ["GB"]})).await?;
    weir.say(&thread, "opened since").await?;
    Ok(())
}

#[tokio::test]
async fn a_long_text_is_split_when_it_may_be_and_each_piece_costs_one() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let text = "word ".repeat(2_000);
    let split = json!({"content": {"type": "text", "text": text}, "split": true});
    let queued = weir.send(&thread, split.clone()).await?.expect(202)?;
    let parts = queued["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(parts.len(), 2);
    for part in &parts {
        weir.event_of("message.sent", &part["id"]).await?;
    }
    let shown = weir.on_phone().await?;
    assert_eq!(shown.join(" "), text, "nothing is lost but the white space at the cut");
    assert_eq!(weir.stack.api.conversation(&thread).await?["budget"]["used"], 2);
    for number in 3..=9 {
        weir.say(&thread, &format!("message {number}")).await?;
    }
    // One is left: both pieces or none.
    let refused = weir.send(&thread, split).await?;
    assert_eq!(refused.problem(409)?, "message_budget_exhausted");
    assert_eq!(
        (refused.body["used"].as_u64(), refused.body["limit"].as_u64()),
        (Some(9), Some(10))
    );
    assert_eq!(weir.stack.api.conversation(&thread).await?["budget"]["used"], 9);
    weir.say(&thread, "the tenth").await?;
    Ok(())
}

#[tokio::test]
async fn image_with_caption_costs_two_when_split() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let media = weir.picture().await?;
    let both = json!({"type": "image", "media": {"id": media}, "caption": "the blue one"});
    let refused = weir.send(&thread, json!({"content": both})).await?;
    assert_eq!(refused.problem(422)?, "draft_invalid");
    let queued = weir
        .send(&thread, json!({"content": both, "split": true}))
        .await?
        .expect(202)?;
    let parts = queued["data"].as_array().cloned().unwrap_or_default();
    assert_eq!(parts.len(), 2);
    for part in &parts {
        weir.event_of("message.sent", &part["id"]).await?;
    }
    let shown = weir.stack.phone.from_business().await?;
    assert_eq!(
        shown.iter().map(|message| message["type"].as_str()).collect::<Vec<_>>(),
        [Some("image"), Some("text")]
    );
    assert_eq!(weir.stack.api.conversation(&thread).await?["budget"]["used"], 2);
    Ok(())
}

#[tokio::test]
async fn links_are_refused_where_the_operator_wants_it() -> Result {
    let mut weir = Connected::with_settings(json!({"refuse_links": true})).await?;
    let thread = weir.conversation().await?;
    let refused = weir.stack.api.say(&thread, "see https://acme.example/blue").await?;
    assert_eq!(refused.problem(422)?, "link_not_allowed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/content/text");
    weir.say(&thread, "see acme dot example").await?;
    Ok(())
}

#[tokio::test]
async fn what_counts_into_the_budget_is_the_operators_choice() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let colleague = async |weir: &mut Connected, text: &str, source: &str| -> anyhow::Result<u64> {
        let reply = json!({"type": "text", "text": text, "source": source});
        weir.stack.phone.does("app-reply", reply).await?;
        weir.events
            .wait_where("message.echoed", |event| event["data"]["content"]["text"] == text)
            .await?;
        let conversation = weir.stack.api.conversation(&thread).await?;
        Ok(conversation["budget"]["used"].as_u64().unwrap_or_default())
    };
    assert_eq!(colleague(&mut weir, "from the app", "APP").await?, 1);
    assert_eq!(colleague(&mut weir, "from the web", "WEB").await?, 2);
    weir.stack.put_app_with(json!({"budget_counts": ["web"]})).await?;
    assert_eq!(colleague(&mut weir, "not counted", "APP").await?, 2);
    assert_eq!(colleague(&mut weir, "counted", "WEB").await?, 3);
    let wrong = weir.stack.put_app_with(json!({"budget_counts": ["telephone"]})).await;
    assert!(wrong.is_err_and(|error| error.to_string().contains("/settings/budget_counts")));
    Ok(())
}

#[tokio::test]
async fn the_number_of_messages_and_the_size_of_a_picture_are_data() -> Result {
    let mut weir = Connected::with_settings(json!({"budget_limit": 2, "image_max_bytes": 3_145_728})).await?;
    let thread = weir.conversation().await?;
    let features = weir.features(&thread).await?;
    assert_eq!(features["budget"]["limit"], 2);
    let image = kind_of(&features, "image")?;
    assert_eq!(image["max_bytes"], 3_145_728);
    weir.say(&thread, "one").await?;
    weir.say(&thread, "two").await?;
    assert_eq!(
        weir.stack.api.say(&thread, "three").await?.problem(409)?,
        "message_budget_exhausted"
    );
    Ok(())
}

#[tokio::test]
async fn budget_may_be_lifted_by_first_reply() -> Result {
    let mut weir = Connected::with_settings(json!({"budget_until_reply": true, "budget_limit": 2})).await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "one").await?;
    weir.say(&thread, "two").await?;
    let refused = weir.stack.api.say(&thread, "three").await?;
    assert_eq!(refused.problem(409)?, "message_budget_exhausted");
    weir.stack.receives(&mut weir.events, "an answer").await?;
    for text in ["three", "four", "five"] {
        weir.say(&thread, text).await?;
    }
    let conversation = weir.stack.api.conversation(&thread).await?;
    assert_eq!(conversation["budget"], json!(null), "{conversation:#}");
    Ok(())
}

#[tokio::test]
async fn a_post_of_the_accounts_own_goes_when_it_is_switched_on() -> Result {
    let mut weir = Connected::with_settings(json!({"allow": ["shared_post"]})).await?;
    let thread = weir.conversation().await?;
    let world = weir.stack.phone.look("world").await?;
    let post = first_post(&world).ok_or_else(|| anyhow::anyhow!("the account has no post: {world:#}"))?;
    let queued = weir
        .send(
            &thread,
            json!({"content": {"type": "shared_post", "post_id": post, "url": null}}),
        )
        .await?
        .expect(202)?;
    weir.event_of("message.sent", &queued["id"]).await?;
    let shown = weir.stack.phone.from_business().await?;
    assert_eq!(
        shown.last().map(|message| message["type"].clone()),
        Some(json!("share_post"))
    );
    Ok(())
}

fn first_post(world: &serde_json::Value) -> Option<String> {
    let accounts = world["accounts"].as_array()?;
    let acme = accounts.iter().find(|account| account["username"] == "acme_store")?;
    let first = &acme["posts"][0];
    first.as_str().or_else(|| first["id"].as_str()).map(str::to_owned)
}

#[tokio::test]
async fn only_contact_message_restores_budget() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    for number in 1..=10 {
        weir.say(&thread, &format!("answer {number}")).await?;
    }
    let full = async |weir: &Connected| -> anyhow::Result<()> {
        let refused = weir.stack.api.say(&thread, "the eleventh").await?;
        assert_eq!(refused.problem(409)?, "message_budget_exhausted");
        assert_eq!(refused.body["resets_on"], "contact_message");
        assert!(refused.headers.get("retry-after").is_none(), "no time helps");
        Ok(())
    };
    full(&weir).await?;
    weir.stack.phone.does("read", json!({})).await?;
    weir.events.wait_for("message.read").await?;
    weir.stack
        .phone
        .does("write", json!({"type": "reaction", "emoji": "👍"}))
        .await?;
    weir.events.wait_for("reaction.added").await?;
    weir.stack.phone.does("ad-click", json!({})).await?;
    weir.events.wait_for("referral.received").await?;
    full(&weir).await?;
    weir.stack.receives(&mut weir.events, "go on").await?;
    let conversation = weir.stack.api.conversation(&thread).await?;
    assert_eq!(conversation["budget"]["left"], 10);
    weir.say(&thread, "the eleventh").await?;
    Ok(())
}
