#![allow(clippy::unwrap_used)]

use weir_sdk::abilities::Signals;
use weir_sdk::abilities::signals::Signal;
use weir_sdk::http::{self, Body, PartContent};
use weir_sdk::types::{Button, Verdict};

use super::*;
use crate::fixture::{self, channel, conversation};

const SENT: &str = r#"{"message":{"message_id":"M9=="}}"#;

fn text() -> Content {
    Content::Text("hello".into())
}

fn image() -> Content {
    Content::Media(Media {
        kind: MediaKind::Image,
        reference: "med_1".into(),
        mime_type: Some("image/png".into()),
        size: Some(3),
        filename: Some("a.png".into()),
        caption: None,
    })
}

fn card(kind: &str, title: usize, buttons: &[usize]) -> Content {
    let button = |(index, length): (usize, &usize)| Button {
        id: index.to_string(),
        title: "b".repeat(*length),
        url: None,
    };
    Content::Card(Card {
        kind: kind.into(),
        title: "t".repeat(title),
        body: None,
        buttons: buttons.iter().enumerate().map(button).collect(),
    })
}

fn post(id: Option<&str>) -> Content {
    Content::SharedPost(SharedPost {
        post_id: id.map(str::to_owned),
        url: None,
    })
}

fn draft(content: Content) -> Draft {
    Draft {
        content,
        reply_to: None,
    }
}

fn send_text() -> Result<Sent, Failure> {
    send(&channel(), &conversation(true), &draft(text()))
}

#[test]
fn each_kind_of_message_has_tiktoks_body() {
    let cases = [
        (text(), json!({ "message_type": "TEXT", "text": { "body": "hello" } })),
        (
            post(Some("7")),
            json!({ "message_type": "SHARE_POST", "share_post": { "item_id": "7" } }),
        ),
        (
            card("buttons", 1, &[1]),
            json!({ "message_type": "TEMPLATE", "template": {
                "type": "QA_BUTTON_CARD", "title": "t", "buttons": [{ "type": "REPLY", "title": "b", "id": "0" }] } }),
        ),
        (
            card("links", 1, &[1]),
            json!({ "message_type": "TEMPLATE", "template": {
                "type": "QA_LINK_CARD", "title": "t", "buttons": [{ "type": "REPLY", "title": "b", "id": "0" }] } }),
        ),
    ];
    for (content, mut expected) in cases {
        let host = fixture::host();
        host.answer("POST", &wire::url(wire::SEND), 200, fixture::ok(SENT));
        let sent = send(&channel(), &conversation(true), &draft(content)).unwrap();
        assert_eq!(sent.platform_id, "M9==");
        address(&mut expected, &channel(), &conversation(true));
        assert_eq!(host.json_body(0), expected);
    }
}

#[test]
fn a_reply_names_the_quoted_message() {
    let host = fixture::host();
    host.answer("POST", &wire::url(wire::SEND), 200, fixture::ok(SENT));
    send(
        &channel(),
        &conversation(true),
        &Draft {
            content: text(),
            reply_to: Some("M1==".into()),
        },
    )
    .unwrap();
    assert_eq!(
        host.json_body(0)["referenced_message_info"]["referenced_message_id"],
        "M1=="
    );
}

