//! The world's rules at their edges, without a network: each refusal with its code, each event with its shape.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::outbox::Attempt;
use super::people::{AccountOrder, DEFAULT_CLIENT_KEY, PersonOrder};
use super::{Genesis, SettingsPatch, World};
use crate::api::{Api, Call};
use crate::clock::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use crate::limits;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::world::media::Upload;
use crate::world::oauth::ConsentRequest;

const START: Timestamp = Timestamp::from_ms(1_735_689_600_000);
const SECRET: &str = "example-app-secret";
const REDIRECT: &str = "http://127.0.0.1:8080/callback";

/// A world with a connected account, and time in hand.
struct Play {
    world: World,
    now: Timestamp,
    token: String,
    refresh_token: String,
    open_id: String,
}

impl Play {
    fn connected() -> Self {
        Self::as_account("acme_store")
    }

    fn as_account(account: &str) -> Self {
        Self::with_scopes(
            account,
            "user.info.basic,user.account.type,message.list.read,message.list.send,message.list.manage",
        )
    }

    fn with_scopes(account: &str, scopes: &str) -> Self {
        let mut play = Self {
            world: World::new(
                Genesis {
                    origin: "http://127.0.0.1:9100".into(),
                    seed: 1,
                    client_secret: SECRET.into(),
                    redirect_uri: None,
                },
                START,
            ),
            now: START,
            token: String::new(),
            refresh_token: String::new(),
            open_id: String::new(),
        };
        let tokens = play.authorise(account, scopes).unwrap();
        play.token = tokens["access_token"].as_str().unwrap().into();
        play.refresh_token = tokens["refresh_token"].as_str().unwrap().into();
        play.open_id = tokens["open_id"].as_str().unwrap().into();
        play.call(
            Api::WebhookUpdate,
            json!({"app_id": DEFAULT_CLIENT_KEY, "secret": SECRET, "event_type": "DIRECT_MESSAGE", "callback_url": "http://127.0.0.1:8080/hook"}),
        )
        .unwrap();
        play
    }

    fn code(&mut self, account: &str, scopes: &str) -> String {
        let consent = self.world.consent(&consent_request(scopes)).unwrap();
        let granted = consent.scopes.clone();
        self.world.grant(&consent, account, granted, self.now).unwrap()
    }

    fn authorise(&mut self, account: &str, scopes: &str) -> Result<Value, Refusal> {
        let code = self.code(account, scopes);
        self.exchange(&code)
    }

    fn exchange(&mut self, code: &str) -> Result<Value, Refusal> {
        self.call(Api::Token, exchange_body(code))
    }

    fn refresh(&mut self, token: &str) -> Result<Value, Refusal> {
        self.call(
            Api::Refresh,
            json!({"client_id": DEFAULT_CLIENT_KEY, "client_secret": SECRET, "grant_type": "refresh_token", "refresh_token": token}),
        )
    }

    fn call(&mut self, api: Api, body: Value) -> Result<Value, Refusal> {
        let token = self.token.clone();
        self.call_as(api, Some(&token), body)
    }

    fn call_as(&mut self, api: Api, token: Option<&str>, body: Value) -> Result<Value, Refusal> {
        self.world.tick(self.now);
        let params = Params::from_json(body.to_string().as_bytes()).unwrap();
        api.perform(&mut self.world, &mut Call::new(self.now, token, &params))
    }

    /// A `/business/*` call with the account's id filled in.
    fn business(&mut self, api: Api, mut body: Value) -> Result<Value, Refusal> {
        body["business_id"] = self.open_id.as_str().into();
        self.call(api, body)
    }

    fn write(&mut self, person: &str, what: Value) -> Value {
        let writing = serde_json::from_value(what).unwrap();
        self.world.write("acme_store", person, writing, self.now).unwrap()
    }

    fn hello(&mut self, person: &str) -> String {
        let done = self.write(person, json!({"type": "text", "text": "hi"}));
        done["conversation_id"].as_str().unwrap().to_owned()
    }

    fn send(&mut self, conversation: &str, mut message: Value) -> Result<String, Refusal> {
        message["recipient_type"] = "CONVERSATION".into();
        message["recipient"] = conversation.into();
        let data = self.business(Api::Send, message)?;
        Ok(data["message"]["message_id"].as_str().unwrap().to_owned())
    }

    fn say(&mut self, conversation: &str, text: &str) -> Result<String, Refusal> {
        self.send(conversation, json!({"message_type": "TEXT", "text": {"body": text}}))
    }

    fn upload(&mut self, bytes: &[u8], mime: &str) -> Result<String, Refusal> {
        let fields = json!({"business_id": self.open_id, "media_type": "IMAGE"});
        let params = Params::from_json(fields.to_string().as_bytes()).unwrap();
        let token = self.token.clone();
        let mut call = Call::new(self.now, Some(&token), &params);
        let file = Upload {
            mime: mime.into(),
            bytes: bytes.to_vec().into(),
        };
        let data = self.world.upload(&mut call, Some(file))?;
        Ok(data["media_id"].as_str().unwrap().to_owned())
    }

