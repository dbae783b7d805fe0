//! One message in TikTok's two formats: webhooks write `text`, `personal_account` and nest a card's elements; the
//! message list writes `TEXT`, `PERSONAL_ACCOUNT` and a flat card. Both become the same message.

use weir_sdk::json::{Fields, token};
use weir_sdk::serde_json::Value;
use weir_sdk::types::{
    Button, Card, Contact, Content, Conversation, Direction, Fallback, Media, MediaKind, Message, Origin, SharedPost,
    Timestamp,
};

/// Both ends of a message, seen from the account.
pub struct Ends {
    /// The direction.
    pub direction: Direction,
    /// The person; the id is empty if no field names them.
    pub contact: Contact,
}

impl Ends {
    /// The person's id, if a field names it.
    pub fn contact_id(&self) -> Option<String> {
        Some(self.contact.platform_id.clone()).filter(|id| !id.is_empty())
    }
}

/// The names of the sender's and receiver's usernames in the two formats.
#[derive(Clone, Copy)]
pub enum Dialect {
    /// `from`, `to`, `type`.
    Webhook,
    /// `sender`, `recipient`, `message_type`.
    List,
}

impl Dialect {
    fn sender(self) -> &'static str {
        match self {
            Self::Webhook => "from",
            Self::List => "sender",
        }
    }

    fn receiver(self) -> &'static str {
        match self {
            Self::Webhook => "to",
            Self::List => "recipient",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Webhook => "type",
            Self::List => "message_type",
        }
    }
}

/// The type of a message, in lower case; takes it out of the object.
pub fn kind(message: &mut Fields, dialect: Dialect) -> Option<String> {
    message
        .filled_text(dialect.kind())
        .map(|kind| kind.to_ascii_lowercase())
}

/// Sender and recipient. `account` is the platform's name of the business account; `sent` is the default direction if
/// neither end has a role.
///
/// Ids decide. Roles are used only if no id is the account's: two businesses that write to each other have the same
/// role. The person is the end that is not the account. TikTok does not document whose id `unique_identifier` is on an
/// echo, so it is used only for the sender of an inbound message. If no field names the person, the id is empty, and
/// the host uses the conversation's.
pub fn ends(message: &mut Fields, dialect: Dialect, account: &str, sent: Direction) -> Ends {
    let from = party(message, "from_user");
    let to = party(message, "to_user");
    let direction = direction(&from, &to, account).unwrap_or(sent);
    let (sender, receiver) = (
        message.filled_text(dialect.sender()),
        message.filled_text(dialect.receiver()),
    );
    let identifier = message.id("unique_identifier");
    let (id, username) = match direction {
        Direction::Inbound => (from.id.or(identifier), sender),
        Direction::Outbound => (to.id, receiver),
    };
    Ends {
        direction,
        contact: Contact {
            // The account is not a contact, least of all its own.
            platform_id: id.filter(|id| id != account).unwrap_or_default(),
            username,
            display_name: None,
            avatar_url: None,
        },
    }
}

/// The direction of a message by its two ends, if they have ids or roles.
fn direction(from: &Party, to: &Party, account: &str) -> Option<Direction> {
    let by = |from: bool, to: bool| match (from, to) {
        (true, false) => Some(Direction::Outbound),
        (false, true) => Some(Direction::Inbound),
        _ => None,
    };
    let is_account = |party: &Party| party.id.as_deref() == Some(account);
    by(is_account(from), is_account(to))
        .or_else(|| by(from.has_role("business_account"), to.has_role("business_account")))
        .or_else(|| by(to.has_role("personal_account"), from.has_role("personal_account")))
}

struct Party {
    id: Option<String>,
    role: Option<String>,
}

fn party(message: &mut Fields, name: &str) -> Party {
    let Some(mut party) = message.fields(name) else {
        return Party { id: None, role: None };
    };
    let read = Party {
        id: party.id("id"),
        role: party.text("role"),
    };
    message.put_rest(name, party);
    read
}

