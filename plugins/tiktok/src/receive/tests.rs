#![allow(clippy::unwrap_used)]

mod laws;

use weir_sdk::serde_json::{self, json};
use weir_sdk::types::{Card, Content, Media, MediaKind, Message, Origin};

use super::*;
use crate::fixture;

fn events(name: &str) -> Vec<InboundEvent> {
    receive(fixture::text(name).as_bytes()).unwrap()
}

fn one(name: &str) -> InboundEvent {
    let mut events = events(name);
    assert_eq!(events.len(), 1, "{name}");
    events.remove(0)
}

fn message(name: &str) -> Message {
    match one(name).event {
        Event::Message(message) => message,
        other => panic!("{name} is no message but {other:?}"),
    }
}

fn notice(name: &str) -> ChannelNotice {
    match one(name).event {
        Event::Notice(notice) => notice,
        other => panic!("{name} is no notice but {other:?}"),
    }
}

/// The parts of a fallback, in the order type, text, url, reason.
fn fallback(name: &str) -> (String, String, Option<String>, String) {
    match message(name).content {
        Content::Fallback(shown) => (shown.original_type, shown.text, shown.url, shown.reason),
        other => panic!("{name} is no fallback but {other:?}"),
    }
}

#[test]
fn a_text_is_a_message_from_the_contact() {
    let event = one("text");
    assert_eq!((event.channel_platform_id.as_str(), event.key.as_str()), ("B", "M1=="));
    let message = message("text");
    assert_eq!(message.content, Content::Text("hi".into()));
    assert_eq!(
        (message.direction, message.origin),
        (Direction::Inbound, Origin::Contact)
    );
    assert_eq!(
        (message.platform_id.as_str(), message.sent_at),
        ("M1==", 1_735_689_600_123)
    );
    assert_eq!(message.conversation.platform_id, "C+1==");
    assert_eq!(
        (
            message.contact.platform_id.as_str(),
            message.contact.username.as_deref()
        ),
        ("U", Some("jane_doe"))
    );
}

#[test]
fn fields_without_a_place_are_kept() {
    let kept: Value = serde_json::from_str(&message("text").platform_data.unwrap()).unwrap();
    assert_eq!(
        kept,
        json!({ "is_follower": false, "message_tag": { "source": "APP" }, "scene_type": 0 })
    );
}

#[test]
fn the_body_of_the_signature_vector_is_a_text() {
    assert_eq!(message("signed-text").content, Content::Text("hi".into()));
}

#[test]
fn a_quote_and_a_tap_name_the_message_they_answer() {
    let quoting = message("text-quoting");
    assert_eq!((quoting.reply_to.as_deref(), quoting.answers), (Some("M0=="), None));
    let tapped = message("text-from-card");
    assert_eq!(
        (tapped.reply_to.as_deref(), tapped.answers.as_deref()),
        (Some("M2=="), Some("s"))
    );
}

#[test]
fn a_picture_carries_what_finds_its_bytes() {
    let Content::Media(media) = message("image").content else {
        panic!("no media")
    };
    assert_eq!((media.kind, media.reference.as_str()), (MediaKind::Image, "v0d0"));
}

#[test]
fn a_video_cannot_be_shown_and_can_still_be_fetched() {
    let message = message("video");
    assert!(message.platform_data.unwrap().contains("v1d1"));
    let Content::Fallback(shown) = message.content else {
        panic!("no fallback")
    };
    assert_eq!(
        (shown.original_type.as_str(), shown.reason.as_str()),
        ("video", "type_unsupported")
    );
    assert!(matches!(shown.media, Some(Media { kind: MediaKind::Video, reference, .. }) if reference == "v1d1"));
}

#[test]
fn a_shared_post_has_id_and_link() {
    let Content::SharedPost(post) = message("share-post").content else {
        panic!("no post")
    };
    assert_eq!(post.post_id.as_deref(), Some("7301234567890123457"));
    assert!(post.url.unwrap().starts_with("https://www.tiktok.com/player/v1/"));
}

