//! Messages that TikTok sends automatically (Create, update, get, delete and sort automatic messages;
//! Comment-to-Message).
//!
//! Besides the four kinds of the interface there is `chat_prompt_order`: a put of `{"ids":[…]}` sorts the chat prompts.

use weir_sdk::abilities::Automations;
use weir_sdk::abilities::automations::Automation;
use weir_sdk::json::{Fields, token};
use weir_sdk::serde_json::{Value, from_str, json};
use weir_sdk::types::{Channel, Failure, Token};

use crate::{TikTok, wire};

/// A kind, and its paths at the platform.
enum Kind {
    /// One of three kinds of automatic message.
    Auto(Auto),
    /// One switch for the account.
    CommentToMessage,
    /// Not a message: the order of the chat prompts.
    PromptOrder,
}

#[derive(Clone, Copy, PartialEq)]
enum Auto {
    Welcome,
    Question,
    Prompt,
}

impl Auto {
    fn wire(self) -> &'static str {
        match self {
            Self::Welcome => "WELCOME_MESSAGE",
            Self::Question => "SUGGESTED_QUESTION",
            Self::Prompt => "CHAT_PROMPT",
        }
    }

    /// The block that contains the texts, and the maximum number of characters of each.
    fn block(self) -> (&'static str, &'static [(&'static str, usize)]) {
        match self {
            Self::Welcome => ("welcome_message", &[("content", 250)]),
            Self::Question => ("suggested_question", &[("question", 80), ("answer", 200)]),
            Self::Prompt => ("chat_prompt", &[("title", 18), ("content", 150)]),
        }
    }
}

fn kind(name: &str) -> Result<Kind, Failure> {
    Ok(match name {
        "welcome_message" => Kind::Auto(Auto::Welcome),
        "suggested_question" => Kind::Auto(Auto::Question),
        "chat_prompt" => Kind::Auto(Auto::Prompt),
        "comment_to_message" => Kind::CommentToMessage,
        "chat_prompt_order" => Kind::PromptOrder,
        other => {
            return Err(Failure::permanent(
                "content_type_not_supported",
                format!("TikTok has no automation {other:?}"),
            ));
        }
    })
}

impl Automations for TikTok {
    fn get(channel: Channel, name: Token) -> Result<Vec<Automation>, Failure> {
        match kind(&name)? {
            Kind::Auto(auto) => get_auto(&channel, &name, auto),
            Kind::CommentToMessage => get_comment_to_message(&channel, &name),
            Kind::PromptOrder => {
                let prompts = get_auto(&channel, "chat_prompt", Auto::Prompt)?;
                let ids: Vec<_> = prompts.into_iter().filter_map(|prompt| prompt.id).collect();
                let content = json!({ "ids": ids }).to_string();
                Ok(vec![Automation {
                    kind: name,
                    id: None,
                    enabled: true,
                    audit: None,
                    content,
                }])
            }
        }
    }

    /// Writes the texts, if there are any, and then switches the kind on or off: TikTok has one switch for all
    /// automations of a kind. Idempotent: repeated without an id, as after a lost response, it reuses a message with
    /// the same texts.
    fn put(channel: Channel, automation: Automation) -> Result<Option<String>, Failure> {
        let content: Value = from_str(&automation.content)
            .map_err(|_| Failure::permanent("malformed", "the automation's content is not JSON"))?;
        match kind(&automation.kind)? {
            Kind::Auto(auto) => {
                let id = match Fields::of(content).filter(|words| !words.is_empty()) {
                    Some(words) => write_auto(&channel, auto, automation.id, words)?,
                    None => automation.id,
                };
                switch_auto(&channel, auto, automation.enabled)?;
                Ok(id)
            }
            Kind::CommentToMessage => switch_comment_to_message(&channel, automation.enabled).map(|()| None),
            Kind::PromptOrder => {
                let body = json!({
                    "business_id": channel.platform_id,
                    "auto_message_type": Auto::Prompt.wire(),
                    "auto_message_ids": content.get("ids").cloned().unwrap_or_else(|| json!([])),
                });
                wire::ask(auto_message("sort").json(&body)).map(|_| None)
            }
        }
    }

    /// A welcome message and Comment-to-Message cannot be deleted, only switched off.
    fn remove(channel: Channel, name: Token, id: String) -> Result<(), Failure> {
        match kind(&name)? {
            Kind::Auto(Auto::Welcome) => switch_auto(&channel, Auto::Welcome, false),
            Kind::Auto(auto) => {
                let body = json!({
                    "business_id": channel.platform_id,
                    "auto_message_type": auto.wire(),
                    "auto_message_id": id,
                });
                match wire::ask(auto_message("delete").json(&body)) {
                    // Deleted already: a removal whose response was lost is repeated.
                    Err(failure) if failure.platform_code.as_deref() == Some(NOT_THERE) => Ok(()),
                    answer => answer.map(drop),
                }
            }
            Kind::CommentToMessage => switch_comment_to_message(&channel, false),
            Kind::PromptOrder => Err(Failure::permanent(
                "content_type_not_supported",
                "an order cannot be removed",
            )),
        }
    }
}

/// TikTok's code for an unknown id.
const NOT_THERE: &str = "40007";

fn auto_message(call: &str) -> weir_sdk::http::Draft {
    wire::post(&format!("{}/{call}/", wire::AUTO_MESSAGE))
}

fn get_auto(channel: &Channel, name: &str, auto: Auto) -> Result<Vec<Automation>, Failure> {
    let call = wire::get(&format!("{}/get/", wire::AUTO_MESSAGE))
        .query("business_id", &channel.platform_id)
        .query("auto_message_type", auto.wire());
    let mut data = wire::ask(call)?;
    let enabled = is_on(&mut data);
    let (block, _) = auto.block();
    Ok(data
        .objects("auto_messages")
        .into_iter()
        .map(|mut entry| {
            // TikTok's example wraps a chat prompt in the block of a suggested question.
            let words = entry
                .fields(block)
                .or_else(|| entry.fields("suggested_question"))
                .unwrap_or_default();
            Automation {
                kind: name.to_owned(),
                id: entry.id("auto_message_id"),
                enabled,
                audit: entry.text("audit_status").and_then(|status| token(&status)),
                content: words.into_value().to_string(),
            }
        })
        .collect())
}

fn write_auto(channel: &Channel, auto: Auto, id: Option<String>, words: Fields) -> Result<Option<String>, Failure> {
    let (block, limits) = auto.block();
    for (name, most) in limits {
        let length = words
            .get(name)
            .and_then(Value::as_str)
            .map_or(0, |text| text.encode_utf16().count());
        match length {
            0 => return Err(Failure::permanent("text_empty", format!("{block} has no {name}"))),
            length if length > *most => {
                let detail = format!("the {name} of a {block} has {length} characters, and TikTok accepts {most}");
                return Err(Failure::permanent("text_too_long", detail));
            }
            _ => {}
        }
    }
    let words = words.into_value();
    if id.is_none()
        && let Some(there) = with_words(channel, auto, &words)?
    {
        return Ok(Some(there));
    }
    let mut body = json!({ "business_id": channel.platform_id, "auto_message_type": auto.wire() });
    body[block] = words;
    let call = match &id {
        Some(id) => {
            body["auto_message_id"] = id.as_str().into();
            "update"
        }
        None => "create",
    };
    let mut data = wire::ask(auto_message(call).json(&body))?;
    let new_id = data
        .fields("auto_message")
        .and_then(|mut written| written.id("auto_message_id"));
    Ok(new_id.or(id))
}

/// The id of the message with this text, if there is one.
fn with_words(channel: &Channel, auto: Auto, words: &Value) -> Result<Option<String>, Failure> {
    let (_, limits) = auto.block();
    let same = |there: &Automation| {
        let there: Value = from_str(&there.content).unwrap_or_default();
        limits.iter().all(|(name, _)| there.get(name) == words.get(name))
    };
    Ok(get_auto(channel, "", auto)?
        .into_iter()
        .find(same)
        .and_then(|there| there.id))
}

fn switch_auto(channel: &Channel, auto: Auto, on: bool) -> Result<(), Failure> {
    let body = json!({
        "business_id": channel.platform_id,
        "auto_message_type": auto.wire(),
        "operation_status": operation(on),
    });
    wire::ask(auto_message("status/update").json(&body)).map(drop)
}

fn get_comment_to_message(channel: &Channel, name: &str) -> Result<Vec<Automation>, Failure> {
    let call = wire::get(&format!("{}/get/", wire::DIRECT_REPLY))
        .query("business_id", &channel.platform_id)
        .query("direct_reply_type", "COMMENT_TO_MESSAGE");
    let mut data = wire::ask(call)?;
    let enabled = is_on(&mut data);
    Ok(vec![Automation {
        kind: name.to_owned(),
        id: None,
        enabled,
        audit: None,
        content: "{}".into(),
    }])
}

fn switch_comment_to_message(channel: &Channel, on: bool) -> Result<(), Failure> {
    let body = json!({
        "business_id": channel.platform_id,
        "direct_reply_type": "COMMENT_TO_MESSAGE",
        "operation_status": operation(on),
    });
    wire::ask(wire::post(&format!("{}/update/", wire::DIRECT_REPLY)).json(&body)).map(drop)
}

fn is_on(data: &mut Fields) -> bool {
    data.text("operation_status").as_deref() == Some(operation(true))
}

fn operation(on: bool) -> &'static str {
    if on { "ENABLE" } else { "DISABLE" }
}

#[cfg(test)]
mod tests;
