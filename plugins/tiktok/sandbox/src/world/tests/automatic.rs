//! Automatic messages and comments.

use super::*;

#[test]
fn automatic_message_greets_after_review() {
    let mut play = Play::connected();
    let welcome = json!({"auto_message_type": "WELCOME_MESSAGE", "welcome_message": {"content": "Welcome!"}});
    let id = play.business(Api::AutoCreate, welcome.clone()).unwrap()["auto_message"]["auto_message_id"].clone();
    assert_eq!(code_of(play.business(Api::AutoCreate, welcome.clone())), 40002);
    let mut update = welcome;
    update["auto_message_id"] = id;
    assert_eq!(code_of(play.business(Api::AutoUpdate, update)), 40002, "under review");
    play.later(MINUTE_MS);
    let status = json!({"auto_message_type": "WELCOME_MESSAGE", "operation_status": "ENABLE"});
    play.business(Api::AutoStatus, status).unwrap();
    let got = play
        .business(Api::AutoGet, json!({"auto_message_type": "WELCOME_MESSAGE"}))
        .unwrap();
    assert_eq!(got["operation_status"], "ENABLE");
    assert_eq!(got["auto_messages"][0]["audit_status"], "APPROVED");
    assert_eq!(
        play.event_names(),
        [
            "im_auto_message_config_update",
            "im_auto_message_audit_update",
            "im_auto_message_config_update"
        ]
    );
    play.hello("jane_doe");
    play.hello("jane_doe");
    let events = play.deliver();
    assert_eq!(events.len(), 3);
    let greeting = &events[1].1;
    assert_eq!(greeting["auto_message_type"], "WELCOME_MESSAGE");
    assert_eq!(greeting["message_tag"]["source"], "OTHERS");
    // A greeting does not make the contact known: the business has not replied yet.
    let listed = play
        .business(Api::ConversationList, json!({"conversation_type": "STRANGER"}))
        .unwrap();
    assert_eq!(listed["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(
        code_of(play.business(
            Api::AutoDelete,
            json!({"auto_message_type": "WELCOME_MESSAGE", "auto_message_id": "1"})
        )),
        40002
    );
}

#[test]
fn chat_prompts_are_sorted_deleted_and_limited() {
    let mut play = Play::connected();
    play.lift_the_rate();
    let mut ids = Vec::new();
    for number in 0..6 {
        let prompt =
            json!({"auto_message_type": "CHAT_PROMPT", "chat_prompt": {"title": format!("p{number}"), "content": "c"}});
        ids.push(play.business(Api::AutoCreate, prompt).unwrap()["auto_message"]["auto_message_id"].clone());
    }
    let seventh = json!({"auto_message_type": "CHAT_PROMPT", "chat_prompt": {"title": "p7", "content": "c"}});
    assert_eq!(code_of(play.business(Api::AutoCreate, seventh)), 40002);
    ids.reverse();
    play.business(
        Api::AutoSort,
        json!({"auto_message_type": "CHAT_PROMPT", "auto_message_ids": ids}),
    )
    .unwrap();
    let first = |play: &mut Play| {
        play.business(Api::AutoGet, json!({"auto_message_type": "CHAT_PROMPT"}))
            .unwrap()["auto_messages"][0]["auto_message_id"]
            .clone()
    };
    assert_eq!(first(&mut play), ids[0]);
    play.business(
        Api::AutoDelete,
        json!({"auto_message_type": "CHAT_PROMPT", "auto_message_id": ids[0]}),
    )
    .unwrap();
    assert_eq!(first(&mut play), ids[1]);
    assert_eq!(
        code_of(play.business(
            Api::AutoSort,
            json!({"auto_message_type": "CHAT_PROMPT", "auto_message_ids": ["1"]})
        )),
        40002
    );
    assert_eq!(first(&mut play), ids[1]);
}

#[test]
fn comment_reply_is_once_within_48_hours() {
    let mut play = Play::connected();
    let comment = |play: &mut Play| {
        let order = serde_json::from_value(json!({"text": "How much?"})).unwrap();
        play.world.comment("acme_store", "jane_doe", order, play.now).unwrap()["comment_id"].clone()
    };
    let answer = |play: &mut Play, id: &Value| {
        let body = json!({"message_type": "TEXT", "text": {"body": "10"}, "direct_reply": {"reply_type": "COMMENT_REPLY", "comment_reply": {"comment_id": id}}});
        code_of(play.business(Api::Send, body))
    };
    let id = comment(&mut play);
    assert_eq!(answer(&mut play, &id), 40001);
    let enable = json!({"direct_reply_type": "COMMENT_TO_MESSAGE", "operation_status": "ENABLE"});
    play.business(Api::DirectReplyUpdate, enable).unwrap();
    play.deliver();
    let id = comment(&mut play);
    let events = play.deliver();
    assert_eq!(events[0].0["event"], "im_receive_high_intent_comment");
    assert_eq!(events[0].1["comment_id"], id);
    assert_eq!(answer(&mut play, &json!("7000000000000000009")), 40007);
    assert_eq!(answer(&mut play, &id), 0);
    assert_eq!(answer(&mut play, &id), 40064);
    let soon = comment(&mut play);
    assert_eq!(answer(&mut play, &soon), 40064, "they exchanged messages within a day");
}

#[test]
fn nothing_a_person_writes_grows_without_bound() {
    let mut play = Play::connected();
    play.set(json!({"webhooks": false}));
    for number in 0..limits::CHAT_MESSAGES + 5 {
        play.write("jane_doe", json!({"type": "text", "text": format!("{number}")}));
    }
    assert_eq!(play.world.chats[0].messages.len(), limits::CHAT_MESSAGES);
    assert_eq!(play.world.messages, limits::CHAT_MESSAGES);
}
