//! How people reach a business: links, QR codes, ads, and the platform's automatic messages.

mod support;

use serde_json::{Value, json};
use support::{Connected, text_of};

type Result = anyhow::Result<()>;

async fn links(weir: &Connected, query: &str) -> anyhow::Result<Vec<Value>> {
    let path = weir.of_channel(&format!("/entry-points{query}"))?;
    let listed = weir.stack.api.get(&path).await?.expect(200)?;
    Ok(listed["data"].as_array().cloned().unwrap_or_default())
}

async fn qr(weir: &Connected, what: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let request = weir.stack.api.request(reqwest::Method::GET, &weir.of_channel(what)?);
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
}

#[tokio::test]
async fn channel_has_chat_and_profile_links() -> Result {
    let weir = Connected::begin().await?;
    let links = links(&weir, "").await?;
    let urls: Vec<_> = links
        .iter()
        .map(|link| (link["kind"].as_str(), link["url"].as_str()))
        .collect();
    assert_eq!(
        urls,
        [
            (Some("chat"), Some("https://tiktok.me/acme_store")),
            (Some("profile"), Some("https://www.tiktok.com/@acme_store"))
        ]
    );
    // The code of the first is drawn already.
    let code = weir
        .stack
        .client()
        .get(text_of(&links[0]["qr"])?)
        .bearer_auth(weir.stack.api.key())
        .send()
        .await?;
    assert_eq!(code.status().as_u16(), 200);
    Ok(())
}

