//! Actions in the TikTok app: of the person with the phone, and of the business's own staff.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{AutoType, Content, Emoji, Message, Reaction, Side, Source};
use super::event::Operation;
use super::people::PersonOrder;
use super::send::characters;
use super::{ControlError, World, media};
use crate::clock::Timestamp;
use crate::{limits, region};

/// A message that a person writes.
#[derive(Debug, Clone, Deserialize)]
pub struct Writing {
    /// The content.
    #[serde(flatten)]
    pub what: Written,
    /// The message it quotes.
    #[serde(default)]
    pub references: Option<String>,
    /// Write an image even if the regions do not carry images.
    #[serde(default)]
    pub force: bool,
}

/// The kinds of messages and actions.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are the ones of the message of that kind")]
pub enum Written {
    /// A text.
    Text { text: String },
    /// A picture: base64 bytes of a JPG or PNG, or the sample.
    Image {
        #[serde(default)]
        base64: Option<String>,
    },
    /// The sample video.
    Video,
    /// A post; the account's first when absent.
    SharePost {
        #[serde(default)]
        video_id: Option<String>,
    },
    /// A large emoji.
    Emoji,
    /// A sticker, by name.
    Sticker {
        #[serde(default)]
        name: Option<String>,
    },
    /// A reaction on a message.
    Reaction(ReactionOrder),
    /// A tap on a card's button.
    Tap { message_id: String, button_id: String },
    /// A tap on a suggested question.
    SuggestedQuestion { auto_message_id: String },
    /// A tap on a chat prompt.
    ChatPrompt { auto_message_id: String },
    /// Content without a format in the API, under its name in the webhook.
    Unknown {
        #[serde(default)]
        name: Option<String>,
    },
}

/// A reaction, or its removal.
#[derive(Debug, Clone, Deserialize)]
pub struct ReactionOrder {
    /// The message; the newest of the other side when absent.
    #[serde(default)]
    pub message_id: Option<String>,
    /// Default: a thumb.
    #[serde(default)]
    pub emoji: Option<String>,
    /// `ADD`, also when absent, or `REMOVE`.
    #[serde(default)]
    pub operation: Option<String>,
}

/// A message that the business's staff write in the app.
#[derive(Debug, Clone, Deserialize)]
pub struct AppReply {
    /// The message.
    #[serde(flatten)]
    pub writing: Writing,
    /// `APP`, `WEB`, or with an `auto_message_type` `OTHERS`.
    #[serde(default)]
    pub source: Option<Source>,
    /// Marks it as an automatic message.
    #[serde(default)]
    pub auto_message_type: Option<AutoType>,
}

/// The result of a written message: its id, conversation and time, and whether webhooks were queued.
fn done(world: &World, index: usize, message: Option<&Message>, webhooks: usize) -> Value {
    json!({
        "conversation_id": world.chats[index].conversation,
        "message_id": message.map(|message| &message.id),
        "time_ms": message.map(|message| message.at.ms()),
        "webhooks": webhooks,
    })
}

pub(super) fn invalid(why: impl Into<String>) -> ControlError {
    ControlError::Invalid(why.into())
}

impl World {
    /// The person writes.
    ///
    /// # Errors
    /// An unknown person, or a message that the app does not allow.
    pub fn write(
        &mut self,
        account: &str,
        person: &str,
        writing: Writing,
        now: Timestamp,
    ) -> Result<Value, ControlError> {
        let index = self.chat_between(account, person)?;
        if let Written::Reaction(reaction) = &writing.what {
            return self.react(index, Side::Person, reaction, now);
        }
        let first = self.chats[index].newest(Side::Person).is_none();
        let (content, tapped, answer) = self.compose(index, Side::Person, &writing, now)?;
        let message = self.message(
            Side::Person,
            Source::App,
            None,
            content,
            writing.references,
            tapped,
            now,
        );
        let message = self.post(index, now, message);
        let webhooks = self.notify_message(index, &message, now).len();
        if let Some(text) = answer {
            self.say_automatically(index, AutoType::SuggestedQuestion, text, now);
        } else if first && let Some(text) = self.welcome_of(account) {
            self.say_automatically(index, AutoType::WelcomeMessage, text, now);
        }
        Ok(done(self, index, Some(&message), webhooks))
    }

    /// One message of a load, with as few steps as possible.
    ///
    /// # Errors
    /// An unknown person, or no capacity.
    pub(crate) fn write_load(
        &mut self,
        account: &str,
        number: usize,
        text: String,
        now: Timestamp,
    ) -> Result<(), ControlError> {
        let person = format!("load_{number:04}");
        if !self.people.contains_key(&person) {
            self.insert_person(PersonOrder {
                username: person.clone(),
                display_name: Some(format!("Load {number}")),
                country: "ID".to_owned(),
                flagged: false,
                follower: false,
                age: 30,
            });
        }
        let writing = Writing {
            what: Written::Text { text },
            references: None,
            force: false,
        };
        self.write(account, &person, writing, now).map(drop)
    }

