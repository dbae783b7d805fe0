//! The preparation of each request that is cut off, and its expected effect.

use anyhow::{Context, ensure};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use super::acts::Act;
use super::{ACCOUNT, Body, HangUps, id_of, slow_down};
use crate::stack::CLIENT_SECRET;
use crate::{APP, Answer, until};

impl HangUps {
    /// The request of an act, and the status of its response.
    pub(super) async fn prepare(&mut self, act: Act, name: &str) -> anyhow::Result<(Method, String, Body, u16)> {
        let post = |path: &str, body: Value, right| (Method::POST, path.to_owned(), Body::Json(body), right);
        let of_channel = format!("/v1/channels/{}", self.channel);
        let of_conversation = format!("/v1/conversations/{}", self.conversation);
        Ok(match act {
            Act::Callback | Act::Webhook => anyhow::bail!("not sent with a key"),
            Act::Activity => {
                self.writes("Are you there?").await?;
                post(&format!("{of_conversation}/activity"), json!({"type": "typing"}), 204)
            }
            Act::AskForContact => {
                let conversation = self.stack.api.get(&of_conversation).await?.expect(200)?;
                let contact = id_of(&conversation["contact"])?;
                post(&format!("/v1/contacts/{contact}/refresh"), json!({}), 200)
            }
            Act::BeginTest => post(&format!("{of_channel}/test"), json!({}), 200),
            Act::Canary => {
                let other = self.other_version().await?;
                post(&of_version(&other, "canary"), json!({"percent": 50}), 200)
            }
            Act::CancelMessage => {
                self.writes("More?").await?;
                let queued = self.stack.api.say(&self.conversation, name).await?.expect(202)?;
                (
                    Method::DELETE,
                    format!("/v1/messages/{}", id_of(&queued)?),
                    Body::None,
                    200,
                )
            }
            Act::CatchUp => {
                self.stack.phone.set(json!({"webhooks": false})).await?;
                self.stack.phone.writes(name).await?;
                self.stack.phone.set(json!({"webhooks": true})).await?;
                post(&format!("{of_channel}/catch-up"), json!({}), 200)
            }
            Act::CreateEndpoint => {
                let body = json!({"url": "https://crm.example/weir", "enabled": false, "description": name});
                post("/v1/endpoints", body, 201)
            }
            Act::CreateKey => post("/v1/keys", json!({"name": name, "scopes": ["read"]}), 201),
            Act::CreateWorkspace => {
                let body = json!({"id": format!("workspace-{}", self.figures.rounds)});
                post("/v1/workspaces", body, 201)
            }
            Act::DeleteWorkspace => {
                let body = json!({"id": format!("workspace-{}", self.figures.rounds)});
                let made = id_of(&self.stack.api.post("/v1/workspaces", body).await?.expect(201)?)?;
                (Method::DELETE, format!("/v1/workspaces/{made}"), Body::None, 204)
            }
            Act::DeleteAutomation => {
                let path = format!("{of_channel}/automations/chat_prompt");
                let prompt =
                    json!({"enabled": true, "content": {"title": "Sizes", "content": "Which sizes are there?"}});
                let made = self.stack.api.put(&path, prompt).await?.expect(200)?;
                (Method::DELETE, format!("{path}/{}", id_of(&made)?), Body::None, 204)
            }
            Act::DeleteChannel => {
                let account = format!("account_{}", self.figures.rounds);
                let order = json!({"username": account, "country": "ID"});
                self.stack.phone.order("accounts", order).await?;
                let made = id_of(&self.stack.connect(&account).await?)?;
                (Method::DELETE, format!("/v1/channels/{made}"), Body::None, 200)
            }
            Act::DeleteDeadLetter => {
                let letter = self.dead_letter().await?;
                (Method::DELETE, format!("/v1/dead-letters/{letter}"), Body::None, 204)
            }
            Act::DeleteEndpoint => {
                let body = json!({"url": "https://crm.example/weir", "enabled": false});
                let made = id_of(&self.stack.api.post("/v1/endpoints", body).await?.expect(201)?)?;
                (Method::DELETE, format!("/v1/endpoints/{made}"), Body::None, 204)
            }
            Act::EraseContact => {
                let contact = self.contact_with_picture().await?;
                (Method::POST, format!("/v1/contacts/{contact}/erase"), Body::None, 204)
            }
            Act::Grant => {
                let version = self.active_version().await?;
                let path = format!("/v1/connectors/{APP}/versions/{version}");
                let wanted = self.stack.api.get(&path).await?.expect(200)?["wanted_grants"].take();
                let body = Body::Json(json!({"version": version, "grants": wanted}));
                (Method::PUT, format!("/v1/connectors/{APP}/grants"), body, 200)
            }
            Act::Install => {
                let bytes = self.stack.binaries().connector("tiktok")?;
                (Method::POST, "/v1/connectors".to_owned(), Body::Component(bytes), 201)
            }
            Act::Promote => {
                self.about = self.other_version().await?;
                post(&of_version(&self.about, "promote"), json!({}), 200)
            }
            Act::PutApp => {
                let path = format!("/v1/apps/{APP}");
                let app = self.stack.api.get(&path).await?.expect(200)?;
                let body =
                    json!({"connector": app["connector"], "settings": app["settings"], "origins": app["origins"]});
                (Method::PUT, path, Body::Json(body), 200)
            }
            Act::PutAutomation => {
                let body = Body::Json(json!({"enabled": true}));
                (
                    Method::PUT,
                    format!("{of_channel}/automations/comment_to_message"),
                    body,
                    200,
                )
            }
            Act::Reauthorize => post(&format!("{of_channel}/reauthorize"), json!({}), 201),
            Act::Recover => {
                let since = json!({"since": "2020-01-01T00:00:00Z"});
                post(&format!("/v1/endpoints/{}/recover", self.endpoint), since, 202)
            }
            Act::Refresh => post(&format!("{of_channel}/refresh"), json!({}), 200),
            Act::Rename => (Method::PATCH, of_channel, Body::Json(json!({"name": name})), 200),
            Act::ReplayDeadLetter => {
                let letter = self.dead_letter().await?;
                // No version can read it.
                post(&format!("/v1/dead-letters/{letter}/replay"), json!({}), 409)
            }
            Act::ReplayVersion => {
                let other = self.other_version().await?;
                post(&of_version(&other, "replay"), json!({"last": 5}), 200)
            }
            Act::Resend => {
                let example = format!("/v1/endpoints/{}/send-example", self.subscribed);
                let example = self
                    .stack
                    .api
                    .post(&example, json!({"type": "message.received"}))
                    .await?;
                let delivery = example.expect(202)?["delivery_id"].take();
                let delivery = delivery.as_str().context("no delivery")?.to_owned();
                self.delivered(&delivery).await?;
                post(&format!("/v1/deliveries/{delivery}/resend"), json!({}), 202)
            }
            Act::Retire => {
                let other = self.other_version().await?;
                post(&of_version(&other, "retire"), json!({}), 200)
            }
            Act::RetryMessage => {
                self.writes("More?").await?;
                // The first fault that matches a call applies.
                self.stack.phone.forget_faults().await?;
                let fault = json!({"code": 40064, "message": "Due to risk control strategy."});
                self.stack
                    .phone
                    .order_fault(json!({"on": "send", "fault": fault}))
                    .await?;
                let queued = self.stack.api.say(&self.conversation, name).await?.expect(202)?;
                let path = format!("/v1/messages/{}", id_of(&queued)?);
                until("the failed message", async || {
                    let message = self.stack.api.get(&path).await?.expect(200)?;
                    Ok((message["status"] == "failed").then_some(()))
                })
                .await?;
                slow_down(&self.stack).await?;
                post(&format!("{path}/retry"), json!({}), 202)
            }
            Act::RevokeKey => {
                let key = json!({"name": name, "scopes": ["read"]});
                let made = id_of(&self.stack.api.post("/v1/keys", key).await?.expect(201)?)?;
                (Method::DELETE, format!("/v1/keys/{made}"), Body::None, 204)
            }
            Act::RollBack => {
                self.about = self.active_version().await?;
                let other = self.other_version().await?;
                let promoted = self.stack.api.post(&of_version(&other, "promote"), json!({})).await?;
                promoted.expect(200)?;
                post(&of_version(&other, "rollback"), json!({"reason": name}), 200)
            }
            Act::RotateAppSecrets => {
                let body = json!({"secrets": {"client_secret": CLIENT_SECRET}});
                post(&format!("/v1/apps/{APP}/secrets/rotate"), body, 200)
            }
            Act::RotateSecret => post(
                &format!("/v1/endpoints/{}/secret/rotate", self.endpoint),
                json!({}),
                200,
            ),
            Act::Send => {
                // Restores the whole budget.
                self.writes("More?").await?;
                let body = json!({"content": {"type": "text", "text": name}});
                post(&format!("{of_conversation}/messages"), body, 202)
            }
            Act::SendExample => {
                let path = format!("/v1/endpoints/{}/send-example", self.subscribed);
                post(&path, json!({"type": "message.received"}), 202)
            }
            Act::StartSession => post("/v1/connect-sessions", json!({"app": APP}), 201),
            Act::UpdateEndpoint => {
                let body = Body::Json(json!({"description": name}));
                (Method::PATCH, format!("/v1/endpoints/{}", self.endpoint), body, 200)
            }
            Act::Upload => (Method::POST, "/v1/media".to_owned(), Body::File(name.to_owned()), 201),
        })
    }

