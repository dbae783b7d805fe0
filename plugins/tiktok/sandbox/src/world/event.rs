//! The webhooks' formats (TikTok, webhook schema of Business Messaging) and their recipients.
//!
//! `content` is JSON inside a string; enums in it are lower-case where REST has them upper-case. Undocumented by TikTok
//! and chosen here: `unique_identifier` of an echo is the sender's, that is the business's; for a person in the EEA,
//! Switzerland or the UK only the stripped `im_receive_msg_eu` is sent, so neither their read receipts nor their
//! arrivals.

use serde::Serialize;
use serde_json::{Value, json};

use super::World;
use super::chat::{Content, Message, Reaction, Referral, Side, embed_url};
use super::media;
use super::outbox::{Delivery, DeliveryId};
use crate::clock::Timestamp;
use crate::region;

/// The envelope of every webhook, in TikTok's order.
#[derive(Serialize)]
struct Envelope<'a> {
    client_key: &'a str,
    event: &'a str,
    create_time: i64,
    user_openid: &'a str,
    content: String,
}

/// The change of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Remove,
}

impl World {
    /// Sends the webhooks of a message. Returns the deliveries created, for an echo that must arrive early.
    pub(super) fn notify_message(&mut self, index: usize, message: &Message, now: Timestamp) -> Vec<DeliveryId> {
        let account = self.chats[index].account.clone();
        let mut deliveries = Vec::new();
        for (app, business_id) in self.subscribers(&account, now) {
            let webhook = match message.from {
                Side::Business => Some((
                    "im_send_msg",
                    self.message_content(index, message.from, &business_id, |content| {
                        self.fill_message(content, message);
                    }),
                )),
                Side::Person => self.inbound(index, &business_id, message.at, |content| {
                    self.fill_message(content, message);
                }),
            };
            if let Some((event, content)) = webhook {
                deliveries.extend(self.notify(&app, &business_id, index, event, &content, Some(&message.id), now));
            }
        }
        deliveries
    }

    /// Sends the webhooks of a reaction, which is not a message although it uses the same event.
    pub(super) fn notify_reaction(
        &mut self,
        index: usize,
        target: &str,
        reaction: &Reaction,
        operation: Operation,
        now: Timestamp,
    ) {
        let id = self.mint.message_id();
        let account = self.chats[index].account.clone();
        for (app, business_id) in self.subscribers(&account, now) {
            let fill = |content: &mut Value| {
                let (kind, field, value) = reaction.what.fields(&self.origin, reaction.at);
                content["message_id"] = id.as_str().into();
                content["timestamp"] = reaction.at.ms().into();
                content["type"] = "reaction".into();
                content["reaction"] = json!([{
                    "operation": match operation { Operation::Add => "ADD", Operation::Remove => "REMOVE" },
                    "type": kind,
                    field: value,
                    "unique_identifier": self.identifier(index, reaction.from, &business_id),
                    "timestamp": reaction.at.ms(),
                    "original_msg_id": target,
                }]);
                content["message_tag"] = json!({"source": "APP"});
            };
            let webhook = match reaction.from {
                Side::Business => Some((
                    "im_send_msg",
                    self.message_content(index, Side::Business, &business_id, fill),
                )),
                Side::Person => self.inbound(index, &business_id, reaction.at, fill),
            };
            if let Some((event, content)) = webhook {
                self.notify(&app, &business_id, index, event, &content, Some(&id), now);
            }
        }
    }

    /// Sends the webhook that the person has read up to `read`.
    pub(super) fn notify_read(&mut self, index: usize, read: Timestamp, now: Timestamp) -> bool {
        self.notify_of_person(index, "im_mark_read_msg", now, |content| {
            content["timestamp"] = now.ms().into();
            content["read"] = json!({"last_read_timestamp": read.ms()});
        })
    }