#[test]
fn what_cannot_be_shown_says_so_and_keeps_its_link() {
    let cases = [
        (
            "sticker",
            "sticker",
            "Sticker (cannot be shown)",
            Some("https://p16.tiktokcdn.com/sticker.webp?x-expires=1738281600"),
            "type_unsupported",
        ),
        (
            "emoji",
            "emoji",
            "Emoji (cannot be shown)",
            Some("https://p16.tiktokcdn.com/emoji.webp"),
            "type_unsupported",
        ),
        (
            "voice",
            "voice",
            "Voice message (cannot be shown)",
            None,
            "type_unsupported",
        ),
        (
            "avatar",
            "avatar",
            "Avatar (cannot be shown)",
            Some("https://p16.tiktokcdn.com/avatar.webp"),
            "type_unsupported",
        ),
        (
            "hologram",
            "hologram",
            "Message (cannot be shown)",
            None,
            "type_unsupported",
        ),
        ("deleted", "deleted", "Deleted message", None, "deleted"),
        (
            "text-without-block",
            "text",
            "Message (cannot be shown)",
            None,
            "malformed",
        ),
        (
            "image-without-id",
            "image",
            "Picture (cannot be shown)",
            None,
            "malformed",
        ),
        (
            "without-type",
            "unknown",
            "Message (cannot be shown)",
            None,
            "malformed",
        ),
    ];
    for (name, kind, text, url, reason) in cases {
        let expected = (
            kind.to_owned(),
            text.to_owned(),
            url.map(str::to_owned),
            reason.to_owned(),
        );
        assert_eq!(fallback(name), expected, "{name}");
    }
}

