#![allow(clippy::unwrap_used)]

use weir_sdk::serde_json::json;
use weir_sdk::types::{Content, Message};

use super::*;
use crate::fixture::{self, channel, conversation, ok};

fn page(body: String, since: Timestamp) -> MessagePage {
    let host = fixture::host();
    host.answer("GET", &wire::url(wire::MESSAGES), 200, body);
    let page = TikTok::messages(channel(), conversation(true), since).unwrap();
    assert!(host.requests()[0].url.contains("conversation_id=C%2B1%3D%3D"));
    page
}

/// A list of so many texts, newest first, one second apart, ending at `oldest`.
fn list(count: u64, oldest: Timestamp) -> String {
    let messages: Vec<_> = (0..count)
        .rev()
        .map(|index| {
            json!({
                "sender": "jane_doe", "recipient": "acme_store", "conversation_id": "C+1==", "message_id": format!("M{index}"),
                "timestamp": oldest + index * 1000, "message_type": "TEXT", "text": { "body": "hi" },
                "from_user": { "role": "PERSONAL_ACCOUNT", "id": "U" }, "to_user": { "role": "BUSINESS_ACCOUNT", "id": "B" },
            })
        })
        .collect();
    ok(&json!({ "messages": messages }).to_string())
}

fn messages(page: &MessagePage) -> Vec<&Message> {
    page.events
        .iter()
        .filter_map(|event| match &event.event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .collect()
}

#[test]
fn the_list_yields_what_the_webhooks_did() {
    let page = page(fixture::text("message-list"), 0);
    for (name, id) in [("text", "M1=="), ("template", "M9==")] {
        let webhook = receive::receive(fixture::text(name).as_bytes()).unwrap().remove(0);
        let listed = page.events.iter().find(|event| event.key == webhook.key).unwrap();
        let (Event::Message(webhook), Event::Message(listed)) = (&webhook.event, &listed.event) else {
            panic!("no messages")
        };
        assert_eq!(listed.platform_id, id);
        assert_eq!(
            (
                &listed.content,
                listed.direction,
                listed.origin,
                listed.sent_at,
                &listed.contact
            ),
            (
                &webhook.content,
                webhook.direction,
                webhook.origin,
                webhook.sent_at,
                &webhook.contact
            )
        );
    }
}

#[test]
fn the_list_is_given_oldest_first_with_its_reactions() {
    let page = page(fixture::text("message-list"), 0);
    let keys: Vec<_> = page.events.iter().map(|event| event.key.as_str()).collect();
    assert_eq!(
        keys,
        ["M1==", "M2==", "M3==", "M9==", "reaction:M9==:U:add:1735689660500"]
    );
    assert!(page.complete);
}

#[test]
fn a_post_of_the_list_has_the_id_that_its_link_holds() {
    let page = page(fixture::text("message-list"), 0);
    let Content::SharedPost(post) = &messages(&page)[1].content else {
        panic!("no post")
    };
    assert_eq!(post.post_id.as_deref(), Some("7301234567890123457"));
    assert!(matches!(&messages(&page)[2].content, Content::Fallback(shown) if shown.original_type == "other"));
}

#[test]
fn the_list_names_the_contact() {
    let contact = page(fixture::text("message-list"), 0).contact.unwrap();
    assert_eq!(
        (contact.platform_id.as_str(), contact.username.as_deref()),
        ("U", Some("jane_doe"))
    );
    assert_eq!(contact.display_name.as_deref(), Some("Jane"));
    assert_eq!(
        contact.avatar_url.as_deref(),
        Some("https://p16.tiktokcdn.com/jane.jpeg")
    );
}

#[test]
fn full_page_may_be_incomplete() {
    const OLDEST: Timestamp = 1_735_689_600_000;
    let cases = [
        (19, OLDEST - 1, true),
        (20, OLDEST - 1, false),
        (20, OLDEST, false),
        (20, OLDEST + 1, true),
        (0, OLDEST, true),
    ];
    for (count, since, complete) in cases {
        assert_eq!(
            page(list(count, OLDEST), since).complete,
            complete,
            "{count} since {since}"
        );
    }
}

#[test]
fn only_what_came_since_is_given() {
    const OLDEST: Timestamp = 1_735_689_600_000;
    assert_eq!(messages(&page(list(3, OLDEST), OLDEST + 1000)).len(), 2);
}

#[test]
fn a_message_that_cannot_be_read_leaves_the_page_incomplete() {
    let body = list(3, 1_735_689_600_000).replace(r#""message_id":"M1""#, r#""message_id":"""#);
    let page = page(body, 0);
    assert_eq!(messages(&page).len(), 2);
    assert!(!page.complete);
}

#[test]
fn both_lists_of_conversations_are_one_newest_first() {
    let host = fixture::host();
    host.answer(
        "GET",
        &wire::url(wire::CONVERSATIONS),
        200,
        fixture::text("conversation-list"),
    );
    let unanswered = r#"{"conversations":[{"update_time":1719400000000,"conversation_id":"C+3=="},
        {"update_time":1719400000000,"conversation_id":"C+1=="}],"has_more":false,"cursor":2}"#;
    host.answer("GET", &wire::url(wire::CONVERSATIONS), 200, ok(unanswered));
    let page = TikTok::conversations(channel(), None).unwrap();
    let found: Vec<_> = page
        .conversations
        .iter()
        .map(|summary| (summary.conversation.platform_id.as_str(), summary.conversation.answered))
        .collect();
    assert_eq!(found, [("C+1==", true), ("C+3==", false), ("C+2==", true)]);
    assert_eq!(page.cursor, None);
    let urls: Vec<_> = host.requests().into_iter().map(|request| request.url).collect();
    assert!(
        urls[0].contains("conversation_type=SINGLE") && urls[1].contains("conversation_type=STRANGER"),
        "{urls:?}"
    );
}