impl Party {
    fn has_role(&self, wanted: &str) -> bool {
        self.role
            .as_deref()
            .is_some_and(|role| role.eq_ignore_ascii_case(wanted))
    }
}

/// The remaining fields of a message whose ends and type are already known. Fields without a counterpart stay in
/// `platform_data`.
pub fn message(
    mut fields: Fields,
    kind: Option<&str>,
    ids: Ids,
    ends: Ends,
    sent_at: Timestamp,
    answered: bool,
) -> Message {
    let origin = match ends.direction {
        Direction::Inbound => Origin::Contact,
        Direction::Outbound => origin(&fields),
    };
    let content = content(&mut fields, kind);
    let quoted = block_id(&mut fields, "referenced_message_info", "referenced_message_id");
    let tapped = block_id(&mut fields, "reply_source_payload", "reply_source_unique_id");
    let card = block_id(&mut fields, "reply_source_payload", "reply_source_msg_id");
    Message {
        platform_id: ids.message,
        part: 0,
        conversation: Conversation {
            platform_id: ids.conversation,
            contact_id: ends.contact_id(),
            answered,
        },
        contact: ends.contact,
        direction: ends.direction,
        origin,
        sent_at,
        content,
        // A tap on a card is a reply to the message that contains the card.
        reply_to: quoted.or(card),
        referral: None,
        answers: tapped,
        platform_data: fields.rest(),
    }
}

/// The two ids that a message must have to be stored.
pub struct Ids {
    /// TikTok's id of the conversation.
    pub conversation: String,
    /// TikTok's id of the message.
    pub message: String,
}

impl Ids {
    /// Takes both ids out of a message.
    ///
    /// # Errors
    /// Which of them is missing.
    pub fn of(message: &mut Fields) -> Result<Self, String> {
        Ok(Self {
            conversation: message
                .id("conversation_id")
                .ok_or("the message has no conversation_id")?,
            message: message.id("message_id").ok_or("the message has no message_id")?,
        })
    }
}

/// A time in milliseconds. TikTok documents the same field in seconds on one page and in milliseconds on another;
/// before 1973 it had no messages, so a smaller number is seconds.
#[must_use]
pub fn millis(time: u64) -> Timestamp {
    const SMALLEST_IN_MILLISECONDS: u64 = 100_000_000_000;
    if time < SMALLEST_IN_MILLISECONDS {
        time * 1000
    } else {
        time
    }
}

/// Takes one id out of a block and keeps the rest of the block.
fn block_id(fields: &mut Fields, name: &str, id: &str) -> Option<String> {
    let mut block = fields.fields(name)?;
    let taken = block.id(id);
    fields.put_rest(name, block);
    taken
}

/// The client in which the account's user wrote. The tag stays in `platform_data` too.
fn origin(fields: &Fields) -> Origin {
    let source = fields.get("message_tag").and_then(|tag| tag.get("source")?.as_str());
    match source {
        Some("API") => Origin::Api,
        Some("APP") => Origin::App,
        Some("WEB") => Origin::Web,
        Some("OTHERS") => Origin::Automation,
        _ if fields.get("auto_message_type").is_some_and(Value::is_string) => Origin::Automation,
        _ => Origin::Unknown,
    }
}

/// The content of a message. Never empty: content that cannot be shown, or lacks a required field, becomes a fallback
/// that states this.
fn content(message: &mut Fields, kind: Option<&str>) -> Content {
    let Some(kind) = kind else {
        return fallback("unknown", "malformed");
    };
    let mut block = message.fields(kind).unwrap_or_default();
    let content = match kind {
        "text" => block.filled_text("body").map(Content::Text),
        "image" => block
            .id("media_id")
            .map(|id| Content::Media(media(MediaKind::Image, id))),
        "share_post" => shared_post(&mut block).map(Content::SharedPost),
        "template" => card(&mut block).map(Content::Card),
        "video" => block.id("media_id").map(|id| {
            // It stays in `platform_data` as well, so that the bytes can be fetched while TikTok keeps them.
            block.put("media_id", id.as_str());
            Content::Fallback(Fallback {
                media: Some(media(MediaKind::Video, id)),
                ..unsupported(kind, None)
            })
        }),
        "emoji" | "sticker" => block
            .filled_text("url")
            .map(|url| Content::Fallback(unsupported(kind, Some(url)))),
        "deleted" | "delete" | "recalled" | "recall" => Some(fallback(kind, "deleted")),
        // Voice, avatars, files and future types have no documented type; the list uses OTHER for all of them.
        _ => Some(Content::Fallback(unsupported(kind, link(&block)))),
    };
    message.put_rest(kind, block);
    content.unwrap_or_else(|| fallback(kind, "malformed"))
}

