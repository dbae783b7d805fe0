//! Sending, and its limits.

use super::*;

#[test]
fn the_tenth_message_goes_and_the_eleventh_waits_for_the_person() {
    let mut play = Play::connected();
    play.lift_the_rate();
    let chat = play.hello("jane_doe");
    for number in 0..10 {
        assert_eq!(code_of(play.say(&chat, &format!("{number}"))), 0);
    }
    assert_eq!(code_of(play.say(&chat, "eleventh")), 40064);
    // A typing indicator is not a message.
    let typing = json!({"message_type": "SENDER_ACTION", "sender_action": "TYPING"});
    assert_eq!(play.send(&chat, typing).unwrap(), "");
    play.hello("jane_doe");
    assert_eq!(code_of(play.say(&chat, "again")), 0);
}

#[test]
fn the_window_closes_48_hours_after_the_person_wrote() {
    let mut play = Play::connected();
    play.set(json!({"rotate_refresh_tokens": false}));
    let chat = play.hello("jane_doe");
    play.later(48 * HOUR_MS - 1);
    let refresh = play.refresh_token.clone();
    play.token = play.refresh(&refresh).unwrap()["access_token"].as_str().unwrap().into();
    assert_eq!(code_of(play.say(&chat, "in time")), 0);
    play.later(1);
    assert_eq!(code_of(play.say(&chat, "late")), 40064);
}

#[test]
fn an_arrival_opens_a_conversation_and_no_window() {
    let mut play = Play::connected();
    let arrived = play
        .world
        .click_ad(
            "acme_store",
            "jane_doe",
            serde_json::from_value(json!({})).unwrap(),
            play.now,
        )
        .unwrap();
    let chat = arrived["conversation_id"].as_str().unwrap();
    assert_eq!(code_of(play.say(chat, "hello?")), 40064);
    let listed = play
        .business(Api::ConversationList, json!({"conversation_type": "STRANGER"}))
        .unwrap();
    assert_eq!(listed["conversations"][0]["conversation_id"], chat);
    assert_eq!(
        listed["conversations"][0]["referral"]["ad"][0]["timestamp"],
        play.now.secs()
    );
}

#[test]
fn rate_bucket_refills_on_virtual_clock() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    let typing = json!({"message_type": "SENDER_ACTION", "sender_action": "TYPING"});
    for _ in 0..10 {
        assert_eq!(code_of(play.send(&chat, typing.clone())), 0);
    }
    assert_eq!(code_of(play.send(&chat, typing.clone())), 40100);
    play.later(100);
    assert_eq!(code_of(play.send(&chat, typing.clone())), 0);
    assert_eq!(code_of(play.send(&chat, typing.clone())), 40100);
    play.lift_the_rate();
    assert_eq!(code_of(play.send(&chat, typing)), 0);
}

#[test]
fn what_send_does_not_take_is_refused_with_its_code() {
    let mut play = Play::connected();
    play.lift_the_rate();
    let chat = play.hello("jane_doe");
    let button = |title: &str| json!({"type": "REPLY", "title": title, "id": "i"});
    let card = |kind: &str, title: &str, buttons: Value| json!({"message_type": "TEMPLATE", "template": {"type": kind, "title": title, "buttons": buttons}});
    let cases = [
        (json!({"message_type": "TEXT", "text": {"body": ""}}), 40002),
        (json!({"message_type": "TEXT", "text": {"body": " \n"}}), 40002),
        (
            json!({"message_type": "TEXT", "text": {"body": "x".repeat(6001)}}),
            40002,
        ),
        (
            json!({"message_type": "TEXT", "text": {"body": "🙂".repeat(3001)}}),
            40002,
        ),
        (json!({"message_type": "TEXT"}), 40002),
        (
            json!({"message_type": "TEXT", "text": {"body": "a"}, "image": {"media_id": "m"}}),
            40002,
        ),
        (json!({"message_type": "VIDEO", "video": {"media_id": "m"}}), 40002),
        (
            json!({"message_type": "IMAGE", "image": {"media_id": "unknown"}}),
            40007,
        ),
        (
            json!({"message_type": "SHARE_POST", "share_post": {"item_id": "7000000000000000009"}}),
            40007,
        ),
        (
            json!({"message_type": "SENDER_ACTION", "sender_action": "DANCE"}),
            40002,
        ),
        (
            json!({"message_type": "TEXT", "text": {"body": "a"}, "referenced_message_info": {"referenced_message_id": "no"}}),
            40007,
        ),
        (
            json!({"message_type": "TEXT", "text": {"body": "a"}, "direct_reply": {"reply_type": "COMMENT_REPLY", "comment_reply": {"comment_id": "1"}}}),
            40002,
        ),
        (card("QA_BUTTON_CARD", &"t".repeat(41), json!([button("a")])), 40002),
        (card("QA_BUTTON_CARD", "t", json!([button(&"b".repeat(21))])), 40002),
        (card("QA_LINK_CARD", "t", json!([button(&"b".repeat(41))])), 40002),
        (card("QA_LINK_CARD", "t", json!([])), 40002),
        (
            card(
                "QA_LINK_CARD",
                "t",
                json!([button("1"), button("2"), button("3"), button("4")]),
            ),
            40002,
        ),
        (card("QA_LINK_CARD", "t", json!([{"type": "URL", "title": "a"}])), 40002),
        (card("CAROUSEL", "t", json!([button("a")])), 40002),
    ];
    for (message, code) in cases {
        assert_eq!(code_of(play.send(&chat, message.clone())), code, "{message}");
    }
    let unknown = play.say("unknown", "hi").unwrap_err();
    assert_eq!(
        (unknown.code, unknown.message.as_ref()),
        (40002, "Param conversation_id is invalid.")
    );
    let mut person =
        json!({"recipient_type": "USER", "recipient": chat, "message_type": "TEXT", "text": {"body": "a"}});
    assert_eq!(code_of(play.business(Api::Send, person.take())), 40002);
}

