//! A chat and its messages, in their three formats: the REST response (TikTok API reference, Get a list of messages),
//! the phone page, and (in `event`) the webhook.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::people::{Account, Person};
use super::window::Window;
use super::{World, media};
use crate::clock::{DAY_MS, Timestamp};
use crate::limits;

/// The sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The person with the phone.
    Person,
    /// The Business Account.
    Business,
}

/// The origin of a message: TikTok's `message_tag.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Source {
    /// The TikTok app.
    App,
    /// TikTok Web or Business Center.
    Web,
    /// This API.
    Api,
    /// TikTok's servers: automatic messages.
    Others,
}

/// The kind of automatic message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AutoType {
    /// Greets a person who writes first.
    WelcomeMessage,
    /// Answers a suggested question.
    SuggestedQuestion,
    /// Answers a keyword.
    AutoReply,
}

/// A card with buttons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Whether it is a `QA_LINK_CARD`, else a `QA_BUTTON_CARD`.
    pub link: bool,
    /// The question.
    pub title: String,
    /// The options.
    pub buttons: Vec<Button>,
}

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// Its label.
    pub title: String,
    /// Returned when the option is tapped.
    pub id: String,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture, by media id.
    Image(String),
    /// A video, by media id.
    Video(String),
    /// A TikTok post, by id.
    SharePost(String),
    /// A large emoji, by the name of its picture.
    Emoji(&'static str),
    /// A sticker, by the name of its picture.
    Sticker(&'static str),
    /// A card.
    Template(Card),
    /// Content for which the API has no format (voice, avatar, deleted…), by its name in the webhook.
    Other(String),
}

/// A reaction on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The author.
    pub from: Side,
    /// An emoji, or the name of an AI emoji's picture.
    pub what: Emoji,
    /// The time.
    pub at: Timestamp,
}

/// The emoji of a reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emoji {
    /// A character.
    Unicode(String),
    /// A generated picture, by name.
    Ai(&'static str),
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// TikTok's id.
    pub id: String,
    /// The author.
    pub from: Side,
    /// Its origin.
    pub source: Source,
    /// The kind of automatic message, if it is one.
    pub automatic: Option<AutoType>,
    /// The time; unique within its chat.
    pub at: Timestamp,
    /// Its content.
    pub content: Content,
    /// The message it quotes.
    pub quotes: Option<String>,
    /// The card and button that were tapped to create it.
    pub tapped: Option<(String, String)>,
    /// Reactions on it.
    pub reactions: Vec<Reaction>,
}

/// The person's origin: an ad or a link.
#[derive(Debug, Clone)]
pub enum Referral {
    /// A click on a messaging ad.
    Ad {
        /// The account.
        advertiser_id: String,
        /// The ad.
        ad_id: String,
        /// Its name.
        ad_name: String,
        /// The post it shows.
        video_id: String,
        /// The creative; only Upgraded Smart+ ads have one.
        material: Option<String>,
        /// When it was clicked.
        at: Timestamp,
    },
    /// A `tiktok.me` link.
    Link {
        /// The parameters of the link.
        reference: String,
        /// The prefilled text.
        message: String,
        /// Whether the text passed the audit and was prefilled.
        passed: bool,
        /// When it was opened.
        at: Timestamp,
    },
}

impl Referral {
    /// The webhook's object; a list in REST has the same with `seconds` for an ad's time.
    pub(super) fn show(&self, seconds: bool) -> Value {
        match self {
            Self::Ad {
                advertiser_id,
                ad_id,
                ad_name,
                video_id,
                material,
                at,
            } => {
                let mut ad = json!({
                    "advertiser_id": advertiser_id,
                    "ad_id": ad_id,
                    "timestamp": if seconds { at.secs() } else { at.ms() },
                    "ad_name": ad_name,
                    "embed_url": embed_url(video_id),
                });
                if let Some(material) = material {
                    ad["message_material_id"] = material.as_str().into();
                }
                ad
            }
            Self::Link {
                reference,
                message,
                passed,
                ..
            } => json!({
                "ref": reference,
                "prefilled_message": message,
                "prefilled_message_audit_status": if *passed { "PASS" } else { "REJECT" },
            }),
        }
    }