#[test]
fn a_picture_is_uploaded_and_then_sent() {
    let host = fixture::host();
    host.answer(
        "POST",
        &wire::url(wire::UPLOAD),
        200,
        fixture::ok(r#"{"media_id":"up1"}"#),
    );
    host.answer("POST", &wire::url(wire::SEND), 200, fixture::ok(SENT));
    send(&channel(), &conversation(true), &draft(image())).unwrap();

    let Body::Multipart(parts) = &host.requests()[0].body else {
        panic!("no multipart")
    };
    let file = parts.iter().find(|part| part.name == "file").unwrap();
    assert_eq!(file.content, PartContent::Stored("med_1".into()));
    assert_eq!(host.json_body(1)["image"]["media_id"], "up1");
    assert_eq!(host.json_body(1)["message_type"], "IMAGE");
}

#[test]
fn a_picture_that_was_not_uploaded_was_not_sent() {
    let host = fixture::host();
    host.fail("POST", &wire::url(wire::UPLOAD), http::Error::NoAnswer("reset".into()));
    let failure = send(&channel(), &conversation(true), &draft(image())).unwrap_err();
    assert_eq!(failure.verdict, Verdict::Retry(None));
}

#[test]
fn an_acceptance_without_an_id_is_uncertain() {
    // A flat id is not TikTok's; other integrations duplicated messages by using it.
    for data in [
        "{}",
        "null",
        r#"{"message":{}}"#,
        r#"{"message":{"message_id":""}}"#,
        r#"{"message_id":"M9=="}"#,
    ] {
        let host = fixture::host();
        host.answer("POST", &wire::url(wire::SEND), 200, fixture::ok(data));
        let failure = send_text().unwrap_err();
        assert_eq!(failure.verdict, Verdict::Uncertain, "{data}");
        assert_eq!(failure.platform_request_id.as_deref(), Some("r1"));
    }
}

#[test]
fn an_answer_is_judged_by_its_code_and_else_by_its_status() {
    let cases = [
        (
            200,
            fixture::no(40_100, "App reaches the QPS limit."),
            Verdict::Retry(None),
            "rate_limited",
        ),
        (
            200,
            fixture::no(40_105, "Access token is incorrect or has been revoked."),
            Verdict::Reauthorize,
            "reauthorization_required",
        ),
        (
            200,
            fixture::no(40_064, "Due to risk control strategy."),
            Verdict::Permanent,
            "recipient_risk_controlled",
        ),
        (
            200,
            fixture::no(40_064, "Due to Media send strategy"),
            Verdict::Permanent,
            "media_not_allowed_in_region",
        ),
        (
            200,
            fixture::no(50_002, "Internal timeout"),
            Verdict::Uncertain,
            "outcome_unknown",
        ),
        (
            503,
            fixture::no(40_100, "App reaches the QPS limit."),
            Verdict::Retry(None),
            "rate_limited",
        ),
        (200, "<html>busy</html>".into(), Verdict::Uncertain, "outcome_unknown"),
        (
            200,
            r#"{"code":0,"message":"OK","da"#.into(),
            Verdict::Uncertain,
            "outcome_unknown",
        ),
        (502, "Bad Gateway".into(), Verdict::Uncertain, "outcome_unknown"),
        (503, String::new(), Verdict::Uncertain, "outcome_unknown"),
        (504, String::new(), Verdict::Uncertain, "outcome_unknown"),
        (400, "parsing error".into(), Verdict::Permanent, "connector_failed"),
    ];
    for (status, body, verdict, code) in cases {
        let host = fixture::host();
        host.answer("POST", &wire::url(wire::SEND), status, body.clone());
        let failure = send_text().unwrap_err();
        assert_eq!(
            (failure.verdict, failure.code.as_str()),
            (verdict, code),
            "{status} {body}"
        );
    }
}

#[test]
fn no_answer_is_judged_by_what_left() {
    let cases = [
        (http::Error::Refused("no grant".into()), Verdict::Permanent),
        (http::Error::Unreachable("no address".into()), Verdict::Retry(None)),
        (http::Error::NoAnswer("reset".into()), Verdict::Uncertain),
        (http::Error::TooLarge(9), Verdict::Uncertain),
    ];
    for (error, verdict) in cases {
        let host = fixture::host();
        host.fail("POST", &wire::url(wire::SEND), error.clone());
        assert_eq!(send_text().unwrap_err().verdict, verdict, "{error:?}");
    }
}

#[test]
fn a_typing_mark_needs_no_permit() {
    for (signal, action) in [(Signal::Typing, "TYPING"), (Signal::Read, "MARK_READ")] {
        let host = weir_sdk::testkit::Host::at(fixture::NOW);
        host.enforce(&crate::manifest::manifest());
        host.answer(
            "POST",
            &wire::url(wire::SEND),
            200,
            fixture::ok(r#"{"message":{"message_id":""}}"#),
        );
        TikTok::show(channel(), conversation(true), signal).unwrap();
        assert_eq!(host.json_body(0)["sender_action"], action);
    }
}

fn pointers(content: Content, reply_to: Option<&str>) -> Vec<String> {
    let draft = Draft {
        content,
        reply_to: reply_to.map(str::to_owned),
    };
    prepare(&draft).into_iter().map(|finding| finding.pointer).collect()
}

#[test]
fn what_tiktok_takes_is_not_faulted() {
    for content in [
        text(),
        image(),
        post(Some("7")),
        card("buttons", 40, &[20, 20, 20]),
        card("links", 40, &[40]),
    ] {
        assert_eq!(pointers(content, None), Vec::<String>::new());
    }
    assert_eq!(pointers(text(), Some("M1==")), Vec::<String>::new());
}

#[test]
fn each_limit_of_a_card_holds_from_the_next_character() {
    let cases: [(Content, &[&str]); 9] = [
        (card("buttons", 41, &[1]), &["/content/title"]),
        (card("buttons", 0, &[1]), &["/content/title"]),
        (card("buttons", 1, &[]), &["/content/buttons"]),
        (card("buttons", 1, &[1, 1, 1, 1]), &["/content/buttons"]),
        (card("buttons", 1, &[1, 21]), &["/content/buttons/1/title"]),
        (card("links", 1, &[41]), &["/content/buttons/0/title"]),
        (card("links", 1, &[0]), &["/content/buttons/0/title"]),
        (card("list", 1, &[1]), &["/content/card"]),
        (
            card("buttons", 41, &[21]),
            &["/content/title", "/content/buttons/0/title"],
        ),
    ];
    for (content, expected) in cases {
        assert_eq!(pointers(content.clone(), None), expected, "{content:?}");
    }
}

#[test]
fn missing_card_parts_are_reported() {
    let Content::Card(mut card) = card("buttons", 1, &[1]) else {
        panic!("no card")
    };
    card.body = Some("more".into());
    card.buttons[0].url = Some("https://example.com".into());
    card.buttons[0].id = "i".repeat(41);
    let expected = ["/content/body", "/content/buttons/0/id", "/content/buttons/0/url"];
    assert_eq!(pointers(Content::Card(card), None), expected);
}

#[test]
fn only_a_text_may_quote_and_no_picture_has_a_caption() {
    assert_eq!(pointers(image(), Some("M1==")), ["/reply_to"]);
    let Content::Media(mut media) = image() else {
        panic!("no media")
    };
    media.caption = Some("look".into());
    assert_eq!(pointers(Content::Media(media.clone()), None), ["/content/caption"]);
    media.kind = MediaKind::Video;
    assert_eq!(pointers(Content::Media(media), None), ["/content/type"]);
    assert_eq!(pointers(post(None), None), ["/content/post_id"]);
}
