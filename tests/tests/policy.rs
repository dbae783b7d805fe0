//! The platform's rules hold at the boundary, before the platform has to say no.

mod support;

use serde_json::json;
use support::{Connected, text_of};

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
async fn a_refusal_says_which_rule_both_sides_of_it_and_what_would_help() -> Result {
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
async fn content_that_the_platform_does_not_take_is_refused_with_a_pointer() -> Result {
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
    let heard = weir.events.wait_for("message.received").await?;
    let thread = text_of(&heard["data"]["conversation_id"])?;
    let features = weir
        .stack
        .api
        .get(&format!("/v1/conversations/{thread}/features"))
        .await?
        .expect(200)?;
    let image = features["contents"]
        .as_array()
        .and_then(|all| all.iter().find(|content| content["kind"] == "image"))
        .cloned();
    assert_eq!(
        image.map(|image| image["allowed"].clone()),
        Some(json!(false)),
        "{features:#}"
    );
    Ok(())
}