    /// Takes what is due as delivered: event names and parsed contents.
    fn deliver(&mut self) -> Vec<(Value, Value)> {
        let mut events = Vec::new();
        while let Some(due) = self.world.next_delivery(self.now) {
            let envelope: Value = serde_json::from_slice(&due.delivery.body).unwrap();
            let content = serde_json::from_str(envelope["content"].as_str().unwrap()).unwrap();
            events.push((envelope, content));
            self.world.settle(due, Attempt::Answered(200), self.now);
        }
        events
    }

    fn event_names(&mut self) -> Vec<String> {
        self.deliver()
            .into_iter()
            .map(|(envelope, _)| envelope["event"].as_str().unwrap().to_owned())
            .collect()
    }

    fn later(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        self.world.tick(self.now);
    }

    fn lift_the_rate(&mut self) {
        self.set(json!({"qps": null}));
    }

    fn set(&mut self, patch: Value) {
        let patch: SettingsPatch = serde_json::from_value(patch).unwrap();
        self.world.change_settings(patch).unwrap();
    }
}

fn consent_request(scopes: &str) -> ConsentRequest {
    ConsentRequest {
        client_key: DEFAULT_CLIENT_KEY.into(),
        response_type: "code".into(),
        scope: scopes.into(),
        redirect_uri: REDIRECT.into(),
        state: "s".into(),
    }
}

fn exchange_body(code: &str) -> Value {
    json!({
        "client_id": DEFAULT_CLIENT_KEY, "client_secret": SECRET, "grant_type": "authorization_code",
        "auth_code": code, "redirect_uri": REDIRECT,
    })
}