    fn at(&self) -> Timestamp {
        match self {
            Self::Ad { at, .. } | Self::Link { at, .. } => *at,
        }
    }
}

/// The URL that shows a post.
pub(super) fn embed_url(video_id: &str) -> String {
    format!(
        "https://www.tiktok.com/player/v1/{video_id}?music_info=1&description=1&autoplay=1&loop=1&utm_campaign=tt4d_open_api&utm_source=dm"
    )
}

/// Everything between one account and one person.
#[derive(Debug)]
pub struct Chat {
    pub(super) conversation: String,
    pub(super) account: String,
    pub(super) person: String,
    /// The business accepted the request or wrote: `SINGLE`, else `STRANGER`.
    pub(super) known: bool,
    /// TikTok lists it: a message was sent, or the person came by an ad or a link.
    pub(super) listed: bool,
    pub(super) updated: Timestamp,
    pub(super) window: Window,
    pub(super) messages: VecDeque<Message>,
    pub(super) referrals: VecDeque<Referral>,
    /// Up to here the person has seen the business's messages.
    pub(super) person_read: Timestamp,
    /// Up to here the business has marked the person's messages read.
    pub(super) business_read: Timestamp,
    /// Until when the business's typing indicator is shown.
    pub(super) typing_until: Timestamp,
    last_at: Timestamp,
}

impl Chat {
    pub(super) fn new(conversation: String, account: String, person: String) -> Self {
        Self {
            conversation,
            account,
            person,
            known: false,
            listed: false,
            updated: Timestamp::default(),
            window: Window::default(),
            messages: VecDeque::new(),
            referrals: VecDeque::new(),
            person_read: Timestamp::default(),
            business_read: Timestamp::default(),
            typing_until: Timestamp::default(),
            last_at: Timestamp::default(),
        }
    }

    /// A time for the next message: now, or just after the last one, since times order a chat.
    pub(super) fn next_at(&mut self, now: Timestamp) -> Timestamp {
        self.last_at = now.max(self.last_at.plus_ms(1));
        self.last_at
    }

    pub(super) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rev().find(|message| message.id == id)
    }

    pub(super) fn message_mut(&mut self, id: &str) -> Option<&mut Message> {
        self.messages.iter_mut().rev().find(|message| message.id == id)
    }

    /// The newest message of a side.
    pub(super) fn newest(&self, side: Side) -> Option<&Message> {
        self.messages.iter().rev().find(|message| message.from == side)
    }

    pub(super) fn add_referral(&mut self, referral: Referral) {
        if self.referrals.len() >= 2 * limits::REFERRALS {
            self.referrals.pop_front();
        }
        self.referrals.push_back(referral);
    }
}

impl Content {
    /// TikTok's `message_type`.
    pub(super) fn rest_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "TEXT",
            Self::Image(_) => "IMAGE",
            Self::Video(_) => "VIDEO",
            Self::SharePost(_) => "SHARE_POST",
            Self::Emoji(_) => "EMOJI",
            Self::Sticker(_) => "STICKER",
            Self::Template(_) => "TEMPLATE",
            Self::Other(_) => "OTHER",
        }
    }

    /// The media id in it.
    pub(super) fn media(&self) -> Option<&str> {
        match self {
            Self::Image(media) | Self::Video(media) => Some(media),
            _ => None,
        }
    }
}

impl Card {
    fn rest(&self) -> Value {
        json!({
            "type": self.kind(),
            "title": self.title,
            "buttons": self.buttons.iter()
                .map(|button| json!({"type": "REPLY", "title": button.title, "id": button.id}))
                .collect::<Vec<_>>(),
        })
    }

    /// TikTok's name of this kind of card.
    pub(super) fn kind(&self) -> &'static str {
        if self.link { "QA_LINK_CARD" } else { "QA_BUTTON_CARD" }
    }
}

impl Emoji {
    fn same_kind(&self) -> &'static str {
        match self {
            Self::Unicode(_) => "EMOJI",
            Self::Ai(_) => "AI_EMOJI",
        }
    }

    /// The fields of a reaction.
    pub(super) fn fields(&self, origin: &str, at: Timestamp) -> (&'static str, &'static str, String) {
        match self {
            Self::Unicode(emoji) => (self.same_kind(), "emoji", emoji.clone()),
            Self::Ai(picture) => (
                self.same_kind(),
                "ai_emoji_url",
                media::picture_url(origin, picture, Some(at.plus_ms(30 * DAY_MS))),
            ),
        }
    }
}