    /// Checks that the requested effect exists, once and completely.
    pub(super) async fn look(&mut self, act: Act, name: &str, path: &str, answer: &Answer) -> anyhow::Result<()> {
        let api = &self.stack.api;
        let once = async |list: &str, member: &str| {
            let page = api.get(list).await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            let count = rows.iter().filter(|row| row[member] == name).count();
            ensure!(count == 1, "{count} of {list} are called {name:?}");
            Ok(())
        };
        match act {
            Act::CreateEndpoint => once("/v1/endpoints?limit=200", "description").await?,
            Act::CreateKey => once("/v1/keys", "name").await?,
            Act::CreateWorkspace => {
                let id = id_of(&answer.body)?;
                api.get(&format!("/v1/workspaces/{id}")).await?.expect(200)?;
            }
            Act::DeleteDeadLetter | Act::DeleteEndpoint | Act::DeleteWorkspace | Act::EraseContact => {
                let path = path.trim_end_matches("/erase");
                ensure!(api.get(path).await?.status == 404, "it is still there");
            }
            Act::DeleteAutomation => {
                let (list, id) = path.rsplit_once('/').context("no list")?;
                let kept = api.get(list).await?.expect(200)?;
                ensure!(!kept.to_string().contains(id), "it is still there: {kept:#}");
            }
            Act::DeleteChannel => {
                let channel = api.get(path).await?.expect(200)?;
                ensure!(channel["status"] == "deleted", "it is {:#}", channel["status"]);
            }
            Act::RevokeKey => {
                let keys = api.get("/v1/keys").await?.expect(200)?;
                let mut rows = keys["data"].as_array().context("no list")?.iter();
                let is_live = rows.any(|key| key["name"] == name && key["revoked_at"].is_null());
                ensure!(!is_live, "the key still opens");
            }
            Act::Refresh => ensure!(answer.body["status"] == "connected", "the channel is {:#}", answer.body),
            Act::Rename => {
                let channel = api.get(path).await?.expect(200)?;
                ensure!(channel["name"] == name, "the channel is called {}", channel["name"]);
            }
            Act::UpdateEndpoint => {
                let endpoint = api.get(path).await?.expect(200)?;
                ensure!(
                    endpoint["description"] == name,
                    "it is called {}",
                    endpoint["description"]
                );
            }
            Act::PutAutomation => {
                let kept = api.get(path).await?.expect(200)?;
                ensure!(kept["data"][0]["enabled"] == true, "{kept:#}");
            }
            Act::Send => {
                self.is_there_once(name).await?;
                self.sent.push(name.to_owned());
            }
            Act::CatchUp => self.is_there_once(name).await?,
            Act::CancelMessage => {
                // Depending on which was first, it was canceled or has been sent.
                let message = api.get(path).await?.expect(200)?;
                if message["status"] == "cancelled" {
                    self.taken_back.push(name.to_owned());
                } else {
                    self.sent.push(name.to_owned());
                }
            }
            Act::RetryMessage => self.sent.push(name.to_owned()),
            Act::Upload => {
                let id = id_of(&answer.body)?;
                api.get(&format!("/v1/media/{id}")).await?.expect(200)?;
                self.uploads.insert(id);
            }
            Act::Resend | Act::SendExample => {
                let delivery = answer.body["delivery_id"].as_str().context("no delivery")?;
                self.delivered(delivery).await?;
            }
            Act::Canary => {
                self.serves_in_one_version().await?;
                let back = path.replace("/canary", "/rollback");
                api.post(&back, json!({})).await?.expect(200)?;
                self.serves_in_one_version().await?;
            }
            Act::Promote | Act::RollBack => {
                let active = self.serves_in_one_version().await?;
                ensure!(active == self.about, "{active} serves, and not {}", self.about);
            }
            Act::Retire | Act::Grant | Act::Install | Act::ReplayVersion => {
                self.serves_in_one_version().await?;
            }
            Act::Activity
            | Act::AskForContact
            | Act::BeginTest
            | Act::Callback
            | Act::PutApp
            | Act::Reauthorize
            | Act::Recover
            | Act::ReplayDeadLetter
            | Act::RotateAppSecrets
            | Act::RotateSecret
            | Act::StartSession
            | Act::Webhook => {}
        }
        Ok(())
    }