#[tokio::test]
async fn qr_codes_are_stable_and_open_links() -> Result {
    let weir = Connected::begin().await?;
    let (status, chat) = qr(&weir, "/qr.svg").await?;
    assert_eq!(status, 200);
    assert!(chat.starts_with(b"<svg"));
    assert_eq!(qr(&weir, "/qr.svg?target=chat").await?.1, chat);
    assert_ne!(qr(&weir, "/qr.svg?target=profile").await?.1, chat);
    assert_ne!(qr(&weir, "/qr.svg?message=Hi&ref=table-7").await?.1, chat);
    let (_, small) = qr(&weir, "/qr.png?size=128").await?;
    let (_, large) = qr(&weir, "/qr.png?size=1024").await?;
    assert!(small.starts_with(b"\x89PNG") && large.len() > small.len());
    for wrong in [
        "/qr.svg?ref=a%20b",
        "/qr.svg?target=profile&message=Hi",
        "/qr.png?size=99999",
    ] {
        assert!((400..500).contains(&qr(&weir, wrong).await?.0), "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_may_offer_the_profile_only() -> Result {
    let weir = Connected::with_settings(json!({"chat_link": false})).await?;
    let links = links(&weir, "").await?;
    assert_eq!(
        links.iter().map(|link| link["kind"].clone()).collect::<Vec<_>>(),
        ["profile"]
    );
    let (_, drawn) = qr(&weir, "/qr.svg").await?;
    assert_eq!(qr(&weir, "/qr.svg?target=profile").await?.1, drawn);
    assert_eq!(qr(&weir, "/qr.svg?target=chat").await?.0, 422);
    // Or leave both, and let codes open the profile.
    weir.stack.put_app_with(json!({"qr_target": "profile"})).await?;
    assert_eq!(qr(&weir, "/qr.svg").await?.1, drawn);
    assert_eq!(qr(&weir, "/qr.svg?target=chat").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn prefill_support_is_learned_from_referrals() -> Result {
    let mut weir = Connected::begin().await?;
    let prefill = async |weir: &Connected, query: &str| -> anyhow::Result<(Value, Value)> {
        let links = links(weir, query).await?;
        Ok((links[0]["prefill"].clone(), links[1]["prefill"].clone()))
    };
    assert_eq!(prefill(&weir, "").await?, (Value::Null, Value::Null));
    let link_query = "?message=Is%20it%20blue%3F&ref=spring";
    assert_eq!(prefill(&weir, link_query).await?, (json!("pending"), Value::Null));
    for (audit, state) in [("PASS", "passed"), ("REJECT", "rejected")] {
        let opened = json!({"ref": "spring", "message": "Is it blue?", "audit": audit});
        weir.stack.phone.does("link-open", opened).await?;
        let came = weir.events.wait_for("referral.received").await?;
        assert_eq!(
            (came["data"]["ref"].as_str(), came["data"]["prefill_audit"].as_str()),
            (Some("spring"), Some(state))
        );
        assert_eq!(prefill(&weir, link_query).await?.0, state);
    }
    let url = &links(&weir, link_query).await?[0]["url"];
    assert_eq!(url, "https://tiktok.me/acme_store?message=Is%20it%20blue%3F&ref=spring");
    Ok(())
}

#[tokio::test]
async fn ad_click_makes_unreachable_contact() -> Result {
    let mut weir = Connected::begin().await?;
    weir.stack
        .phone
        .does("ad-click", json!({"campaign": "smart_plus"}))
        .await?;
    let created = weir.events.wait_for("contact.created").await?;
    assert_eq!(created["data"]["reason"], "referral");
    let opened = weir.events.wait_for("conversation.opened").await?;
    assert_eq!(opened["data"]["opened_by"], "referral");
    let came = weir.events.wait_for("referral.received").await?;
    assert_eq!(
        (&came["data"]["source"], &came["data"]["creative_id"]),
        (&json!("ad"), &Value::Null)
    );
    let thread = text_of(&came["data"]["conversation_id"])?;
    let conversation = weir.stack.api.conversation(&thread).await?;
    assert_eq!(
        (
            &conversation["status"],
            &conversation["can_reply"],
            &conversation["window"],
            &conversation["refusal"]["code"]
        ),
        (
            &json!("open"),
            &json!(false),
            &Value::Null,
            &json!("conversation_initiation_not_allowed")
        )
    );
    let refused = weir.stack.api.say(&thread, "You clicked!").await?;
    assert_eq!(refused.problem(409)?, "conversation_initiation_not_allowed");
    assert!(weir.stack.phone.calls("send").await?.is_empty());
    // Only a message of the contact opens the window.
    weir.stack.receives(&mut weir.events, "Is it blue?").await?;
    weir.say(&thread, "It is.").await?;
    Ok(())
}

#[tokio::test]
async fn missing_ad_preview_is_looked_up_once() -> Result {
    let mut weir = Connected::begin().await?;
    let cases = [
        (
            "ad-click",
            json!({"campaign": "smart_plus", "ad_name": "Blue"}),
            "smart_plus_campaign",
        ),
        (
            "ad-click",
            json!({"campaign": "upgraded_smart_plus", "message_material_id": "m-1"}),
            "no_preview",
        ),
        ("link-open", json!({"ref": "spring"}), "not_an_ad"),
    ];
    for (act, how, reason) in cases {
        weir.stack.phone.does(act, how).await?;
        // The referral is reported, whatever is known of the ad.
        let came = weir.events.wait_for("referral.received").await?;
        let path = format!("/v1/referrals/{}/ad", text_of(&came["data"]["id"])?);
        let first = weir.stack.api.get(&path).await?.expect(200)?;
        assert_eq!(
            (&first["preview"], first["reason"].as_str(), first["fault"].as_str()),
            (&Value::Null, Some(reason), Some("platform"))
        );
        weir.stack.time_passes(weir_tests::HOUR_MS).await?;
        assert_eq!(
            weir.stack.api.get(&path).await?.expect(200)?,
            first,
            "kept with its time"
        );
        weir.stack.time_passes(24 * weir_tests::HOUR_MS).await?;
        let anew = weir.stack.api.get(&path).await?.expect(200)?;
        assert_ne!(anew["at"], first["at"]);
    }
    let unknown = weir
        .stack
        .api
        .get("/v1/referrals/ref_00000000000070008000000000000000/ad")
        .await?;
    assert_eq!(unknown.problem(404)?, "not_found");
    Ok(())
}

#[tokio::test]
async fn automatic_messages_are_made_reviewed_switched_and_removed() -> Result {
    let mut weir = Connected::begin().await?;
    let path = |kind: &str| weir.of_channel(&format!("/automations/{kind}"));
    let (welcome, question, prompt, comments) = (
        path("welcome_message")?,
        path("suggested_question")?,
        path("chat_prompt")?,
        path("comment_to_message")?,
    );
    let api = weir.stack.api.clone();
    let kept = async |path: &str| -> anyhow::Result<Vec<Value>> {
        let listed = api.get(path).await?.expect(200)?;
        Ok(listed["data"].as_array().cloned().unwrap_or_default())
    };
    let put = json!({"enabled": true, "content": {"content": "Hi! Ask us anything."}});
    api.put(&welcome, put).await?.expect(200)?;
    let made = weir
        .events
        .wait_where("channel.updated", |event| {
            event["data"]["notice"] == "automation_changed"
        })
        .await?;
    assert_eq!(made["data"]["detail"]["auto_message_type"], "WELCOME_MESSAGE");
    let first = kept(&welcome).await?;
    assert_eq!(
        (
            &first[0]["audit"],
            &first[0]["enabled"],
            &first[0]["content"]["content"]
        ),
        (&json!("reviewing"), &json!(true), &json!("Hi! Ask us anything."))
    );
    let put = json!({"enabled": true, "content": {"question": "Please reject me", "answer": "No."}});
    api.put(&question, put).await?.expect(200)?;
    weir.stack.time_passes(120_000).await?;
    for _ in 0..2 {
        weir.events
            .wait_where("channel.updated", |event| {
                event["data"]["notice"] == "automation_reviewed"
            })
            .await?;
    }
    assert_eq!(kept(&welcome).await?[0]["audit"], "approved");
    assert_eq!(kept(&question).await?[0]["audit"], "rejected");
    // A text that is too long is refused before a request to the platform.
    let long = json!({"enabled": true, "content": {"title": "x".repeat(19), "content": "y"}});
    let refused = api.put(&prompt, long).await?;
    assert_eq!(refused.problem(422)?, "text_too_long");
    let put = json!({"enabled": true, "content": {"title": "Sizes", "content": "Which sizes are there?"}});
    let id = text_of(&api.put(&prompt, put).await?.expect(200)?["id"])?;
    assert_eq!(kept(&prompt).await?.len(), 1);
    api.delete(&format!("{prompt}/{id}")).await?.expect(204)?;
    assert!(kept(&prompt).await?.is_empty());
    api.put(&comments, json!({"enabled": true})).await?.expect(200)?;
    assert_eq!(kept(&comments).await?[0]["enabled"], true);
    let unknown = api.get(&path_of_unknown(&weir)?).await?;
    assert!((400..500).contains(&unknown.status), "{unknown:?}");
    Ok(())
}

fn path_of_unknown(weir: &Connected) -> anyhow::Result<String> {
    weir.of_channel("/automations/horoscope")
}
