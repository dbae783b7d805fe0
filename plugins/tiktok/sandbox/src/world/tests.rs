//! The world's rules at their edges, without a network: each refusal with its code, each event with its format.

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

mod automatic;
mod consent;
mod read;
mod send;
mod webhooks;

const START: Timestamp = Timestamp::from_ms(1_735_689_600_000);
const SECRET: &str = "example-app-secret";
const REDIRECT: &str = "http://127.0.0.1:8080/callback";

/// A world with a connected account, and time before its limits.
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
        let tokens = play.authorize(account, scopes).unwrap();
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

    fn authorize(&mut self, account: &str, scopes: &str) -> Result<Value, Refusal> {
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

    /// Marks due deliveries as delivered: event names and parsed contents.
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
