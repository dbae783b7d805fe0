//! The data that an app may read: profile, conversations, messages, capabilities (TikTok API reference: Get a list of
//! conversations, Get a list of messages, Check the capability).

use serde_json::{Map, Value, json};

use super::World;
use super::chat::Referral;
use crate::api::Call;
use crate::clock::DAY_MS;
use crate::refusal::Refusal;
use crate::{limits, region};

/// Conversations older than this are not listed.
const LISTED_MS: i64 = 90 * DAY_MS;

impl World {
    pub(crate) fn profile(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit(call, &[])?;
        let fields = call
            .params
            .maybe_texts("fields")?
            .unwrap_or_else(|| vec!["display_name".to_owned(), "profile_image".to_owned()]);
        let account = self.accounts.get(&caller.account).ok_or_else(Refusal::bad_token)?;
        let mut data = Map::new();
        for field in fields {
            let (scope, value) = match field.as_str() {
                "display_name" => ("user.info.basic", json!(account.display_name)),
                "profile_image" => ("user.info.basic", json!(self.avatar_url(&account.username, call.now))),
                "username" => ("user.info.username", json!(account.username)),
                "is_business_account" => ("user.account.type", json!(account.business)),
                "profile_deep_link" => (
                    "user.info.profile",
                    json!(format!("https://www.tiktok.com/@{}", account.username)),
                ),
                "bio_description" => ("user.info.profile", json!("A sandbox account.")),
                "is_verified" => ("user.info.profile", json!(false)),
                "followers_count" => ("user.info.stats", json!(self.people.len())),
                "following_count" | "total_likes" => ("user.info.stats", json!(0)),
                "videos_count" => ("user.info.stats", json!(account.posts.len())),
                _ => return Err(Refusal::invalid("fields")),
            };
            // Fields for which the token lacks the scope are omitted.
            if caller.scopes.iter().any(|granted| granted == scope) {
                data.insert(field, value);
            }
        }
        Ok(Value::Object(data))
    }

    pub(crate) fn conversation_list(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, &["message.list.read"])?;
        let known = conversation_type(call)?;
        let limit = call.params.maybe_number("limit")?.unwrap_or(limits::CONVERSATION_LIST);
        if !(1..=limits::CONVERSATION_LIST).contains(&limit) {
            return Err(Refusal::invalid("limit"));
        }
        let cursor = call.params.maybe_number("cursor")?.unwrap_or(0);
        let account = self.accounts.get(&caller.account).ok_or_else(Refusal::bad_token)?;
        let oldest = call.now.plus_ms(-LISTED_MS);
        let listed: Vec<_> = account
            .recent
            .iter()
            .map(|(_, index)| &self.chats[*index])
            .take_while(|chat| chat.updated >= oldest)
            .filter(|chat| chat.known == known)
            .take(limits::CONVERSATION_LIST)
            .collect();
        let page: Vec<Value> = listed
            .iter()
            .skip(cursor)
            .take(limit)
            .map(|chat| {
                let mut referral = Map::new();
                for arrival in &chat.referrals {
                    let list = match arrival {
                        Referral::Ad { .. } => "ad",
                        Referral::Link { .. } => "short_link",
                    };
                    if let Some(items) = referral.entry(list).or_insert_with(|| json!([])).as_array_mut() {
                        items.push(arrival.show(true));
                    }
                }
                json!({
                    "referral": referral,
                    "update_time": chat.updated.ms(),
                    "conversation_id": chat.conversation,
                })
            })
            .collect();
        let next = cursor.saturating_add(page.len()).min(listed.len().max(cursor));
        Ok(json!({"conversations": page, "has_more": next < listed.len(), "cursor": next}))
    }

    pub(crate) fn content_list(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, &["message.list.read"])?;
        let index = self.conversation_of(call, &caller)?;
        let chat = &self.chats[index];
        let (account, person) = self.sides(chat).ok_or_else(|| Refusal::invalid("conversation_id"))?;
        let messages: Vec<Value> = chat
            .messages
            .iter()
            .rev()
            .take(limits::CONTENT_LIST)
            .map(|message| self.rest_message(chat, message, &caller.open_id))
            .collect();
        Ok(json!({
            "participants": [
                {
                    "role": "BUSINESS_ACCOUNT",
                    "id": caller.open_id,
                    "display_name": account.display_name,
                    "profile_image": self.avatar_url(&account.username, call.now),
                },
                {
                    "role": "PERSONAL_ACCOUNT",
                    "id": person.unique_identifier,
                    "display_name": person.display_name,
                    "profile_image": self.avatar_url(&person.username, call.now),
                    "is_follower": person.follower,
                },
            ],
            "messages": messages,
        }))
    }

    pub(crate) fn capabilities(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, &["message.list.read", "message.list.send"])?;
        let types = call
            .params
            .maybe_texts("capability_types")?
            .ok_or_else(|| Refusal::missing("capability_types"))?;
        if types.is_empty() || types.iter().any(|kind| kind != "IMAGE_SEND") {
            return Err(Refusal::invalid("capability_types"));
        }
        let index = self.conversation_of(call, &caller)?;
        let asked_as_known = conversation_type(call)?;
        let chat = &self.chats[index];
        let (account, person) = self.sides(chat).ok_or_else(|| Refusal::invalid("conversation_id"))?;
        // For a wrong type TikTok returns a wrong result, not an error: a first contact is STRANGER.
        let result = asked_as_known == chat.known
            && region::carries_images(&account.country)
            && region::carries_images(&person.country);
        Ok(json!({
            "capability_infos": [{"capability_result": result, "capability_type": "IMAGE_SEND"}],
        }))
    }
}

/// Whether conversations of the `SINGLE` kind are requested.
fn conversation_type(call: &Call<'_>) -> Result<bool, Refusal> {
    match call.params.text("conversation_type")? {
        "SINGLE" => Ok(true),
        "STRANGER" => Ok(false),
        _ => Err(Refusal::invalid("conversation_type")),
    }
}
