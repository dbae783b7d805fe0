//! Laws of receiving: no body makes it panic or costs more than itself.

use proptest::prelude::*;

use super::*;

/// Any JSON, in which TikTok's names are more likely than others.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        4 => proptest::sample::select(vec![
            "type", "text", "body", "image", "media_id", "video", "sticker", "url", "template", "elements", "title",
            "buttons", "reaction", "original_msg_id", "from_user", "to_user", "id", "role", "conversation_id", "message_id",
            "timestamp", "unique_identifier", "referral", "ad", "short_link", "source", "read", "last_read_timestamp",
            "referenced_message_info", "referenced_message_id", "share_post", "embed_url", "comment_id", "message_tag",
        ]).prop_map(str::to_owned),
        1 => "[a-z]{0,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(vec![
            "text",
            "image",
            "video",
            "reaction",
            "template",
            "sticker",
            "share_post",
            "ad",
            "B",
            "personal_account",
        ])
        .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn bytes_never_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = receive(&bytes);
    }

    #[test]
    fn content_of_any_shape_never_makes_it_panic(
        event in proptest::sample::select(vec![
            "im_receive_msg", "im_send_msg", "im_mark_read_msg", "im_referral_msg", "im_receive_msg_eu",
            "im_auto_message_config_update", "im_receive_high_intent_comment", "im_new",
        ]),
        content in any_json(),
    ) {
        let body = json!({ "event": event, "user_openid": "B", "create_time": 1, "content": content.to_string() });
        let _ = receive(body.to_string().as_bytes());
    }

    #[test]
    fn a_message_with_ids_is_never_lost(mut content in any_json(), kind in ".{0,12}") {
        if !content.is_object() {
            content = json!({});
        }
        for (name, value) in [
            ("conversation_id", json!("C")),
            ("message_id", json!("M")),
            ("from_user", json!({ "id": "U", "role": "personal_account" })),
            ("to_user", json!({ "id": "B", "role": "business_account" })),
            ("type", json!(kind)),
        ] {
            content[name] = value;
        }
        let body = json!({ "event": "im_receive_msg", "user_openid": "B", "content": content.to_string() });
        let events = receive(body.to_string().as_bytes()).unwrap();
        prop_assert!(matches!(&events[0].event, Event::Message(message) if message.platform_id == "M"));
    }

    #[test]
    fn surrogates_anywhere_lose_no_message(halves in proptest::collection::vec((0xd800..0xe000u16, 0..5usize), 1..6)) {
        let mut places = ["hi".to_owned(), "jane".to_owned(), "x".to_owned(), "y".to_owned(), "z".to_owned()];
        for (half, place) in halves {
            places[place] = format!("{}\\u{half:04x}", places[place]);
        }
        let [text, from, member, name, outer] = places;
        let content = format!(
            r#"{{"from":"{from}","from_user":{{"id":"U"}},"conversation_id":"C","message_id":"M","type":"text","text":{{"body":"{text}"}},"{member}":["{name}"]}}"#
        );
        let body = format!(
            r#"{{"event":"im_receive_msg","user_openid":"B","client_key":"{outer}","content":{}}}"#,
            json!(content)
        );
        let events = receive(body.as_bytes()).unwrap();
        let is_unsupported = matches!(&events[0].event, Event::Message(message)
            if matches!(&message.content, Content::Text(text) if text.starts_with("hi")) && message.platform_data.is_some());
        prop_assert!(is_unsupported, "{:?}", events);
    }

    #[test]
    fn a_broken_entry_costs_only_itself(broken in any_json(), place in 0..3usize) {
        let entry = |n: usize| json!({ "original_msg_id": format!("M{n}"), "emoji": "x", "unique_identifier": "U" });
        let mut entries = vec![entry(0), entry(1)];
        entries.insert(place.min(2), json!([broken]));
        entries.insert(place.min(2), json!({ "operation": broken }));
        let content = json!({ "type": "reaction", "conversation_id": "C", "reaction": entries });
        let events = webhook("im_receive_msg", &content);
        let known = events.iter().filter(|event| matches!(event.event, Event::Reaction(_))).count();
        prop_assert_eq!((known, events.len()), (2, 3));
    }
}