    /// Checks that a message is in the conversation exactly once.
    pub(super) async fn is_there_once(&self, text: &str) -> anyhow::Result<()> {
        let path = format!("/v1/conversations/{}/messages?limit=200", self.conversation);
        let page = self.stack.api.get(&path).await?.expect(200)?;
        let rows = page["data"].as_array().context("no list")?;
        let count = rows.iter().filter(|row| row["content"]["text"] == text).count();
        ensure!(count == 1, "{text:?} is in the conversation {count} times");
        Ok(())
    }

    /// Waits for a delivery; its event must have been delivered as often as the database reports.
    async fn delivered(&self, id: &str) -> anyhow::Result<()> {
        let api = &self.stack.api;
        let path = format!("/v1/deliveries/{id}");
        let delivery = until("the delivery", async || {
            let delivery = api.get(&path).await?.expect(200)?;
            Ok((delivery["status"] == "delivered").then_some(delivery))
        })
        .await?;
        let event = delivery["event_id"].as_str().context("no event")?;
        let list = format!(
            "/v1/deliveries?endpoint_id={}&event_id={event}&limit=200",
            self.subscribed
        );
        let page = api.get(&list).await?.expect(200)?;
        let rows = page["data"].as_array().context("no list")?;
        ensure!(
            rows.iter().all(|row| row["status"] == "delivered"),
            "another delivery is on its way: {page:#}"
        );
        let tried: u64 = rows.iter().filter_map(|row| row["attempt_count"].as_u64()).sum();
        let deliveries = self.subscriber.delivered();
        let deliveries = deliveries
            .iter()
            .filter(|delivered| delivered.header("webhook-id").is_ok_and(|id| id == event));
        let deliveries = deliveries.count() as u64;
        ensure!(
            deliveries == tried,
            "{event} was delivered {deliveries} times, and tried {tried} times"
        );
        Ok(())
    }