fn code_of<T: std::fmt::Debug>(result: Result<T, Refusal>) -> i64 {
    result.map_or_else(|refusal| refusal.code, |_| 0)
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

// --- consent and tokens ---

#[test]
fn consent_is_refused_whole_for_one_unapproved_scope_and_for_a_foreign_redirect_or_app() {
    let play = Play::connected();
    assert!(play.world.consent(&consent_request("message.list.read")).is_ok());
    assert!(
        play.world
            .consent(&consent_request("message.list.read,video.publish"))
            .is_err()
    );
    let mut foreign = consent_request("message.list.read");
    foreign.redirect_uri = "https://example.com/callback".into();
    assert!(play.world.consent(&foreign).is_err());
    let mut unknown = consent_request("message.list.read");
    unknown.client_key = "1".into();
    assert!(play.world.consent(&unknown).is_err());
}

#[test]
fn a_code_is_exchanged_once_and_within_ten_minutes() {
    let mut play = Play::connected();
    let code = play.code("acme_store", "message.list.read");
    play.later(10 * MINUTE_MS - 1);
    assert_eq!(code_of(play.exchange(&code)), 0);
    assert_eq!(code_of(play.exchange(&code)), 40110);
    let late = play.code("acme_store", "message.list.read");
    play.later(10 * MINUTE_MS);
    assert_eq!(code_of(play.exchange(&late)), 40110);
}

#[test]
fn an_exchange_with_a_wrong_secret_grant_type_or_redirect_leaves_the_code_usable() {
    let mut play = Play::connected();
    let code = play.code("acme_store", "message.list.read");
    for (field, wrong, refusal) in [
        ("client_secret", "guess", 40101),
        ("grant_type", "refresh_token", 40108),
        ("redirect_uri", "http://127.0.0.1:1/", 40002),
    ] {
        let mut body = exchange_body(&code);
        body[field] = wrong.into();
        assert_eq!(code_of(play.call(Api::Token, body)), refusal, "{field}");
    }
    assert_eq!(code_of(play.exchange(&code)), 0);
}

#[test]
fn a_refresh_rotates_the_token_and_its_year_counts_down() {
    let mut play = Play::connected();
    play.later(30 * DAY_MS);
    let old = play.refresh_token.clone();
    let fresh = play.refresh(&old).unwrap();
    assert_eq!(fresh["refresh_token_expires_in"], (365 - 30) * 86_400);
    assert_eq!(fresh["expires_in"], 86_400);
    assert_eq!(code_of(play.refresh(&old)), 40107);
    let new = fresh["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    play.later(335 * DAY_MS - 1);
    assert_eq!(code_of(play.refresh(&new)), 0);
}

#[test]
fn a_refresh_token_without_rotation_stays_until_its_year_is_over() {
    let mut play = Play::connected();
    play.set(json!({"rotate_refresh_tokens": false}));
    let token = play.refresh_token.clone();
    assert_eq!(play.refresh(&token).unwrap()["refresh_token"], token.as_str());
    play.later(365 * DAY_MS - 1);
    assert_eq!(code_of(play.refresh(&token)), 0);
    play.later(1);
    assert_eq!(code_of(play.refresh(&token)), 40103);
}

#[test]
fn an_access_token_dies_after_a_day_and_by_revocation() {
    let mut play = Play::connected();
    let info = |play: &mut Play| {
        let token = play.token.clone();
        code_of(play.call(
            Api::TokenInfo,
            json!({"app_id": DEFAULT_CLIENT_KEY, "access_token": token}),
        ))
    };
    play.later(DAY_MS - 1);
    assert_eq!(code_of(play.business(Api::Profile, json!({}))), 0);
    assert_eq!(info(&mut play), 0);
    play.later(1);
    assert_eq!(code_of(play.business(Api::Profile, json!({}))), 40105);
    assert_eq!(info(&mut play), 40105);

    let mut play = Play::connected();
    let token = play.token.clone();
    let body = json!({"client_id": DEFAULT_CLIENT_KEY, "client_secret": SECRET, "access_token": token});
    assert_eq!(play.call(Api::Revoke, body).unwrap(), json!({}));
    assert_eq!(code_of(play.business(Api::Profile, json!({}))), 40105);
    let refresh = play.refresh_token.clone();
    assert_eq!(code_of(play.refresh(&refresh)), 40107);
}

#[test]
fn a_call_needs_a_token_its_scope_and_its_own_account() {
    let mut play = Play::with_scopes("acme_store", "message.list.read");
    let body = json!({"business_id": play.open_id, "conversation_type": "SINGLE"});
    assert_eq!(code_of(play.call_as(Api::ConversationList, None, body.clone())), 40104);
    assert_eq!(code_of(play.call_as(Api::ConversationList, Some("guess"), body)), 40105);
    assert_eq!(code_of(play.say("C", "hi")), 40001);
    let foreign = json!({"business_id": "-000else", "conversation_type": "SINGLE"});
    assert_eq!(code_of(play.call(Api::ConversationList, foreign)), 40001);
}

#[test]
fn personal_and_european_accounts_can_be_looked_at_and_not_messaged_for() {
    for (account, business) in [("just_me", false), ("berlin_laden", true)] {
        let mut play = Play::as_account(account);
        let profile = play
            .business(Api::Profile, json!({"fields": ["is_business_account"]}))
            .unwrap();
        assert_eq!(profile["is_business_account"], business);
        let list = play.business(Api::ConversationList, json!({"conversation_type": "SINGLE"}));
        assert_eq!(code_of(list), 40001);
    }
}

#[test]
fn a_profile_field_without_its_scope_is_left_out() {
    let mut play = Play::connected();
    let profile = play
        .business(Api::Profile, json!({"fields": ["display_name", "username"]}))
        .unwrap();
    assert_eq!(profile, json!({"display_name": "Acme Store"}));
}

// --- sending ---

#[test]
fn the_tenth_message_goes_and_the_eleventh_waits_for_the_person() {
    let mut play = Play::connected();
    play.lift_the_rate();
    let chat = play.hello("jane_doe");
    for number in 0..10 {
        assert_eq!(code_of(play.say(&chat, &format!("{number}"))), 0);
    }
    assert_eq!(code_of(play.say(&chat, "eleventh")), 40064);
    // A typing sign is no message.
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
fn ten_calls_pass_in_a_second_and_the_bucket_refills_on_the_virtual_clock() {
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
fn an_uploaded_file_can_be_sent_for_30_days_and_by_its_account_only() {
    let mut play = Play::connected();
    let media = play.upload(PNG, "image/png").unwrap();
    assert!(
        play.world
            .has_file("acme_store", &media, play.now.plus_ms(30 * DAY_MS - 1))
    );
    assert!(!play.world.has_file("acme_store", &media, play.now.plus_ms(30 * DAY_MS)));
    assert!(!play.world.has_file("berlin_laden", &media, play.now));
}

// --- reading ---

#[test]
fn capability_is_true_under_the_right_type_only_and_changes_with_the_first_answer() {
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
fn conversation_list_pages_by_type_newest_first_and_forgets_after_90_days() {
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
    let tokens = play.authorise("acme_store", "message.list.read").unwrap();
    play.token = tokens["access_token"].as_str().unwrap().into();
    assert_eq!(list(&mut play, 0)["conversations"], json!([]));
}

// --- webhooks ---

#[test]
fn a_text_is_told_as_the_reference_shows() {
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
fn every_kind_of_message_is_told_with_its_block() {
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
fn a_reaction_is_told_with_its_target_and_can_be_taken_back_once() {
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
fn of_a_person_in_the_eea_only_the_stripped_event_is_told() {
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
fn reading_is_told_once_with_the_time_of_the_newest_message_seen() {
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
fn arrivals_are_told_without_a_message_and_only_upgraded_smart_plus_names_the_creative() {
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
fn a_request_that_was_not_accepted_is_told_to_nobody() {
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
fn a_failed_webhook_backs_off_doubling_holds_its_conversation_and_ends_after_72_hours() {
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
fn a_callback_off_this_machine_is_refused_and_a_deleted_one_ends_delivery() {
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

// --- automatic messages and comments ---

#[test]
fn an_automatic_message_is_reviewed_then_greets_who_writes_first() {
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
    // A greeting is no acquaintance: nobody answered yet.
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
fn a_comment_is_answered_once_within_48_hours_and_only_when_it_is_enabled() {
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