    /// The business's staff write in the app, or TikTok writes for them.
    ///
    /// # Errors
    /// An unknown person, or a message that the app does not allow.
    pub fn reply_in_app(
        &mut self,
        account: &str,
        person: &str,
        reply: AppReply,
        now: Timestamp,
    ) -> Result<Value, ControlError> {
        let index = self.chat_between(account, person)?;
        if let Written::Reaction(reaction) = &reply.writing.what {
            return self.react(index, Side::Business, reaction, now);
        }
        let source = match (reply.source, reply.auto_message_type) {
            (None, Some(_)) => Source::Others,
            (None, None) => Source::App,
            (Some(Source::Api), _) => return Err(invalid("source API is what /business/message/send/ makes")),
            (Some(source), _) => source,
        };
        let (content, ..) = self.compose(index, Side::Business, &reply.writing, now)?;
        let message = self.message(
            Side::Business,
            source,
            reply.auto_message_type,
            content,
            reply.writing.references,
            None,
            now,
        );
        let message = self.post(index, now, message);
        let webhooks = self.notify_message(index, &message, now).len();
        Ok(done(self, index, Some(&message), webhooks))
    }

    #[expect(clippy::too_many_arguments, reason = "each is a field of the message")]
    fn message(
        &mut self,
        from: Side,
        source: Source,
        automatic: Option<AutoType>,
        content: Content,
        quotes: Option<String>,
        tapped: Option<(String, String)>,
        now: Timestamp,
    ) -> Message {
        Message {
            id: self.mint.message_id(),
            from,
            source,
            automatic,
            at: now,
            content,
            quotes,
            tapped,
            reactions: Vec::new(),
        }
    }

    pub(super) fn say_automatically(&mut self, index: usize, kind: AutoType, text: String, now: Timestamp) {
        let message = self.message(
            Side::Business,
            Source::Others,
            Some(kind),
            Content::Text(text),
            None,
            None,
            now,
        );
        let message = self.post(index, now, message);
        self.notify_message(index, &message, now);
    }

    /// Returns the content, the option that was tapped, and the text of an automatic answer.
    #[expect(clippy::type_complexity, reason = "three answers of one private step")]
    fn compose(
        &mut self,
        index: usize,
        from: Side,
        writing: &Writing,
        now: Timestamp,
    ) -> Result<(Content, Option<(String, String)>, Option<String>), ControlError> {
        let chat = &self.chats[index];
        if let Some(quoted) = &writing.references
            && chat.message(quoted).is_none()
        {
            return Err(ControlError::Unknown(format!("message {quoted} in this chat")));
        }
        let (account, person) = self.sides(chat).ok_or_else(|| ControlError::Unknown("chat".into()))?;
        let plain = |content| Ok((content, None, None));
        match &writing.what {
            Written::Text { text } => {
                if text.is_empty() || characters(text) > limits::TEXT_CHARACTERS {
                    return Err(invalid(format!(
                        "a text has 1 to {} characters",
                        limits::TEXT_CHARACTERS
                    )));
                }
                plain(Content::Text(text.clone()))
            }
            Written::Image { base64 } => {
                let carried = region::carries_images(&account.country) && region::carries_images(&person.country);
                if !carried && !writing.force {
                    return Err(ControlError::Conflict(format!(
                        "TikTok carries no images between {} and {}; set \"force\": true to write one all the same",
                        person.country, account.country
                    )));
                }
                let bytes = match base64 {
                    Some(text) => BASE64_STANDARD
                        .decode(text)
                        .map_err(|_| invalid("invalid base64"))?
                        .into(),
                    None => media::picture("photo")
                        .map(|picture| picture.bytes.into())
                        .unwrap_or_default(),
                };
                let bytes: bytes::Bytes = bytes;
                if bytes.len() > limits::UPLOAD_BYTES {
                    return Err(invalid("the image is too large"));
                }
                let mime = media::image_type(&bytes).ok_or_else(|| invalid("an image is a JPG or a PNG"))?;
                let account = chat.account.clone();
                plain(Content::Image(self.keep_file(&account, bytes, mime, now)))
            }
            Written::Video => {
                let bytes = media::picture("video")
                    .map(|video| video.bytes.into())
                    .unwrap_or_default();
                let account = chat.account.clone();
                plain(Content::Video(self.keep_file(&account, bytes, "video/mp4", now)))
            }
            Written::SharePost { video_id } => {
                let post = video_id.clone().or_else(|| account.posts.first().cloned());
                plain(Content::SharePost(post.ok_or_else(|| invalid("name a video_id"))?))
            }
            Written::Emoji => plain(Content::Emoji("emoji-party")),
            Written::Sticker { name } => {
                let wanted = name.as_deref().unwrap_or("sticker-wave");
                let picture = media::picture(wanted)
                    .filter(|picture| picture.name.starts_with("sticker-"))
                    .ok_or_else(|| ControlError::Unknown(format!("sticker {wanted}")))?;
                plain(Content::Sticker(picture.name))
            }
            Written::Unknown { name } => plain(Content::Other(name.clone().unwrap_or_else(|| "voice".into()))),
            Written::Tap { message_id, button_id } if from == Side::Person => {
                let Some(Content::Template(card)) = chat.message(message_id).map(|message| &message.content) else {
                    return Err(ControlError::Unknown(format!("card {message_id} in this chat")));
                };
                let button = card
                    .buttons
                    .iter()
                    .find(|button| button.id == *button_id)
                    .ok_or_else(|| ControlError::Unknown(format!("button {button_id} on this card")))?;
                Ok((
                    Content::Text(button.title.clone()),
                    Some((message_id.clone(), button_id.clone())),
                    None,
                ))
            }
            Written::SuggestedQuestion { auto_message_id } if from == Side::Person => {
                let (question, answer) = account
                    .automatic
                    .question(auto_message_id)
                    .ok_or_else(|| ControlError::Unknown("such suggested question on offer".into()))?;
                Ok((Content::Text(question), None, Some(answer)))
            }
            Written::ChatPrompt { auto_message_id } if from == Side::Person => {
                plain(Content::Text(account.automatic.prompt(auto_message_id).ok_or_else(
                    || ControlError::Unknown("such chat prompt on offer".into()),
                )?))
            }
            Written::Tap { .. } | Written::SuggestedQuestion { .. } | Written::ChatPrompt { .. } => {
                Err(invalid("only the person taps"))
            }
            Written::Reaction(_) => Err(invalid("a reaction is not a message")),
        }
    }