#[test]
fn what_send_takes_up_to_its_limits_goes() {
    let mut play = Play::connected();
    play.lift_the_rate();
    let chat = play.hello("jane_doe");
    let post = play.world.accounts["acme_store"].posts[0].clone();
    let media = play.upload(PNG, "image/png").unwrap();
    let button = |length: usize| json!({"type": "REPLY", "title": "b".repeat(length)});
    for message in [
        json!({"message_type": "TEXT", "text": {"body": "x".repeat(6000)}}),
        json!({"message_type": "SHARE_POST", "share_post": {"item_id": post}}),
        json!({"message_type": "IMAGE", "image": {"media_id": media}}),
        json!({"message_type": "TEMPLATE", "template": {"type": "QA_BUTTON_CARD", "title": "t".repeat(40), "buttons": [button(20)]}}),
        json!({"message_type": "TEMPLATE", "template": {"type": "QA_LINK_CARD", "title": "t", "buttons": [button(40), button(1), button(2)]}}),
    ] {
        assert_eq!(play.send(&chat, message).unwrap().len(), 28);
    }
}

#[test]
fn a_quote_needs_text_quoting_text_image_or_post() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    let sticker = play.write("jane_doe", json!({"type": "sticker"}))["message_id"].clone();
    let text = play.write("jane_doe", json!({"type": "text", "text": "which?"}))["message_id"].clone();
    let quoting = |id: &Value| json!({"message_type": "TEXT", "text": {"body": "this"}, "referenced_message_info": {"referenced_message_id": id}});
    assert_eq!(code_of(play.send(&chat, quoting(&sticker))), 40002);
    let id = play.send(&chat, quoting(&text)).unwrap();
    let list = play
        .business(Api::ContentList, json!({"conversation_id": chat}))
        .unwrap();
    assert_eq!(list["messages"][0]["message_id"], id.as_str());
    assert_eq!(
        list["messages"][0]["referenced_message_info"]["referenced_message_id"],
        text
    );
}

#[test]
fn images_need_both_regions_and_an_unflagged_person() {
    let mut play = Play::connected();
    play.world
        .put_person(PersonOrder {
            username: "risky".into(),
            display_name: None,
            country: "ID".into(),
            flagged: true,
            follower: false,
            age: 30,
        })
        .unwrap();
    let media = play.upload(PNG, "image/png").unwrap();
    let image = json!({"message_type": "IMAGE", "image": {"media_id": media}});
    for (person, words) in [("kenji", "Media send strategy"), ("risky", "risk control strategy")] {
        let chat = play.hello(person);
        let refusal = play.send(&chat, image.clone()).unwrap_err();
        assert_eq!(refusal.code, 40064);
        assert!(refusal.message.contains(words), "{refusal}");
    }
    let chat = play.hello("jane_doe");
    assert_eq!(code_of(play.send(&chat, image)), 0);
}

#[test]
fn an_upload_is_a_jpg_or_png_of_at_most_3_mb_under_its_own_type() {
    let mut play = Play::connected();
    play.lift_the_rate();
    let mut large = PNG.to_vec();
    large.resize(limits::IMAGE_BYTES, 0);
    assert_eq!(code_of(play.upload(&large, "image/png")), 0);
    large.push(0);
    assert_eq!(code_of(play.upload(&large, "image/png")), 40907);
    assert_eq!(code_of(play.upload(b"GIF89a", "image/gif")), 40908);
    assert_eq!(code_of(play.upload(b"GIF89a", "image/png")), 40908);
    assert_eq!(code_of(play.upload(PNG, "image/jpeg")), 40908);
    assert_eq!(code_of(play.upload(b"", "image/png")), 40906);
}

#[test]
fn upload_is_sendable_30_days_by_owner() {
    let mut play = Play::connected();
    let media = play.upload(PNG, "image/png").unwrap();
    assert!(
        play.world
            .has_file("acme_store", &media, play.now.plus_ms(30 * DAY_MS - 1))
    );
    assert!(!play.world.has_file("acme_store", &media, play.now.plus_ms(30 * DAY_MS)));
    assert!(!play.world.has_file("berlin_laden", &media, play.now));
}
