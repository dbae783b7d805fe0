//! Messages that a business sends (TikTok API reference, Send a message), and every check before it.
//!
//! TikTok does not publish the order of the checks. Here: syntax first, then referenced objects, then images, then the
//! window, so that a caller sees its own mistake before the rules.

use serde_json::{Value, json};

use super::World;
use super::chat::{Button, Card, Chat, Content, Message, Side, Source};
use super::oauth::Caller;
use crate::api::Call;
use crate::clock::{DAY_MS, HOUR_MS, Timestamp};
use crate::params::Params;
use crate::refusal::Refusal;
use crate::{limits, region};

/// How long a typing indicator is shown (TikTok API reference, Send a message).
const TYPING_MS: i64 = 5_000;
/// How long after a comment it may be answered by message.
const COMMENT_MS: i64 = 48 * HOUR_MS;
/// Minimum age for Comment-to-Message; TikTok's text is "over 18".
const OF_AGE: u8 = 18;

impl World {
    /// The conversation that a call names, if the caller's account has it.
    pub(super) fn conversation_of(&self, call: &mut Call<'_>, caller: &Caller) -> Result<usize, Refusal> {
        let id = call.params.text("conversation_id")?;
        self.conversation(call, id, caller)
    }

    fn conversation(&self, call: &mut Call<'_>, id: &str, caller: &Caller) -> Result<usize, Refusal> {
        let index = self
            .by_conversation
            .get(id)
            .copied()
            .filter(|index| self.chats[*index].account == caller.account && self.chats[*index].listed)
            .ok_or_else(|| Refusal::invalid("conversation_id"))?;
        call.trace.conversation = Some(id.to_owned());
        Ok(index)
    }

    pub(crate) fn send(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, &["message.list.send"])?;
        let params = call.params;
        let kind = params.text("message_type")?;
        only_one_block(params, kind)?;
        if params.has("direct_reply") {
            return self.answer_comment(call, &caller, kind);
        }
        if params.text("recipient_type")? != "CONVERSATION" {
            return Err(Refusal::invalid("recipient_type"));
        }
        let index = self.conversation(call, params.text("recipient")?, &caller)?;
        if kind == "SENDER_ACTION" {
            call.trace.message_type = Some("SENDER_ACTION");
            return self.sender_action(index, params.text("sender_action")?, call.now);
        }
        let content = self.parse_content(params, kind, &caller, call.now)?;
        let quotes = self.parse_reference(params, kind, &self.chats[index])?;
        if matches!(content, Content::Image(_)) {
            self.admit_image(index)?;
        }
        if !self.chats[index].window.admits(self.settings.window, call.now) {
            return Err(Refusal::messaging_rules());
        }
        Ok(self.deliver_from_business(call, index, content, quotes))
    }

    fn deliver_from_business(
        &mut self,
        call: &mut Call<'_>,
        index: usize,
        content: Content,
        quotes: Option<String>,
    ) -> Value {
        let id = self.mint.message_id();
        let message = Message {
            id: id.clone(),
            from: Side::Business,
            source: Source::Api,
            automatic: None,
            at: call.now,
            content,
            quotes,
            tapped: None,
            reactions: Vec::new(),
        };
        let message = self.post(index, call.now, message);
        self.chats[index].typing_until = Timestamp::default();
        call.trace.message_id = Some(id.clone());
        call.trace.message_type = Some(message.content.rest_type());
        let early = self.settings.early_echo || self.faults.take_early_echo();
        let echoes = self.notify_message(index, &message, call.now);
        if early {
            self.outbox.watch(&echoes);
            call.trace.early_echoes = echoes;
        }
        json!({"message": {"message_id": id}})
    }

    fn sender_action(&mut self, index: usize, action: &str, now: Timestamp) -> Result<Value, Refusal> {
        let chat = &mut self.chats[index];
        match action {
            "TYPING" => chat.typing_until = now.plus_ms(TYPING_MS),
            "MARK_READ" => {
                if let Some(at) = chat.newest(Side::Person).map(|message| message.at) {
                    chat.business_read = at;
                }
            }
            _ => return Err(Refusal::invalid("sender_action")),
        }
        self.revision += 1;
        Ok(json!({"message": {"message_id": ""}}))
    }

    fn parse_content(&self, params: &Params, kind: &str, caller: &Caller, now: Timestamp) -> Result<Content, Refusal> {
        match kind {
            "TEXT" => {
                let body = params.object("text")?.text("body").map(str::to_owned)?;
                if body.trim().is_empty() || characters(&body) > limits::TEXT_CHARACTERS {
                    return Err(Refusal::invalid("text.body"));
                }
                Ok(Content::Text(body))
            }
            "IMAGE" => {
                let image = params.object("image")?;
                let media = image.text("media_id")?;
                if !self.has_file(&caller.account, media, now) {
                    return Err(Refusal::not_exist("The media"));
                }
                Ok(Content::Image(media.to_owned()))
            }
            "SHARE_POST" => {
                let post = params.object("share_post")?;
                let item = post.text("item_id")?;
                let own = self
                    .accounts
                    .get(&caller.account)
                    .is_some_and(|account| account.posts.iter().any(|known| known == item));
                if !own {
                    return Err(Refusal::not_exist("The post"));
                }
                Ok(Content::SharePost(item.to_owned()))
            }
            "TEMPLATE" => parse_card(&params.object("template")?).map(Content::Template),
            _ => Err(Refusal::invalid("message_type")),
        }
    }

    fn parse_reference(&self, params: &Params, kind: &str, chat: &Chat) -> Result<Option<String>, Refusal> {
        if !params.has("referenced_message_info") {
            return Ok(None);
        }
        if kind != "TEXT" {
            return Err(Refusal::invalid("referenced_message_info"));
        }
        let reference = params.object("referenced_message_info")?;
        let id = reference.text("referenced_message_id")?;
        let quoted = chat
            .message(id)
            .ok_or_else(|| Refusal::not_exist("The referenced message"))?;
        match quoted.content {
            Content::Text(_) | Content::Image(_) | Content::SharePost(_) => Ok(Some(id.to_owned())),
            _ => Err(Refusal::invalid("referenced_message_id")),
        }
    }

    /// Images require that both sides are in countries that carry them, and that the person is not flagged.
    fn admit_image(&self, index: usize) -> Result<(), Refusal> {
        let Some((account, person)) = self.sides(&self.chats[index]) else {
            return Err(Refusal::invalid("conversation_id"));
        };
        if !region::carries_images(&account.country) || !region::carries_images(&person.country) {
            return Err(Refusal::media_strategy());
        }
        if person.flagged {
            return Err(Refusal::risk_control());
        }
        Ok(())
    }

    /// The one way to write first: a reply to a comment (TikTok API reference, Comment-to-Message).
    fn answer_comment(&mut self, call: &mut Call<'_>, caller: &Caller, kind: &str) -> Result<Value, Refusal> {
        let params = call.params;
        for other in ["recipient", "recipient_type", "referenced_message_info"] {
            if params.has(other) {
                return Err(Refusal::invalid(other));
            }
        }
        let reply = params.object("direct_reply")?;
        if reply.text("reply_type")? != "COMMENT_REPLY" {
            return Err(Refusal::invalid("reply_type"));
        }
        let comment_id = reply.object("comment_reply")?.text("comment_id").map(str::to_owned)?;
        let content = self.parse_content(params, kind, caller, call.now)?;
        let account = self.accounts.get(&caller.account).ok_or_else(Refusal::bad_token)?;
        if !account.comment_to_message {
            return Err(Refusal::forbidden(
                "You don't have permission: Comment-to-Message is not enabled.",
            ));
        }
        let comment = account
            .comments
            .iter()
            .find(|comment| comment.id == comment_id)
            .cloned()
            .ok_or_else(|| Refusal::not_exist("The comment"))?;
        let person = self
            .people
            .get(&comment.person)
            .ok_or_else(|| Refusal::not_exist("The comment"))?;
        let quiet = account.chats.get(&comment.person).is_none_or(|index| {
            let chat = &self.chats[*index];
            chat.messages
                .back()
                .is_none_or(|last| call.now >= last.at.plus_ms(DAY_MS))
        });
        let allowed = comment.first_level
            && !comment.answered
            && quiet
            && call.now < comment.at.plus_ms(COMMENT_MS)
            && person.age >= OF_AGE
            && !region::is_restricted(&person.country);
        if !allowed {
            return Err(Refusal::messaging_rules());
        }
        let index = self
            .chat_between(&caller.account, &comment.person)
            .map_err(|_| Refusal::messaging_rules())?;
        if matches!(content, Content::Image(_)) {
            self.admit_image(index)?;
        }
        if let Some(account) = self.accounts.get_mut(&caller.account)
            && let Some(comment) = account.comments.iter_mut().find(|comment| comment.id == comment_id)
        {
            comment.answered = true;
        }
        call.trace.conversation = Some(self.chats[index].conversation.clone());
        Ok(self.deliver_from_business(call, index, content, None))
    }
}