impl World {
    /// Adds a message to a chat and updates its state: order, window, whether the two know each other, limits.
    pub(super) fn post(&mut self, index: usize, now: Timestamp, mut message: Message) -> Message {
        let full = self.messages >= limits::ALL_MESSAGES;
        let counts = match message.source {
            Source::Api => true,
            Source::App | Source::Web => self.settings.count_app_replies,
            Source::Others => self.settings.count_automatic,
        };
        let chat = &mut self.chats[index];
        message.at = chat.next_at(now);
        match message.from {
            Side::Person => chat.window.person_wrote(now),
            Side::Business => {
                chat.known |= message.automatic.is_none();
                if counts {
                    chat.window.business_wrote(now);
                }
            }
        }
        let keep = if full {
            limits::CONTENT_LIST
        } else {
            limits::CHAT_MESSAGES
        };
        while chat.messages.len() >= keep {
            chat.messages.pop_front();
            self.messages -= 1;
        }
        chat.messages.push_back(message.clone());
        self.messages += 1;
        self.touch(index, message.at);
        message
    }

    /// An event occurred in a chat: it moves to the head of its account's list.
    pub(super) fn touch(&mut self, index: usize, at: Timestamp) {
        use std::cmp::Reverse;
        let chat = &mut self.chats[index];
        if let Some(account) = self.accounts.get_mut(&chat.account) {
            account.recent.remove(&(Reverse(chat.updated), index));
            account.recent.insert((Reverse(at), index));
        }
        chat.updated = at;
        chat.listed = true;
        self.revision += 1;
    }

    pub(super) fn sides(&self, chat: &Chat) -> Option<(&Account, &Person)> {
        Some((self.accounts.get(&chat.account)?, self.people.get(&chat.person)?))
    }

    /// A message as REST shows it, for the app that knows the account as `business_id`.
    pub(super) fn rest_message(&self, chat: &Chat, message: &Message, business_id: &str) -> Value {
        let person_id = self
            .people
            .get(&chat.person)
            .map_or("", |person| person.unique_identifier.as_str());
        let business = json!({"role": "BUSINESS_ACCOUNT", "id": business_id});
        let person = json!({"role": "PERSONAL_ACCOUNT", "id": person_id});
        let inbound = message.from == Side::Person;
        let (sender, recipient) = if inbound {
            (&chat.person, &chat.account)
        } else {
            (&chat.account, &chat.person)
        };
        let mut shown = json!({
            "sender": sender,
            "recipient": recipient,
            "conversation_id": chat.conversation,
            "message_id": message.id,
            "timestamp": message.at.ms(),
            "message_type": message.content.rest_type(),
            "message_tag": {"source": message.source},
            "from_user": if inbound { &person } else { &business },
            "to_user": if inbound { &business } else { &person },
        });
        match &message.content {
            Content::Text(body) => shown["text"] = json!({"body": body}),
            Content::Image(media) => shown["image"] = json!({"media_id": media}),
            Content::Video(media) => shown["video"] = json!({"media_id": media}),
            Content::SharePost(id) => shown["share_post"] = json!({"embed_url": embed_url(id)}),
            Content::Emoji(picture) => {
                shown["emoji"] = json!({"url": media::picture_url(&self.origin, picture, None)});
            }
            Content::Sticker(picture) => {
                shown["sticker"] = json!({"url": self.sticker_url(picture, message.at)});
            }
            Content::Template(card) => shown["template"] = card.rest(),
            Content::Other(_) => {}
        }
        if !message.reactions.is_empty() {
            shown["reactions"] = message
                .reactions
                .iter()
                .map(|reaction| {
                    let (kind, field, value) = reaction.what.fields(&self.origin, reaction.at);
                    let who = match reaction.from {
                        Side::Person => person_id,
                        Side::Business => business_id,
                    };
                    json!({"type": kind, field: value, "unique_identifier": who, "timestamp": reaction.at.ms()})
                })
                .collect();
        }
        if let Some(automatic) = message.automatic {
            shown["auto_message_type"] = json!(automatic);
        }
        if let Some(quoted) = &message.quotes {
            shown["referenced_message_info"] = json!({"referenced_message_id": quoted});
        }
        shown
    }

