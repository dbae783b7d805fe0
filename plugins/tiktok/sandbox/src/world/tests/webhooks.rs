//! Webhooks: their content, recipients and retries.

use super::*;

#[test]
fn text_webhook_matches_reference() {
    let mut play = Play::connected();
    let done = play.write("jane_doe", json!({"type": "text", "text": "hi"}));
    let events = play.deliver();
    let (envelope, content) = &events[0];
    let person = content["from_user"]["id"].clone();
    assert_eq!(envelope["client_key"], DEFAULT_CLIENT_KEY);
    assert_eq!(envelope["event"], "im_receive_msg");
    assert_eq!(envelope["create_time"], START.secs());
    assert_eq!(envelope["user_openid"], play.open_id.as_str());
    assert_eq!(
        *content,
        json!({
            "from": "jane_doe", "to": "acme_store", "unique_identifier": person,
            "from_user": {"id": person, "role": "personal_account"},
            "to_user": {"id": play.open_id, "role": "business_account"},
            "conversation_id": done["conversation_id"], "message_id": done["message_id"],
            "timestamp": START.ms(), "type": "text", "text": {"body": "hi"},
            "scene_type": 0, "is_follower": true, "message_tag": {"source": "APP"},
        })
    );
}

#[test]
fn a_send_is_echoed_with_the_same_id_and_source_api() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    let card = json!({"message_type": "TEMPLATE", "template": {"type": "QA_BUTTON_CARD", "title": "Size?", "buttons": [{"type": "REPLY", "title": "S", "id": "s"}]}});
    let id = play.send(&chat, card).unwrap();
    play.write("jane_doe", json!({"type": "tap", "message_id": id, "button_id": "s"}));
    let events = play.deliver();
    let (envelope, echo) = &events[1];
    assert_eq!(envelope["event"], "im_send_msg");
    assert_eq!(echo["message_id"], id.as_str());
    assert_eq!(echo["message_tag"]["source"], "API");
    assert_eq!(echo["from_user"]["role"], "business_account");
    assert_eq!(
        echo["template"],
        json!({"type": "qa_button_card", "elements": [{"title": "Size?", "buttons": [{"text": "S", "type": "REPLY", "id": "s"}]}]})
    );
    let (_, tap) = &events[2];
    assert_eq!(tap["text"]["body"], "S");
    assert_eq!(
        tap["reply_source_payload"],
        json!({"reply_source_msg_id": id, "reply_source_unique_id": "s"})
    );
}

#[test]
fn every_message_kind_has_its_block() {
    let mut play = Play::connected();
    for (what, block, field) in [
        (json!({"type": "image"}), "image", "media_id"),
        (json!({"type": "video"}), "video", "media_id"),
        (json!({"type": "share_post"}), "share_post", "video_id"),
        (json!({"type": "emoji"}), "emoji", "url"),
        (json!({"type": "sticker"}), "sticker", "url"),
    ] {
        play.write("jane_doe", what);
        let (_, content) = play.deliver().remove(0);
        assert_eq!(content["type"], block);
        assert!(content[block][field].is_string(), "{content}");
    }
    play.write("jane_doe", json!({"type": "unknown", "name": "voice"}));
    let (_, voice) = play.deliver().remove(0);
    assert_eq!(voice["type"], "voice");
    assert!(voice.get("voice").is_none());
}

#[test]
fn reaction_names_target_and_is_removed_once() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    let id = play.say(&chat, "hello").unwrap();
    play.deliver();
    play.write("jane_doe", json!({"type": "reaction", "emoji": "👍"}));
    play.write(
        "jane_doe",
        json!({"type": "reaction", "emoji": "👍", "operation": "REMOVE"}),
    );
    let events = play.deliver();
    let reaction = &events[0].1["reaction"][0];
    assert_eq!(events[0].1["type"], "reaction");
    assert_eq!(reaction["operation"], "ADD");
    assert_eq!(reaction["emoji"], "👍");
    assert_eq!(reaction["original_msg_id"], id.as_str());
    assert_eq!(events[1].1["reaction"][0]["operation"], "REMOVE");
    let again = serde_json::from_value(json!({"type": "reaction", "emoji": "👍", "operation": "REMOVE"})).unwrap();
    assert!(play.world.write("acme_store", "jane_doe", again, play.now).is_err());
}