#[test]
fn only_continuing_list_is_paged() {
    let host = fixture::host();
    host.answer(
        "GET",
        &wire::url(wire::CONVERSATIONS),
        200,
        ok(r#"{"conversations":[],"has_more":true,"cursor":100}"#),
    );
    // More pages without progress would never end.
    host.answer(
        "GET",
        &wire::url(wire::CONVERSATIONS),
        200,
        ok(r#"{"conversations":[],"has_more":true,"cursor":0}"#),
    );
    let page = TikTok::conversations(channel(), None).unwrap();
    assert_eq!(page.cursor.as_deref(), Some("100,-"));

    host.answer(
        "GET",
        &wire::url(wire::CONVERSATIONS),
        200,
        ok(r#"{"conversations":[],"has_more":false,"cursor":100}"#),
    );
    let page = TikTok::conversations(channel(), page.cursor).unwrap();
    assert_eq!(page.cursor, None);
    assert!(host.requests()[2].url.contains("conversation_type=SINGLE"));
    assert!(host.requests()[2].url.ends_with("cursor=100"));
}

#[test]
fn half_an_emoji_costs_the_page_one_character() {
    let body = fixture::text("message-list")
        .replace("Jane", r"Jane \ud83d")
        .replace("Which size?", r"Which \udc00?");
    let page = page(body, 0);
    assert!(page.complete);
    assert_eq!(page.contact.unwrap().display_name.as_deref(), Some("Jane \u{fffd}"));
}

#[test]
fn another_business_is_the_other_side() {
    let body = fixture::text("message-list").replace("PERSONAL_ACCOUNT", "BUSINESS_ACCOUNT");
    let page = page(body, 0);
    assert_eq!(page.contact.as_ref().unwrap().platform_id, "U");
    let sent = messages(&page)
        .into_iter()
        .filter(|message| message.direction == Direction::Outbound)
        .count();
    assert!(sent > 0 && sent < messages(&page).len());
}