    pub(super) fn sticker_url(&self, picture: &str, at: Timestamp) -> String {
        media::picture_url(&self.origin, picture, Some(at.plus_ms(30 * DAY_MS)))
    }

    /// The chat as the person's phone shows it, with its `newest` messages.
    pub fn show_chat(&self, account: &str, person: &str, newest: usize, now: Timestamp) -> Option<Value> {
        let owner = self.accounts.get(account)?;
        let someone = self.people.get(person)?;
        let frame = json!({
            "account": {"username": owner.username, "display_name": owner.display_name, "country": owner.country, "business": owner.business, "avatar": self.avatar_path(account)},
            "person": {"username": someone.username, "display_name": someone.display_name, "country": someone.country, "avatar": self.avatar_path(person)},
            "now_ms": now.ms(),
            "suggested_questions": owner.automatic.offered_questions(),
            "chat_prompts": owner.automatic.offered_prompts(),
        });
        let mut shown = frame;
        let Some(chat) = owner.chats.get(person).map(|index| &self.chats[*index]) else {
            shown["conversation_id"] = Value::Null;
            shown["messages"] = json!([]);
            shown["referrals"] = json!([]);
            return Some(shown);
        };
        shown["conversation_id"] = chat.conversation.as_str().into();
        shown["conversation_type"] = if chat.known { "SINGLE" } else { "STRANGER" }.into();
        shown["typing"] = (now < chat.typing_until).into();
        shown["window"] = json!({
            "open": chat.window.admits(self.settings.window, now),
            "closes_ms": chat.window.closes().map(Timestamp::ms),
            "sent": chat.window.sent(),
        });
        shown["messages"] = chat
            .messages
            .iter()
            .skip(chat.messages.len().saturating_sub(newest))
            .map(|message| self.phone_message(chat, message))
            .collect();
        shown["referrals"] = chat
            .referrals
            .iter()
            .map(|referral| {
                let kind = match referral {
                    Referral::Ad { .. } => "ad",
                    Referral::Link { .. } => "short_link",
                };
                json!({"source": kind, "time_ms": referral.at().ms(), kind: referral.show(false)})
            })
            .collect();
        Some(shown)
    }

    fn phone_message(&self, chat: &Chat, message: &Message) -> Value {
        let (direction, seen_to) = match message.from {
            Side::Person => ("inbound", chat.business_read),
            Side::Business => ("outbound", chat.person_read),
        };
        let mut shown = json!({
            "id": message.id,
            "direction": direction,
            "type": message.content.rest_type().to_ascii_lowercase(),
            "status": if message.at <= seen_to { "seen" } else { "unseen" },
            "time_ms": message.at.ms(),
            "source": message.source,
        });
        match &message.content {
            Content::Text(body) => shown["text"] = body.as_str().into(),
            Content::Image(id) | Content::Video(id) => {
                shown["media_id"] = id.as_str().into();
                shown["media_url"] = format!("/control/media/{id}").into();
            }
            Content::SharePost(id) => {
                shown["video_id"] = id.as_str().into();
                shown["media_url"] = embed_url(id).into();
            }
            Content::Emoji(picture) | Content::Sticker(picture) => {
                shown["media_url"] = media::picture_path(picture).into();
            }
            Content::Template(card) => shown["template"] = card.rest(),
            Content::Other(name) => shown["original_type"] = name.as_str().into(),
        }
        if let Some(automatic) = message.automatic {
            shown["auto_message_type"] = json!(automatic);
        }
        if let Some(quoted) = &message.quotes {
            shown["quotes"] = quoted.as_str().into();
        }
        if let Some((card, button)) = &message.tapped {
            shown["tapped"] = json!({"message_id": card, "button_id": button});
        }
        if !message.reactions.is_empty() {
            shown["reactions"] = message
                .reactions
                .iter()
                .map(|reaction| match &reaction.what {
                    Emoji::Unicode(emoji) => json!({"from": reaction.from, "emoji": emoji}),
                    Emoji::Ai(picture) => json!({"from": reaction.from, "picture": media::picture_path(picture)}),
                })
                .collect();
        }
        shown
    }
}
