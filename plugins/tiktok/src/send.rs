//! Drafts as requests (Send a message to a conversation; Upload an image).

use weir_sdk::http::{stored_part, text_part};
use weir_sdk::outbound::{Draft, Finding, Sent};
use weir_sdk::serde_json::{Value, json};
use weir_sdk::types::{Card, Channel, Content, Conversation, Failure, Media, MediaKind, SharedPost};
use weir_sdk::{Repeat, abilities};

use crate::manifest::CARD_TITLE_CHARS;
use crate::{TikTok, wire};

/// The most buttons a card may have.
const CARD_BUTTONS: usize = 3;
/// The longest label on a card of buttons; on a card of links it is as long as a title.
const BUTTON_CHARS: usize = 20;
/// The longest id of a button.
const BUTTON_ID_CHARS: usize = 40;

/// TikTok's refusals, reported before the message is accepted.
#[must_use]
pub fn prepare(draft: &Draft) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |pointer: &str, code: &str, detail: String| {
        findings.push(Finding {
            pointer: pointer.to_owned(),
            code: code.to_owned(),
            detail,
        });
    };
    match &draft.content {
        Content::Text(_) => {}
        Content::Media(media) if media.kind == MediaKind::Image => {
            if media.caption.as_deref().is_some_and(|caption| !caption.is_empty()) {
                find(
                    "/content/caption",
                    "caption_not_supported",
                    "TikTok sends a picture or a text, never both".into(),
                );
            }
        }
        Content::SharedPost(post) => {
            if post.post_id.as_deref().is_none_or(str::is_empty) {
                find("/content/post_id", "required", "TikTok shares a post by its id".into());
            }
        }
        Content::Card(card) => check_card(card, &mut find),
        Content::Media(_) | Content::Location(_) | Content::Template(_) | Content::Fallback(_) | Content::Custom(_) => {
            find(
                "/content/type",
                "content_type_not_supported",
                "TikTok accepts text, pictures, own posts and cards".into(),
            );
        }
    }
    if draft.reply_to.is_some() && !matches!(draft.content, Content::Text(_)) {
        find(
            "/reply_to",
            "reply_not_supported",
            "on TikTok only a text can quote a message".into(),
        );
    }
    findings
}

fn check_card(card: &Card, find: &mut impl FnMut(&str, &str, String)) {
    let title_chars = CARD_TITLE_CHARS as usize;
    let button_chars = match card.kind.as_str() {
        "buttons" => BUTTON_CHARS,
        "links" => title_chars,
        _ => {
            find(
                "/content/card",
                "content_type_not_supported",
                "TikTok has cards of buttons and of links".into(),
            );
            return;
        }
    };
    check_chars("/content/title", &card.title, title_chars, find);
    if card.body.as_deref().is_some_and(|body| !body.is_empty()) {
        find(
            "/content/body",
            "content_type_not_supported",
            "a card on TikTok has a title and buttons, no body".into(),
        );
    }
    if !(1..=CARD_BUTTONS).contains(&card.buttons.len()) {
        let detail = format!(
            "a card on TikTok has 1 to {CARD_BUTTONS} buttons, not {}",
            card.buttons.len()
        );
        find("/content/buttons", "button_count", detail);
    }
    for (index, button) in card.buttons.iter().enumerate() {
        check_chars(
            &format!("/content/buttons/{index}/title"),
            &button.title,
            button_chars,
            find,
        );
        let id_chars = chars(&button.id);
        if id_chars > BUTTON_ID_CHARS {
            let detail = format!("{id_chars} characters, and TikTok accepts {BUTTON_ID_CHARS}");
            find(&format!("/content/buttons/{index}/id"), "text_too_long", detail);
        }
        if button.url.is_some() {
            let detail = "TikTok's buttons cannot open a page; put the address into a text".to_owned();
            find(
                &format!("/content/buttons/{index}/url"),
                "content_type_not_supported",
                detail,
            );
        }
    }
}