    fn react(
        &mut self,
        index: usize,
        from: Side,
        order: &ReactionOrder,
        now: Timestamp,
    ) -> Result<Value, ControlError> {
        let operation = match order.operation.as_deref() {
            None | Some("ADD") => Operation::Add,
            Some("REMOVE") => Operation::Remove,
            Some(_) => return Err(invalid("operation is ADD or REMOVE")),
        };
        let emoji = match order.emoji.as_deref().unwrap_or("👍") {
            "ai" => Emoji::Ai("emoji-party"),
            text if text.chars().count() <= 16 && !text.is_empty() => Emoji::Unicode(text.to_owned()),
            _ => return Err(invalid("an emoji has 1 to 16 characters")),
        };
        let other = match from {
            Side::Person => Side::Business,
            Side::Business => Side::Person,
        };
        let chat = &mut self.chats[index];
        let id = order
            .message_id
            .clone()
            .or_else(|| chat.newest(other).map(|message| message.id.clone()))
            .ok_or_else(|| invalid("there is no message to react to"))?;
        let reaction = Reaction {
            from,
            what: emoji,
            at: now,
        };
        let message = chat
            .message_mut(&id)
            .ok_or_else(|| ControlError::Unknown(format!("message {id} in this chat")))?;
        let before = message.reactions.len();
        message
            .reactions
            .retain(|known| (known.from, &known.what) != (from, &reaction.what));
        match operation {
            Operation::Remove if message.reactions.len() == before => {
                return Err(ControlError::Conflict("there is no such reaction".into()));
            }
            Operation::Remove => {}
            Operation::Add if message.reactions.len() >= limits::REACTIONS => {
                return Err(ControlError::Conflict("the message has too many reactions".into()));
            }
            Operation::Add => message.reactions.push(reaction.clone()),
        }
        self.notify_reaction(index, &id, &reaction, operation, now);
        self.revision += 1;
        Ok(done(self, index, None, 1))
    }

    /// The person opens the chat and reads all of it.
    ///
    /// # Errors
    /// An unknown person.
    pub fn read_chat(&mut self, account: &str, person: &str, now: Timestamp) -> Result<Value, ControlError> {
        let index = self.chat_between(account, person)?;
        let chat = &mut self.chats[index];
        let Some(newest) = chat.newest(Side::Business).map(|message| message.at) else {
            return Ok(json!({"read": false, "why": "the business has written nothing"}));
        };
        if newest <= chat.person_read {
            return Ok(json!({"read": false, "why": "everything was read before"}));
        }
        chat.person_read = newest;
        self.revision += 1;
        let notified = self.notify_read(index, newest, now);
        Ok(json!({"read": true, "last_read_ms": newest.ms(), "webhook": notified}))
    }

    /// The business accepts the person's message request in the app.
    ///
    /// # Errors
    /// An unknown person.
    pub fn accept_request(&mut self, account: &str, person: &str) -> Result<Value, ControlError> {
        let index = self.chat_between(account, person)?;
        self.chats[index].known = true;
        self.revision += 1;
        Ok(json!({"conversation_id": self.chats[index].conversation, "conversation_type": "SINGLE"}))
    }
}
