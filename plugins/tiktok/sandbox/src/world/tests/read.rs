//! Reading messages.

use super::*;

#[test]
fn capability_depends_on_type_and_first_reply() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    let ask = |play: &mut Play, kind: &str| {
        let body = json!({"capability_types": ["IMAGE_SEND"], "conversation_id": chat, "conversation_type": kind});
        play.business(Api::Capabilities, body).unwrap()["capability_infos"][0]["capability_result"].clone()
    };
    assert_eq!(
        (ask(&mut play, "STRANGER"), ask(&mut play, "SINGLE")),
        (json!(true), json!(false))
    );
    play.say(&chat, "hello").unwrap();
    assert_eq!(
        (ask(&mut play, "STRANGER"), ask(&mut play, "SINGLE")),
        (json!(false), json!(true))
    );
    let spaced = json!({"capability_types": ["IMAGE_SEND"], "conversation_id": chat.replace('+', " "), "conversation_type": "SINGLE"});
    assert_eq!(code_of(play.business(Api::Capabilities, spaced)), 40002);
}

#[test]
fn content_list_shows_the_newest_twenty_and_both_participants() {
    let mut play = Play::connected();
    let chat = play.hello("jane_doe");
    for number in 1..=25 {
        play.write("jane_doe", json!({"type": "text", "text": format!("{number}")}));
    }
    let list = play
        .business(Api::ContentList, json!({"conversation_id": chat}))
        .unwrap();
    let messages = list["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 20);
    assert_eq!(messages[0]["text"]["body"], "25");
    assert_eq!(messages[0]["message_type"], "TEXT");
    assert_eq!(messages[0]["from_user"]["role"], "PERSONAL_ACCOUNT");
    assert_eq!(list["participants"][1]["display_name"], "Jane Doe");
}

#[test]
fn conversation_list_pages_and_expires() {
    let mut play = Play::connected();
    for person in ["jane_doe", "kenji", "lena"] {
        play.hello(person);
        play.later(1);
    }
    let list = |play: &mut Play, cursor: usize| {
        play.business(
            Api::ConversationList,
            json!({"conversation_type": "STRANGER", "limit": 2, "cursor": cursor}),
        )
        .unwrap()
    };
    let first = list(&mut play, 0);
    assert_eq!(
        (first["has_more"].clone(), first["cursor"].clone()),
        (json!(true), json!(2))
    );
    assert_eq!(first["conversations"].as_array().unwrap().len(), 2);
    let second = list(&mut play, 2);
    assert_eq!(
        (second["has_more"].clone(), second["cursor"].clone()),
        (json!(false), json!(3))
    );
    play.later(91 * DAY_MS);
    let tokens = play.authorize("acme_store", "message.list.read").unwrap();
    play.token = tokens["access_token"].as_str().unwrap().into();
    assert_eq!(list(&mut play, 0)["conversations"], json!([]));
}