/// A message is one thing: a second content block is refused, never dropped.
fn only_one_block(params: &Params, kind: &str) -> Result<(), Refusal> {
    for (block, of) in [
        ("text", "TEXT"),
        ("image", "IMAGE"),
        ("share_post", "SHARE_POST"),
        ("template", "TEMPLATE"),
        ("sender_action", "SENDER_ACTION"),
    ] {
        if params.has(block) && kind != of {
            return Err(Refusal::invalid(block));
        }
    }
    Ok(())
}

fn parse_card(card: &Params) -> Result<Card, Refusal> {
    let (link, longest) = match card.text("type")? {
        "QA_BUTTON_CARD" => (false, limits::BUTTON_CARD_BUTTON),
        "QA_LINK_CARD" => (true, limits::LINK_CARD_BUTTON),
        _ => return Err(Refusal::invalid("template.type")),
    };
    let title = card.text("title")?;
    if characters(title) > limits::CARD_TITLE {
        return Err(Refusal::invalid("template.title"));
    }
    let given = card.objects("buttons")?;
    if given.is_empty() || given.len() > limits::BUTTONS {
        return Err(Refusal::invalid("template.buttons"));
    }
    let mut buttons = Vec::new();
    for (number, button) in given.iter().enumerate() {
        if button.text("type")? != "REPLY" {
            return Err(Refusal::invalid("template.buttons.type"));
        }
        let title = button.text("title")?;
        if characters(title) > longest {
            return Err(Refusal::invalid("template.buttons.title"));
        }
        let id = match button.maybe_text("id")? {
            Some(id) if characters(id) > limits::BUTTON_ID => {
                return Err(Refusal::invalid("template.buttons.id"));
            }
            Some(id) if !id.is_empty() => id.to_owned(),
            // The id is optional; TikTok's default is unknown.
            _ => format!("{}", number + 1),
        };
        buttons.push(Button {
            title: title.to_owned(),
            id,
        });
    }
    Ok(Card {
        link,
        title: title.to_owned(),
        buttons,
    })
}

/// Characters by the strictest reading: UTF-16 units.
pub(super) fn characters(text: &str) -> usize {
    text.encode_utf16().count()
}