#[test]
fn eea_person_yields_stripped_event() {
    let mut play = Play::connected();
    let chat = play.hello("lena");
    let events = play.deliver();
    assert_eq!(events[0].0["event"], "im_receive_msg_eu");
    assert_eq!(
        events[0].1,
        json!({"to": "acme_store", "to_user": {"id": play.open_id, "role": "business_account"}, "timestamp": START.ms()})
    );
    play.say(&chat, "hello").unwrap();
    play.world.read_chat("acme_store", "lena", play.now).unwrap();
    assert_eq!(play.event_names(), ["im_send_msg"]);
}

#[test]
fn read_event_names_newest_message_time() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    play.later(5);
    play.say(&chat, "hello").unwrap();
    play.deliver();
    play.later(1000);
    play.world.read_chat("acme_store", "jane_doe", play.now).unwrap();
    play.world.read_chat("acme_store", "jane_doe", play.now).unwrap();
    let events = play.deliver();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0["event"], "im_mark_read_msg");
    assert_eq!(events[0].1["read"]["last_read_timestamp"], START.ms() + 5);
    assert!(events[0].1.get("type").is_none());
}

#[test]
fn referrals_come_without_message() {
    let mut play = Play::connected();
    for (campaign, named) in [("manual", false), ("smart_plus", false), ("upgraded_smart_plus", true)] {
        let click = serde_json::from_value(json!({"campaign": campaign})).unwrap();
        play.world.click_ad("acme_store", "jane_doe", click, play.now).unwrap();
        let (envelope, content) = play.deliver().remove(0);
        assert_eq!(envelope["event"], "im_referral_msg");
        assert_eq!(content["referral"]["source"], "ad");
        assert_eq!(content["referral"]["ad"]["timestamp"], play.now.ms());
        assert_eq!(content["referral"]["ad"].get("message_material_id").is_some(), named);
        assert!(content.get("message_id").is_none());
    }
    let link = serde_json::from_value(json!({"ref": "spring_promo", "message": "Hi", "audit": "REJECT"})).unwrap();
    play.world.open_link("acme_store", "jane_doe", link, play.now).unwrap();
    let (_, content) = play.deliver().remove(0);
    assert_eq!(
        content["referral"],
        json!({"source": "short_link", "short_link": {"ref": "spring_promo", "prefilled_message": "Hi", "prefilled_message_audit_status": "REJECT"}})
    );
}

#[test]
fn unaccepted_request_sends_no_webhook() {
    let mut play = Play::connected();
    play.world
        .put_account(AccountOrder {
            username: "acme_store".into(),
            display_name: None,
            country: "ID".into(),
            business: true,
            dm_everyone: false,
            age: 30,
        })
        .unwrap();
    play.hello("jane_doe");
    assert!(play.event_names().is_empty());
    play.world.accept_request("acme_store", "jane_doe").unwrap();
    play.hello("jane_doe");
    assert_eq!(play.event_names(), ["im_receive_msg"]);
}

#[test]
fn failed_webhook_backs_off_for_72_hours() {
    let mut play = Play::connected();
    play.hello("jane_doe");
    play.hello("jane_doe");
    play.hello("kenji");
    let mut waits = Vec::new();
    let mut first = play.world.next_delivery(play.now).unwrap();
    let lane = first.delivery.conversation.clone();
    // Another conversation does not wait for this one.
    let other = play.world.next_delivery(play.now).unwrap();
    assert_ne!(other.delivery.conversation, lane);
    play.world.settle(other, Attempt::Answered(200), play.now);
    for _ in 0..3 {
        play.world.settle(first, Attempt::Answered(500), play.now);
        assert!(
            play.world.next_delivery(play.now).is_none(),
            "the second message overtook the first"
        );
        let due = play.world.next_due().unwrap();
        waits.push(due.ms() - play.now.ms());
        play.now = due;
        first = play.world.next_delivery(play.now).unwrap();
    }
    assert_eq!(waits, [1000, 2000, 4000]);
    assert_eq!(first.delivery.attempts, 4);
    loop {
        play.world.settle(first, Attempt::Failed, play.now);
        if play.world.outbox.totals().gave_up == 1 {
            break;
        }
        play.now = play.world.next_due().unwrap();
        first = play.world.next_delivery(play.now).unwrap();
    }
    assert!(play.now <= START.plus_ms(limits::RETRY_FOR_MS));
    let second = play.world.next_delivery(play.now).unwrap();
    assert_eq!(
        (second.delivery.conversation.clone(), second.delivery.attempts),
        (lane, 1)
    );
    play.world.settle(second, Attempt::Answered(200), play.now);
    assert_eq!(play.world.outbox.totals().pending, 0);
}