fn media(kind: MediaKind, reference: String) -> Media {
    Media {
        kind,
        reference,
        mime_type: None,
        size: None,
        filename: None,
        caption: None,
    }
}

fn unsupported(kind: &str, url: Option<String>) -> Fallback {
    Fallback {
        original_type: kind.to_owned(),
        text: format!("{} (cannot be shown)", label(kind)),
        url,
        reason: "type_unsupported".into(),
        media: None,
    }
}

fn fallback(kind: &str, reason: &str) -> Content {
    let text = match reason {
        "deleted" => "Deleted message".to_owned(),
        _ => format!("{} (cannot be shown)", label(kind)),
    };
    Content::Fallback(Fallback {
        text,
        reason: reason.into(),
        ..unsupported(kind, None)
    })
}

/// The text for people in place of TikTok's type name.
fn label(kind: &str) -> &'static str {
    match kind {
        "image" => "Picture",
        "video" => "Video",
        "voice" | "audio" => "Voice message",
        "emoji" => "Emoji",
        "sticker" => "Sticker",
        "avatar" => "Avatar",
        "share_post" => "Post",
        "template" => "Card",
        "gif" => "GIF",
        "file" => "File",
        "location" => "Location",
        _ => "Message",
    }
}

/// A link in a block of unknown shape, if it has one under a name that TikTok uses elsewhere. It stays in the block.
fn link(block: &Fields) -> Option<String> {
    ["url", "embed_url"]
        .iter()
        .find_map(|name| block.get(name)?.as_str())
        .map(str::to_owned)
}

fn shared_post(block: &mut Fields) -> Option<SharedPost> {
    let url = block.filled_text("embed_url");
    let post_id = block
        .id("video_id")
        .or_else(|| url.as_deref().and_then(post_of).map(str::to_owned));
    (url.is_some() || post_id.is_some()).then_some(SharedPost { post_id, url })
}

/// The id in `https://www.tiktok.com/player/v1/<id>?…`, the only reference to a post in the message list.
fn post_of(player: &str) -> Option<&str> {
    let (_, rest) = player.split_once("/player/v1/")?;
    let id = rest.split(['?', '/', '#']).next()?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
}

/// A question card. A webhook puts title and buttons into the one element of `elements`, and names a button's label
/// `text`.
fn card(block: &mut Fields) -> Option<Card> {
    let kind = token(&block.text("type")?)?;
    let kind = match kind.as_str() {
        "qa_button_card" => "buttons".to_owned(),
        "qa_link_card" => "links".to_owned(),
        _ => kind,
    };
    let mut face = block.objects("elements").into_iter().next().unwrap_or_default();
    let mut take = |name: &str| face.any(name).or_else(|| block.any(name));
    let title = take("title")?.as_str()?.to_owned();
    let mut holder = Fields::default();
    holder.put("buttons", take("buttons").unwrap_or_default());
    let buttons = holder
        .objects("buttons")
        .into_iter()
        .map(|mut button| Button {
            id: button.id("id").unwrap_or_default(),
            title: button.text("text").or_else(|| button.text("title")).unwrap_or_default(),
            url: None,
        })
        .collect();
    Some(Card {
        kind,
        title,
        body: None,
        buttons,
    })
}