    async fn read_channel(&self) -> anyhow::Result<Value> {
        self.stack
            .api
            .get(&format!("/v1/channels/{}", self.channel))
            .await?
            .expect(200)
    }

    async fn connector(&self) -> anyhow::Result<Value> {
        self.stack.api.get(&format!("/v1/connectors/{APP}")).await?.expect(200)
    }

    async fn active_version(&self) -> anyhow::Result<String> {
        let connector = self.connector().await?;
        let active = connector["active_version"].as_str().context("no version serves")?;
        Ok(active.to_owned())
    }

    /// The version that is not active.
    async fn other_version(&self) -> anyhow::Result<String> {
        let connector = self.connector().await?;
        let mut versions = connector["versions"].as_array().context("no versions")?.iter();
        let other = versions.find_map(|version| {
            let version = version["version"].as_str()?;
            (connector["active_version"] != version).then_some(version)
        });
        other.map(str::to_owned).context("one version only")
    }

    /// The only active version, by which the account receives and sends.
    async fn serves_in_one_version(&self) -> anyhow::Result<String> {
        let connector = self.connector().await?;
        let versions = connector["versions"].as_array().context("no versions")?;
        let active = versions.iter().filter(|version| version["state"] == "active").count();
        ensure!(active == 1, "{active} versions are active: {connector:#}");
        let channel = self.read_channel().await?;
        ensure!(channel["status"] == "connected", "the channel is {channel:#}");
        self.writes("Which version is this?").await?;
        self.active_version().await
    }