#[test]
fn webhooks_are_doubled_dropped_delayed_and_overtaken_on_order() {
    let mut play = Play::connected();
    let texts = |play: &mut Play| -> Vec<String> {
        play.deliver()
            .iter()
            .map(|(_, content)| content["text"]["body"].as_str().unwrap().to_owned())
            .collect()
    };
    let order = |play: &mut Play, fault: Value| {
        play.world
            .faults
            .order(serde_json::from_value(json!({"on": "webhook", "fault": fault})).unwrap())
            .unwrap();
    };
    let say = |play: &mut Play, text: &str| {
        play.write("jane_doe", json!({"type": "text", "text": text}));
    };
    order(&mut play, json!({"duplicate": true}));
    say(&mut play, "twice");
    assert_eq!(texts(&mut play), ["twice", "twice"]);
    order(&mut play, json!({"drop": true}));
    say(&mut play, "lost");
    assert!(texts(&mut play).is_empty());
    order(&mut play, json!({"reorder": true}));
    say(&mut play, "first");
    assert!(texts(&mut play).is_empty());
    say(&mut play, "second");
    assert_eq!(texts(&mut play), ["second", "first"]);
    order(&mut play, json!({"reorder": true}));
    say(&mut play, "alone");
    play.later(limits::REORDER_WAIT_MS);
    assert_eq!(texts(&mut play), ["alone"]);
    order(&mut play, json!({"delay_ms": 5000}));
    say(&mut play, "late");
    play.later(4999);
    assert!(texts(&mut play).is_empty());
    play.later(1);
    assert_eq!(texts(&mut play), ["late"]);
    play.set(json!({"webhooks": false}));
    say(&mut play, "silent");
    assert!(texts(&mut play).is_empty());
    assert_eq!(play.world.outbox.totals().pending, 0);
}

#[test]
fn callback_must_be_local_and_present() {
    let mut play = Play::connected();
    let subscription = |url: &str| json!({"app_id": DEFAULT_CLIENT_KEY, "secret": SECRET, "event_type": "DIRECT_MESSAGE", "callback_url": url});
    for url in [
        "https://example.com/hook",
        "http://10.0.0.1/hook",
        "http://127.0.0.1.example.com/",
        "ftp://127.0.0.1/",
    ] {
        assert_eq!(
            code_of(play.call(Api::WebhookUpdate, subscription(url))),
            40002,
            "{url}"
        );
    }
    let mut wrong = subscription("http://127.0.0.1:1/");
    wrong["secret"] = "guess".into();
    assert_eq!(code_of(play.call(Api::WebhookList, wrong)), 40101);
    let mut category = subscription("http://127.0.0.1:1/");
    category["event_type"] = "im_receive_msg".into();
    assert_eq!(code_of(play.call(Api::WebhookUpdate, category)), 40002);
    play.hello("jane_doe");
    play.call(Api::WebhookDelete, subscription("")).unwrap();
    let listed = play.call(Api::WebhookList, subscription("")).unwrap();
    assert_eq!(
        listed,
        json!({"app_id": DEFAULT_CLIENT_KEY, "event_type": "DIRECT_MESSAGE"})
    );
    assert!(play.world.next_delivery(play.now).is_none());
    assert_eq!(play.world.outbox.totals().pending, 0);
}