#[test]
fn an_empty_text_is_not_an_empty_message() {
    let body = fixture::text("text").replace(r#"\"hi\""#, r#"\"\""#);
    let Event::Message(message) = receive(body.as_bytes()).unwrap().remove(0).event else {
        panic!("no message")
    };
    assert!(matches!(message.content, Content::Fallback(shown) if shown.reason == "malformed"));
}

#[test]
fn a_block_that_was_not_understood_is_kept() {
    assert!(message("voice").platform_data.unwrap().contains(r#""duration":3"#));
    assert!(
        message("image-without-id")
            .platform_data
            .unwrap()
            .contains(r#""size":3"#)
    );
}

#[test]
fn a_card_is_read_from_its_element() {
    let Content::Card(Card {
        kind, title, buttons, ..
    }) = message("template").content
    else {
        panic!("no card")
    };
    assert_eq!((kind.as_str(), title.as_str()), ("buttons", "Which size?"));
    let buttons: Vec<_> = buttons
        .iter()
        .map(|button| (button.id.as_str(), button.title.as_str()))
        .collect();
    assert_eq!(buttons, [("s", "S"), ("m", "M")]);
}

#[test]
fn an_echo_says_which_surface_wrote_it() {
    let cases = [
        ("echo-api", Origin::Api),
        ("echo-app", Origin::App),
        ("echo-web", Origin::Web),
        ("echo-automatic", Origin::Automation),
        ("echo-unknown", Origin::Unknown),
        ("echo-bare", Origin::Unknown),
    ];
    for (name, origin) in cases {
        let message = message(name);
        assert_eq!(
            (message.direction, message.origin),
            (Direction::Outbound, origin),
            "{name}"
        );
        assert_eq!(
            (message.platform_id.as_str(), message.contact.platform_id.as_str()),
            ("M9==", "U"),
            "{name}"
        );
        assert_eq!(message.contact.username.as_deref(), Some("jane_doe"), "{name}");
        assert!(message.conversation.answered, "{name}");
    }
}

#[test]
fn an_echo_with_another_identifier_still_names_the_person() {
    let body = fixture::text("echo-api").replace(r#"\"unique_identifier\":\"U\""#, r#"\"unique_identifier\":\"B\""#);
    let event = receive(body.as_bytes()).unwrap().remove(0).event;
    assert!(matches!(event, Event::Message(message) if message.contact.platform_id == "U"));
}

#[test]
fn bodies_without_the_usual_extras_are_read() {
    for name in ["text-bare", "text-without-roles"] {
        let message = message(name);
        assert_eq!(
            (message.direction, message.contact.platform_id.as_str()),
            (Direction::Inbound, "U"),
            "{name}"
        );
    }
    assert_eq!(message("text-bare").platform_data, None);
}

#[test]
fn ids_that_come_as_numbers_keep_every_digit() {
    let message = message("text-numeric-ids");
    assert_eq!(message.platform_id, "7301234567890123461");
    assert_eq!(message.conversation.platform_id, "7301234567890123459");
    assert_eq!(message.contact.platform_id, "7301234567890123457");
    assert_eq!(message.sent_at, 1_735_689_600_123);
    assert_eq!(
        message.platform_data.as_deref(),
        Some(r#"{"a_new_field":{"x":9007199254740993}}"#)
    );
}

#[test]
fn each_reaction_is_an_event_of_its_own() {
    let seen: Vec<_> = events("reactions")
        .into_iter()
        .map(|event| match event.event {
            Event::Reaction(reaction) => (
                event.key,
                reaction.message_id,
                reaction.emoji,
                reaction.url.is_some(),
                reaction.added,
                reaction.direction,
            ),
            other => panic!("no reaction but {other:?}"),
        })
        .collect();
    let expected = [
        (
            "reaction:M9==:U:add:1735689600100",
            "M9==",
            Some("👍"),
            false,
            true,
            Direction::Inbound,
        ),
        (
            "reaction:M8==:U:remove:1735689600110",
            "M8==",
            None,
            true,
            false,
            Direction::Inbound,
        ),
        (
            "reaction:M1==:B:add:1735689600120",
            "M1==",
            Some("❤️"),
            false,
            true,
            Direction::Outbound,
        ),
    ]
    .map(|(key, message, emoji, url, added, direction)| {
        (
            key.to_owned(),
            message.to_owned(),
            emoji.map(str::to_owned),
            url,
            added,
            direction,
        )
    });
    assert_eq!(seen, expected);
}

#[test]
fn a_read_mark_is_a_water_mark() {
    let event = one("read");
    assert_eq!(event.key, "read:C+1==:1735689660123");
    let Event::Receipt(receipt) = event.event else {
        panic!("no receipt")
    };
    assert_eq!(receipt.status, ReceiptStatus::Read);
    assert!(matches!(receipt.target, ReceiptTarget::UpTo(1_735_689_660_123)));
    assert_eq!(receipt.at, 1_735_689_700_000);
}

#[test]
fn what_the_business_read_itself_is_no_receipt() {
    assert_eq!(events("read-by-business"), []);
}

#[test]
fn an_ad_brings_a_contact_without_a_message() {
    let Event::Arrival(arrival) = one("referral-ad").event else {
        panic!("no arrival")
    };
    assert_eq!(arrival.contact.platform_id, "U");
    let referral = arrival.referral;
    assert_eq!(referral.source, "ad");
    assert_eq!(referral.ad_id.as_deref(), Some("7000000000000000003"));
    assert_eq!(referral.creative_id.as_deref(), Some("mm1"));
    assert_eq!(referral.at, Some(1_735_689_499_000));
}

#[test]
fn a_smart_plus_ad_has_no_creative_and_may_count_in_seconds() {
    let Event::Arrival(arrival) = one("referral-ad-smart-plus").event else {
        panic!("no arrival")
    };
    assert_eq!((arrival.referral.creative_id, arrival.referral.url), (None, None));
    assert_eq!(arrival.referral.at, Some(1_735_689_499_000));
}

#[test]
fn a_link_brings_its_ref_and_the_audit_of_its_text() {
    let event = one("referral-link");
    assert_eq!(event.key, "referral:C+1==:1735689500000");
    let Event::Arrival(arrival) = event.event else {
        panic!("no arrival")
    };
    assert_eq!(
        (arrival.referral.source.as_str(), arrival.referral.ref_.as_deref()),
        ("link", Some("spring_promo"))
    );
    assert_eq!(arrival.referral.prefill_audit.as_deref(), Some("passed"));
}

#[test]
fn unknown_values_become_tokens() {
    let body = fixture::text("referral-link").replace("short_link", "Mini Game");
    let Event::Arrival(arrival) = receive(body.as_bytes()).unwrap().remove(0).event else {
        panic!("no arrival")
    };
    assert_eq!(arrival.referral.source, "mini_game");
    let body = fixture::text("template").replace("qa_button_card", "Carousel-Card");
    let Event::Message(message) = receive(body.as_bytes()).unwrap().remove(0).event else {
        panic!("no message")
    };
    assert!(matches!(message.content, Content::Card(card) if card.kind == "carousel_card"));
}

#[test]
fn what_is_about_the_account_is_a_notice() {
    let cases = [
        ("withheld", "inbound_withheld", 1_701_090_879_815),
        ("automation-changed", "automation_changed", 1_735_689_600_000),
        ("automation-reviewed", "automation_reviewed", 1_735_689_600_000),
        ("comment", "comment_received", 1_735_689_600_000),
        ("revoked", "authorization_revoked", 1_735_689_600_000),
    ];
    for (name, kind, at) in cases {
        let notice = notice(name);
        assert_eq!((notice.kind.as_str(), notice.at), (kind, at), "{name}");
    }
}

#[test]
fn the_id_of_a_comment_is_not_rounded() {
    assert_eq!(one("comment").key, "comment:7301234567890123457");
    assert!(
        notice("comment")
            .detail
            .contains(r#""comment_id":"7301234567890123457""#)
    );
}

#[test]
fn future_event_is_unknown_and_distinct() {
    let event = one("unknown-event");
    assert_eq!(event.event, Event::Unknown("im_something_new".into()));
    let again = one("unknown-event");
    assert_eq!(event.key, again.key);
    let other = fixture::text("unknown-event").replace("1735689600", "1735689601");
    assert_ne!(receive(other.as_bytes()).unwrap()[0].key, event.key);
}

#[test]
fn without_an_id_there_is_no_event() {
    for id in ["conversation_id", "message_id"] {
        let body = fixture::text("text").replace(id, "other");
        assert!(receive(body.as_bytes()).unwrap_err().contains(id), "{id}");
    }
    for body in [
        "",
        "[]",
        "<html>",
        r#"{"event":"im_receive_msg"}"#,
        r#"{"event":"im_receive_msg","user_openid":"B","content":"{"}"#,
    ] {
        assert!(receive(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn an_error_does_not_quote_what_a_person_wrote() {
    let body = r#"{"event":"im_receive_msg","user_openid":"B","content":"{\"text\": my secret}"}"#;
    assert!(!receive(body.as_bytes()).unwrap_err().contains("secret"));
}

/// A webhook with this content.
fn webhook(event: &str, content: &Value) -> Vec<InboundEvent> {
    let body =
        json!({ "event": event, "user_openid": "B", "create_time": 1_735_689_600, "content": content.to_string() });
    receive(body.to_string().as_bytes()).unwrap()
}

#[test]
fn half_an_emoji_costs_one_character() {
    let text = fixture::text("text");
    // In JSON, the lone surrogate is in the content's own JSON, which is a string in the envelope.
    let cases = [
        (r#"\"hi\""#, r#"\"cut \\ud83d\""#, "cut \u{fffd}"),
        (r#"\"jane_doe\""#, r#"\"jane \\udc00\""#, "hi"),
        (r#"\"scene_type\":0"#, r#"\"scene_type\":\"\\ud83d\""#, "hi"),
        ("scene_type", r"scene\\ud83d", "hi"),
        // In the envelope itself.
        ("7000000000000000001", r"\ud83d", "hi"),
        ("hi", r"cut \ud83d", "cut \u{fffd}"),
    ];
    for (from, to, expected) in cases {
        let body = text.replace(from, to);
        assert_ne!(body, text, "{from}");
        let Event::Message(message) = receive(body.as_bytes()).unwrap().remove(0).event else {
            panic!("no message")
        };
        assert_eq!(message.content, Content::Text(expected.into()), "{to}");
    }
}

#[test]
fn ids_decide_before_roles() {
    let end = |id: &str, role: &str| json!({ "id": id, "role": role });
    let (business, personal) = ("business_account", "personal_account");
    let cases = [
        // The account writes to another business, and vice versa.
        (
            "im_send_msg",
            end("B", business),
            end("O", business),
            Direction::Outbound,
        ),
        (
            "im_receive_msg",
            end("O", business),
            end("B", business),
            Direction::Inbound,
        ),
        // Independent of the event's name and of the roles.
        (
            "im_receive_msg",
            end("B", business),
            end("O", business),
            Direction::Outbound,
        ),
        (
            "im_send_msg",
            end("O", personal),
            end("B", business),
            Direction::Inbound,
        ),
        (
            "im_send_msg",
            end("B", personal),
            end("O", personal),
            Direction::Outbound,
        ),
        // Ids that match neither: the roles, and then the event's name.
        (
            "im_send_msg",
            end("O", personal),
            end("B2", business),
            Direction::Inbound,
        ),
        (
            "im_send_msg",
            end("O", business),
            end("O2", business),
            Direction::Outbound,
        ),
    ];
    for (event, from, to, direction) in cases {
        let content = json!({
            "from_user": from, "to_user": to, "conversation_id": "C", "message_id": "M", "unique_identifier": "O",
            "type": "text", "text": { "body": "hi" }, "message_tag": { "source": "APP" },
        });
        let Event::Message(message) = webhook(event, &content).remove(0).event else {
            panic!("no message")
        };
        assert_eq!(message.direction, direction, "{content}");
        let origin = if direction == Direction::Inbound {
            Origin::Contact
        } else {
            Origin::App
        };
        assert_eq!(message.origin, origin, "{content}");
    }
}

#[test]
fn a_reaction_needs_no_people() {
    let entry =
        |message: &str| json!({ "operation": "ADD", "type": "EMOJI", "emoji": "x", "original_msg_id": message });
    let mut theirs = entry("M1");
    theirs["unique_identifier"] = "U".into();
    let mut ours = entry("M2");
    ours["unique_identifier"] = "B".into();
    let content = json!({
        "type": "reaction", "conversation_id": "C",
        "reaction": [theirs, ours, entry("M3"), { "operation": "ADD" }],
    });
    let events = webhook("im_receive_msg", &content);
    let seen: Vec<_> = events
        .iter()
        .map(|event| match &event.event {
            Event::Reaction(it) => (it.message_id.as_str(), it.contact.platform_id.as_str(), it.direction),
            Event::Unknown(what) => (what.as_str(), "", Direction::Inbound),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("M1", "U", Direction::Inbound),
            ("M2", "", Direction::Outbound),
            ("M3", "", Direction::Inbound),
            // One without a message does not affect the others.
            ("reaction", "", Direction::Inbound),
        ]
    );
}

#[test]
fn a_read_mark_and_a_referral_need_no_people() {
    let content = json!({ "conversation_id": "C", "timestamp": 1_735_689_600_123_u64, "read": { "last_read_timestamp": 1_735_689_600_100_u64 } });
    let Event::Receipt(receipt) = webhook("im_mark_read_msg", &content).remove(0).event else {
        panic!("no receipt")
    };
    assert_eq!(receipt.conversation.contact_id, None);
    assert_eq!(receipt.target, ReceiptTarget::UpTo(1_735_689_600_100));
    let content = json!({ "conversation_id": "C", "referral": { "source": "ad", "ad": { "ad_id": "A" } } });
    let Event::Arrival(arrival) = webhook("im_referral_msg", &content).remove(0).event else {
        panic!("no arrival")
    };
    assert_eq!(
        (arrival.contact.platform_id.as_str(), arrival.referral.ad_id.as_deref()),
        ("", Some("A"))
    );
}