fn check_chars(pointer: &str, text: &str, most: usize, find: &mut impl FnMut(&str, &str, String)) {
    match chars(text) {
        0 => find(pointer, "text_empty", "it has no text".into()),
        length if length > most => {
            find(
                pointer,
                "text_too_long",
                format!("{length} characters, and TikTok accepts {most}"),
            );
        }
        _ => {}
    }
}

/// TikTok does not document its unit; UTF-16 units are never fewer than characters.
fn chars(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Sends one message.
///
/// # Errors
/// Whether TikTok acted, and how to continue.
pub fn send(channel: &Channel, conversation: &Conversation, draft: &Draft) -> Result<Sent, Failure> {
    let mut body = match &draft.content {
        Content::Text(text) => json!({ "message_type": "TEXT", "text": { "body": text } }),
        Content::Media(media) if media.kind == MediaKind::Image => {
            json!({ "message_type": "IMAGE", "image": { "media_id": upload(channel, media)? } })
        }
        Content::SharedPost(SharedPost {
            post_id: Some(post), ..
        }) => {
            json!({ "message_type": "SHARE_POST", "share_post": { "item_id": post } })
        }
        Content::Card(card) => json!({ "message_type": "TEMPLATE", "template": template(card) }),
        _ => {
            return Err(Failure::permanent(
                "content_type_not_supported",
                "TikTok accepts text, pictures, own posts and cards",
            ));
        }
    };
    address(&mut body, channel, conversation);
    if let Some(quoted) = &draft.reply_to {
        body["referenced_message_info"] = json!({ "referenced_message_id": quoted });
    }
    let mut answer = wire::data(wire::post(wire::SEND).json(&body), Repeat::Never)?;
    let message = answer
        .data
        .fields("message")
        .and_then(|mut message| message.id("message_id"));
    match message {
        Some(platform_id) => Ok(Sent { platform_id, at: None }),
        // TikTok accepted without an id; the echo will contain it.
        None => Err(
            Failure::uncertain("TikTok accepted the message and returned no id").reported_by_platform(
                None,
                None,
                answer.request_id,
            ),
        ),
    }
}

/// Adds the account and the conversation.
fn address(body: &mut Value, channel: &Channel, conversation: &Conversation) {
    body["business_id"] = channel.platform_id.as_str().into();
    body["recipient_type"] = "CONVERSATION".into();
    body["recipient"] = conversation.platform_id.as_str().into();
}

/// Uploads a picture to TikTok, streamed on the host's side, and returns the id with which to send it. An upload is not
/// visible to anyone, so it may be repeated.
fn upload(channel: &Channel, media: &Media) -> Result<String, Failure> {
    let parts = vec![
        text_part("business_id", &channel.platform_id),
        text_part("media_type", "IMAGE"),
        stored_part("file", &media.reference),
    ];
    let mut data = wire::ask(wire::post(wire::UPLOAD).multipart(parts))?;
    data.id("media_id").ok_or_else(|| {
        Failure::retry(
            "platform_unavailable",
            "TikTok accepted the picture and returned no media_id",
            None,
        )
    })
}

fn template(card: &Card) -> Value {
    let kind = if card.kind == "links" {
        "QA_LINK_CARD"
    } else {
        "QA_BUTTON_CARD"
    };
    let buttons: Vec<Value> = card
        .buttons
        .iter()
        .map(|button| {
            let mut written = json!({ "type": "REPLY", "title": button.title });
            if !button.id.is_empty() {
                written["id"] = button.id.as_str().into();
            }
            written
        })
        .collect();
    json!({ "type": kind, "title": card.title, "buttons": buttons })
}

impl abilities::Signals for TikTok {
    fn show(channel: Channel, conversation: Conversation, signal: abilities::signals::Signal) -> Result<(), Failure> {
        use abilities::signals::Signal;
        let action = match signal {
            Signal::Typing => "TYPING",
            Signal::Read => "MARK_READ",
        };
        let mut body = json!({ "message_type": "SENDER_ACTION", "sender_action": action });
        address(&mut body, &channel, &conversation);
        wire::ask(wire::post(wire::SEND).json(&body)).map(drop)
    }
}

#[cfg(test)]
mod tests;