    /// Sends the webhook that the person came by an ad or a link.
    pub(super) fn notify_referral(
        &mut self,
        index: usize,
        referral: &Referral,
        follower: bool,
        now: Timestamp,
    ) -> bool {
        let source = match referral {
            Referral::Ad { .. } => "ad",
            Referral::Link { .. } => "short_link",
        };
        self.notify_of_person(index, "im_referral_msg", now, |content| {
            content["timestamp"] = now.ms().into();
            content["is_follower"] = follower.into();
            content["referral"] = json!({"source": source, source: referral.show(false)});
        })
    }

    /// Sends the webhook of a comment that showed interest.
    pub(super) fn notify_comment(
        &mut self,
        index: usize,
        id: &str,
        text: &str,
        follower: bool,
        now: Timestamp,
    ) -> bool {
        self.notify_of_person(index, "im_receive_high_intent_comment", now, |content| {
            if let Some(fields) = content.as_object_mut() {
                fields.remove("conversation_id");
            }
            content["comment_id"] = id.into();
            content["comment_text"] = text.into();
            content["is_follower"] = follower.into();
            content["timestamp"] = now.ms().into();
        })
    }

    fn notify_of_person(
        &mut self,
        index: usize,
        event: &'static str,
        now: Timestamp,
        fill: impl Fn(&mut Value),
    ) -> bool {
        let chat = &self.chats[index];
        let account = chat.account.clone();
        if self.person_is_restricted(index) {
            return false;
        }
        let mut webhook = false;
        for (app, business_id) in self.subscribers(&account, now) {
            let content = self.message_content(index, Side::Person, &business_id, &fill);
            webhook |= self
                .notify(&app, &business_id, index, event, &content, None, now)
                .is_some();
        }
        webhook
    }

    /// Sends the webhook of an automatic message, an event of the account and not of a chat.
    pub(super) fn notify_automatic(&mut self, account: &str, event: &'static str, content: &Value, now: Timestamp) {
        for (app, business_id) in self.subscribers(account, now) {
            self.push(&app, &business_id, account, None, None, event, content, now);
        }
    }

    /// Sends the webhook that the account's owner revoked the app's access, while the app still receives webhooks.
    pub(super) fn notify_authorization_removed(&mut self, app: &str, account: &str, now: Timestamp) {
        let business_id = self.mint.open_id(app, account);
        self.push(
            app,
            &business_id,
            account,
            None,
            None,
            "authorization.removed",
            &json!({"reason": 1}),
            now,
        );
    }

    fn inbound(
        &self,
        index: usize,
        business_id: &str,
        at: Timestamp,
        fill: impl Fn(&mut Value),
    ) -> Option<(&'static str, Value)> {
        let chat = &self.chats[index];
        // A request that was not accepted is not sent to any app, unless the account accepts messages from everyone.
        if !chat.known && !self.accounts.get(&chat.account)?.dm_everyone {
            return None;
        }
        if self.person_is_restricted(index) {
            let stripped = json!({
                "to": chat.account,
                "to_user": {"id": business_id, "role": "business_account"},
                "timestamp": at.ms(),
            });
            return Some(("im_receive_msg_eu", stripped));
        }
        Some((
            "im_receive_msg",
            self.message_content(index, Side::Person, business_id, fill),
        ))
    }

    fn person_is_restricted(&self, index: usize) -> bool {
        self.people
            .get(&self.chats[index].person)
            .is_none_or(|person| region::is_restricted(&person.country))
    }

    fn identifier<'a>(&'a self, index: usize, side: Side, business_id: &'a str) -> &'a str {
        match side {
            Side::Business => business_id,
            Side::Person => self
                .people
                .get(&self.chats[index].person)
                .map_or("", |person| person.unique_identifier.as_str()),
        }
    }