    /// Sends a webhook that no version can translate; returns its dead letter.
    async fn dead_letter(&self) -> anyhow::Result<String> {
        let known = self.dead_letters().await?;
        let status = self.post_webhook("{}").await?;
        ensure!(status == 200, "the webhook is answered {status}");
        let mut letters = self.dead_letters().await?.into_iter();
        letters.find(|letter| !known.contains(letter)).context("no dead letter")
    }

    async fn dead_letters(&self) -> anyhow::Result<Vec<String>> {
        let page = self.stack.api.get("/v1/dead-letters?limit=200").await?.expect(200)?;
        page["data"].as_array().context("no list")?.iter().map(id_of).collect()
    }

    /// The body of a webhook with a new message of the customer.
    pub(super) async fn saying(&self, text: &str) -> anyhow::Result<String> {
        let channel = self.read_channel().await?;
        let conversation = self.stack.api.conversation(&self.conversation).await?;
        let now = self.now().await?;
        let content = json!({
            "from": "jane_doe", "to": ACCOUNT, "unique_identifier": conversation["contact"]["platform_id"],
            "from_user": {"id": conversation["contact"]["platform_id"], "role": "personal_account"},
            "to_user": {"id": channel["platform_id"], "role": "business_account"},
            "conversation_id": conversation["platform_id"], "message_id": format!("m{text}"), "timestamp": now,
            "type": "text", "text": {"body": text},
        });
        let webhook = json!({
            "client_key": "7000000000000000001", "event": "im_receive_msg", "create_time": now / 1_000,
            "user_openid": channel["platform_id"], "content": content.to_string(),
        });
        Ok(webhook.to_string())
    }

    /// Posts a body with the platform's signature.
    pub(super) async fn post_webhook(&self, body: &str) -> anyhow::Result<u16> {
        let at = self.now().await? / 1_000;
        let mut mac = Hmac::<Sha256>::new_from_slice(CLIENT_SECRET.as_bytes())?;
        mac.update(format!("{at}.{body}").as_bytes());
        let signature = format!("t={at},s={}", hex::encode(mac.finalize().into_bytes()));
        let url = format!("{}/hooks/{APP}", self.stack.api.origin());
        let request = self.stack.client().post(url).header("content-type", "application/json");
        let answer = request
            .header("tiktok-signature", signature)
            .body(body.to_owned())
            .send()
            .await?;
        Ok(answer.status().as_u16())
    }

    async fn now(&self) -> anyhow::Result<i64> {
        let clock = self.stack.phone.look("clock").await?;
        clock["now_ms"].as_i64().context("the clock has no time")
    }

    /// The customer writes; waits until Weir has stored the message.
    async fn writes(&self, text: &str) -> anyhow::Result<()> {
        let written = self.stack.phone.writes(text).await?;
        let path = format!("/v1/conversations/{}/messages?limit=200", self.conversation);
        until("what the customer wrote", async || {
            let page = self.stack.api.get(&path).await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            let is_there = rows.iter().any(|row| row["platform_id"] == written["message_id"]);
            Ok(is_there.then_some(()))
        })
        .await
    }

    /// A new customer sends a picture; waits until it is stored and returns the contact.
    async fn contact_with_picture(&self) -> anyhow::Result<String> {
        let person = format!("person_{}", self.figures.rounds);
        let phone = self.stack.phone.of(&person);
        let order = json!({"username": person, "country": "ID"});
        self.stack.phone.order("people", order).await?;
        let written = phone.does("write", json!({"type": "image"})).await?;
        let message = until("the picture", async || {
            let page = self.stack.api.get("/v1/conversations?limit=200").await?.expect(200)?;
            let rows = page["data"].as_array().context("no list")?;
            for row in rows {
                let path = format!("/v1/conversations/{}/messages", id_of(row)?);
                let page = self.stack.api.get(&path).await?.expect(200)?;
                let rows = page["data"].as_array().context("no list")?;
                let found = rows.iter().find(|row| {
                    row["platform_id"] == written["message_id"] && row["content"]["media"]["status"] == "stored"
                });
                if let Some(message) = found {
                    return Ok(Some(message.clone()));
                }
            }
            Ok(None)
        })
        .await?;
        message["contact_id"]
            .as_str()
            .map(str::to_owned)
            .context("the message has no contact")
    }
}

fn of_version(version: &str, step: &str) -> String {
    format!("/v1/connectors/{APP}/versions/{version}/{step}")
}
