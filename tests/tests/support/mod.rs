//! Tools of all tests: a connected stack in a directory of its own, and signed webhooks.
#![allow(dead_code, unused_imports, reason = "each promise uses a part")]

mod python;
pub(crate) mod signed;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use weir_test_postgres::PostgresServer;
use weir_tests::{Events, Options, Stack, until};

pub(crate) use python::{generators, libraries, python};

/// The default app's secret in the sandbox.
pub(crate) const SECRET: &str = "sandbox-client-secret";

/// The master key of nodes.
const MASTER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A running, connected host, listening to its events.
pub(crate) struct Connected {
    pub(crate) stack: Stack,
    pub(crate) channel: Value,
    pub(crate) events: Events,
    /// Dropped last: it contains the database.
    _folder: TempDir,
}

impl Connected {
    pub(crate) async fn begin() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (stack, channel) = Stack::connected(&folder.path().join("data")).await?;
        Self::of(stack, channel, folder).await
    }

    /// Connected, with the options of the programs modified by `change`.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut options = Options::new(&folder.path().join("data"));
        change(&mut options);
        let stack = Stack::start(options).await?;
        if stack.is_stopped() {
            // The token bucket of queries refills by the virtual clock, which is stopped.
            stack.phone.set(json!({"qps": null})).await?;
        }
        stack.install("tiktok").await?;
        stack.put_app().await?;
        let channel = stack.connect("acme_store").await?;
        Self::of(stack, channel, folder).await
    }

    /// Connected, with a new PostgreSQL database.
    pub(crate) async fn on_postgres(database: &str) -> anyhow::Result<Self> {
        let server = PostgresServer::installed();
        server.execute("postgres", &format!("CREATE DATABASE {database}"));
        Self::with(|options| {
            options.env.push(("WEIR_STORE".into(), server.url(database)));
            options.env.push(("WEIR_MASTER_KEY".into(), MASTER_KEY.into()));
        })
        .await
    }

    /// Connected, and allowed to hand events to an endpoint on this machine.
    pub(crate) async fn with_endpoints() -> anyhow::Result<Self> {
        Self::with(|options| options.env.push(("WEIR_DELIVERY_ALLOW_PRIVATE".into(), "true".into()))).await
    }

    /// Listens to a stack that was started otherwise.
    pub(crate) async fn of(stack: Stack, channel: Value, folder: TempDir) -> anyhow::Result<Self> {
        let events = stack.api.listen().await?;
        Ok(Self {
            stack,
            channel,
            events,
            _folder: folder,
        })
    }

    /// Connected through an app with these settings.
    pub(crate) async fn with_settings(settings: Value) -> anyhow::Result<Self> {
        let weir = Self::begin().await?;
        weir.stack.put_app_with(settings).await?;
        Ok(weir)
    }

    /// The path of something of the channel.
    pub(crate) fn of_channel(&self, what: &str) -> anyhow::Result<String> {
        Ok(format!("/v1/channels/{}{what}", text_of(&self.channel["id"])?))
    }

    pub(crate) async fn read_of_channel(&self, what: &str) -> anyhow::Result<Value> {
        self.stack.api.get(&self.of_channel(what)?).await?.expect(200)
    }

    pub(crate) async fn catch_up(&self) -> anyhow::Result<Value> {
        let path = self.of_channel("/catch-up")?;
        self.stack.api.post(&path, json!({})).await?.expect(200)
    }

    /// The account's owner withdraws the authorization at the platform.
    pub(crate) async fn revoke(&self) -> anyhow::Result<()> {
        let account = json!({"account": "acme_store"});
        self.stack.phone.order("revoke", account).await?;
        Ok(())
    }

    /// Sends any content; returns the response.
    pub(crate) async fn send(&self, conversation: &str, body: Value) -> anyhow::Result<weir_tests::Answer> {
        let path = format!("/v1/conversations/{conversation}/messages");
        self.stack.api.post(&path, body).await
    }

    /// The current features of a conversation.
    pub(crate) async fn features(&self, conversation: &str) -> anyhow::Result<Value> {
        let path = format!("/v1/conversations/{conversation}/features");
        self.stack.api.get(&path).await?.expect(200)
    }

    /// Uploads a picture; returns its id.
    pub(crate) async fn picture(&self) -> anyhow::Result<Value> {
        // Only the first bytes are checked.
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0];
        bytes.resize(1_000, 0);
        let part = reqwest::multipart::Part::bytes(bytes).file_name("picture.jpg");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self
            .stack
            .api
            .request(reqwest::Method::POST, "/v1/media")
            .multipart(form);
        Ok(self.stack.api.send(request).await?.expect(201)?["id"].clone())
    }

    /// The customer writes; returns the conversation's id.
    pub(crate) async fn conversation(&mut self) -> anyhow::Result<String> {
        let event = self.stack.receives(&mut self.events, "Hello!").await?;
        text_of(&event["data"]["conversation_id"])
    }

    /// Sends a text and waits until the platform accepted it; returns the message.
    pub(crate) async fn say(&mut self, conversation: &str, text: &str) -> anyhow::Result<Value> {
        let queued = self.stack.api.say(conversation, text).await?.expect(202)?;
        let sent = self.event_of("message.sent", &queued["id"]).await?;
        Ok(sent["data"].clone())
    }

    /// Sends a text that the platform throttles once; returns the message.
    pub(crate) async fn send_throttled(&mut self, conversation: &str, text: &str) -> anyhow::Result<Value> {
        let fault = json!({"code": 40100, "message": "App reaches the QPS limit."});
        let fault = json!({"on": "send", "fault": fault});
        self.stack.phone.order_fault(fault).await?;
        self.say(conversation, text).await
    }

    /// Sends a text whose response is lost and whose echo, which would settle it at once, never arrives; returns the
    /// `message.uncertain` event.
    pub(crate) async fn send_uncertain(&mut self, conversation: &str, text: &str) -> anyhow::Result<Value> {
        for fault in [
            json!({"on": "webhook", "event": "im_send_msg", "fault": {"drop": true}}),
            json!({"on": "send", "fault": {"lost": true}}),
        ] {
            self.stack.phone.order_fault(fault).await?;
        }
        let queued = self.stack.api.say(conversation, text).await?.expect(202)?;
        self.event_of("message.uncertain", &queued["id"]).await
    }

    /// The attempts of a message with the requests that left, once all have ended: an echo may mark a message as sent
    /// before the response of its send arrives.
    pub(crate) async fn tries(&self, message: &Value) -> anyhow::Result<Vec<Value>> {
        let path = format!("/v1/messages/{}/attempts", text_of(&message["id"])?);
        until("the end of the last try", async || {
            let ledger = self.stack.api.get(&path).await?.expect(200)?;
            let tries = ledger["data"].as_array().cloned().unwrap_or_default();
            Ok(tries.iter().all(|tried| tried["outcome"] != "open").then_some(tries))
        })
        .await
    }

    /// Waits for an event about one message.
    pub(crate) async fn event_of(&mut self, kind: &str, message: &Value) -> anyhow::Result<Value> {
        self.events
            .wait_where(kind, |event| event["data"]["id"] == *message)
            .await
    }

    /// The texts that the phone shows from the business, in order.
    pub(crate) async fn on_phone(&self) -> anyhow::Result<Vec<String>> {
        let messages = self.stack.phone.from_business().await?;
        Ok(messages
            .iter()
            .filter_map(|message| message["text"].as_str().map(str::to_owned))
            .collect())
    }

    /// Every message of a conversation, oldest first.
    pub(crate) async fn messages(&self, conversation: &str) -> anyhow::Result<Vec<Value>> {
        let page = self
            .stack
            .api
            .get(&format!("/v1/conversations/{conversation}/messages?limit=200"))
            .await?
            .expect(200)?;
        let mut messages = page["data"].as_array().cloned().unwrap_or_default();
        messages.reverse();
        Ok(messages)
    }

    /// Posts a body to the webhook as TikTok would sign it `skew` seconds ago.
    pub(crate) async fn webhook(&self, body: &str, skew: i64) -> anyhow::Result<u16> {
        let at = self.now().await? / 1000 - skew;
        self.post_webhook(body, &signature(SECRET, at, body)).await
    }

    /// Posts a body to the webhook under any signature.
    pub(crate) async fn post_webhook(&self, body: &str, signature: &str) -> anyhow::Result<u16> {
        let url = format!("{}/hooks/{}", self.stack.api.origin(), weir_tests::APP);
        let request = self.stack.client().post(url).header("content-type", "application/json");
        let answer = request
            .header("Tiktok-Signature", signature)
            .body(body.to_owned())
            .send()
            .await?;
        Ok(answer.status().as_u16())
    }

    /// The virtual time in milliseconds.
    pub(crate) async fn now(&self) -> anyhow::Result<i64> {
        let clock = self.stack.phone.look("clock").await?;
        clock["now_ms"]
            .as_i64()
            .ok_or_else(|| anyhow::anyhow!("the clock has no time"))
    }

    /// A text message's webhook from jane_doe, with any ids.
    pub(crate) async fn text_webhook(&self, conversation: &str, message: &str, text: &str) -> anyhow::Result<String> {
        let business = text_of(&self.channel["platform_id"])?;
        let now = self.now().await?;
        let content = json!({
            "from": "jane_doe", "to": "acme_store", "unique_identifier": "U",
            "from_user": {"id": "U", "role": "personal_account"},
            "to_user": {"id": business, "role": "business_account"},
            "conversation_id": conversation, "message_id": message, "timestamp": now,
            "type": "text", "text": {"body": text},
        });
        Ok(envelope(&business, "im_receive_msg", now / 1000, &content))
    }
}

/// The entry of one kind of content in the features.
pub(crate) fn kind_of(features: &Value, kind: &str) -> anyhow::Result<Value> {
    let mut all = features["contents"].as_array().into_iter().flatten();
    all.find(|content| content["kind"] == kind)
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("{kind} is not among {features:#}"))
}

/// A webhook's body around its content.
pub(crate) fn envelope(business: &str, event: &str, at: i64, content: &Value) -> String {
    json!({
        "client_key": "7000000000000000001", "event": event, "create_time": at,
        "user_openid": business, "content": content.to_string(),
    })
    .to_string()
}

/// TikTok's signature header.
pub(crate) fn signature(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},s={}", hex::encode(mac.finalize().into_bytes()))
}

/// A JSON text as a string.
pub(crate) fn text_of(value: &Value) -> anyhow::Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow::anyhow!("expected a text, saw {value}"))
}