    /// The common fields of every event of a chat, then the fields that `fill` adds.
    fn message_content(&self, index: usize, from: Side, business_id: &str, fill: impl Fn(&mut Value)) -> Value {
        let chat = &self.chats[index];
        let person = json!({"id": self.identifier(index, Side::Person, business_id), "role": "personal_account"});
        let business = json!({"id": business_id, "role": "business_account"});
        let mut content = match from {
            Side::Person => json!({
                "from": chat.person, "to": chat.account, "from_user": person, "to_user": business,
            }),
            Side::Business => json!({
                "from": chat.account, "to": chat.person, "from_user": business, "to_user": person,
            }),
        };
        content["unique_identifier"] = self.identifier(index, from, business_id).into();
        content["conversation_id"] = chat.conversation.as_str().into();
        fill(&mut content);
        if content.get("type").is_some() {
            content["scene_type"] = 0.into();
            content["is_follower"] = self
                .people
                .get(&chat.person)
                .is_some_and(|person| person.follower)
                .into();
        }
        content
    }

    fn fill_message(&self, content: &mut Value, message: &Message) {
        content["message_id"] = message.id.as_str().into();
        content["timestamp"] = message.at.ms().into();
        let (kind, block) = match &message.content {
            Content::Text(body) => ("text", json!({"body": body})),
            Content::Image(media) => ("image", json!({"media_id": media})),
            Content::Video(media) => ("video", json!({"media_id": media})),
            Content::SharePost(id) => ("share_post", json!({"embed_url": embed_url(id), "video_id": id})),
            Content::Emoji(picture) => ("emoji", json!({"url": media::picture_url(&self.origin, picture, None)})),
            Content::Sticker(picture) => ("sticker", json!({"url": self.sticker_url(picture, message.at)})),
            Content::Template(card) => (
                "template",
                json!({
                    "type": card.kind().to_ascii_lowercase(),
                    "elements": [{
                        "title": card.title,
                        "buttons": card.buttons.iter()
                            .map(|button| json!({"text": button.title, "type": "REPLY", "id": button.id}))
                            .collect::<Vec<_>>(),
                    }],
                }),
            ),
            Content::Other(name) => (name.as_str(), Value::Null),
        };
        content["type"] = kind.into();
        if !block.is_null() {
            content[kind] = block;
        }
        if let Some(quoted) = &message.quotes {
            content["referenced_message_info"] = json!({"referenced_message_id": quoted});
        }
        if let Some(automatic) = message.automatic {
            content["auto_message_type"] = json!(automatic);
        }
        if let Some((card, button)) = &message.tapped {
            content["reply_source_payload"] = json!({"reply_source_msg_id": card, "reply_source_unique_id": button});
        }
        content["message_tag"] = json!({"source": message.source});
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one private line that every event of a chat goes through"
    )]
    fn notify(
        &mut self,
        app: &str,
        business_id: &str,
        index: usize,
        event: &'static str,
        content: &Value,
        message: Option<&str>,
        now: Timestamp,
    ) -> Option<DeliveryId> {
        let chat = &self.chats[index];
        let (account, conversation) = (chat.account.clone(), chat.conversation.clone());
        self.push(
            app,
            business_id,
            &account,
            Some(conversation),
            message,
            event,
            content,
            now,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one private line that every event goes through"
    )]
    fn push(
        &mut self,
        app: &str,
        business_id: &str,
        account: &str,
        conversation: Option<String>,
        message: Option<&str>,
        event: &'static str,
        content: &Value,
        now: Timestamp,
    ) -> Option<DeliveryId> {
        if !self.settings.webhooks {
            return None;
        }
        let envelope = Envelope {
            client_key: app,
            event,
            create_time: now.secs(),
            user_openid: business_id,
            content: content.to_string(),
        };
        let body = serde_json::to_vec(&envelope).expect("texts and a number are always JSON");
        self.enqueue(
            Delivery {
                id: 0,
                client_key: app.to_owned(),
                account: account.to_owned(),
                conversation,
                message_id: message.map(str::to_owned),
                event,
                body: body.into(),
                queued: now,
                first_attempt: None,
                attempts: 0,
            },
            now,
        )
    }
}
