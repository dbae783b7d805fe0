//! Webhooks as events (Webhook subscription guide: event schema).
//!
//! Lenient for everything but ids: fields vary in production bodies, and unknown ones are kept in `platform_data` or
//! become an `unknown` event.

use sha2::{Digest, Sha256};
use weir_sdk::json::{Fields, token};
use weir_sdk::serde_json::Value;
use weir_sdk::types::{
    Arrival, ChannelNotice, Conversation, Direction, Event, InboundEvent, Reaction, Receipt, ReceiptStatus,
    ReceiptTarget, Referral, Timestamp,
};

use crate::content::{self, Dialect, Ends, Ids, millis};

/// The events of one webhook, oldest first.
///
/// # Errors
/// The error for an unreadable webhook: no envelope, content that is not JSON, or an event without a required id.
pub fn receive(body: &[u8]) -> Result<Vec<InboundEvent>, String> {
    let mut envelope = Fields::parse(body)?;
    let name = envelope.filled_text("event").ok_or("the envelope names no event")?;
    let account = envelope.id("user_openid").ok_or("the envelope names no account")?;
    let sent_at = envelope.number("create_time").map(millis).unwrap_or_default();
    let content = content_of(&mut envelope)?;
    let webhook = WebhookContext { account, at: sent_at };
    match name.as_str() {
        "im_receive_msg" => webhook.message(content, Direction::Inbound),
        "im_send_msg" => webhook.message(content, Direction::Outbound),
        "im_mark_read_msg" => webhook.read(content),
        "im_referral_msg" => webhook.arrival(content),
        "im_receive_msg_eu" => Ok(webhook.notice("inbound_withheld", "eu", content)),
        "im_auto_message_config_update" => Ok(webhook.notice("automation_changed", "automation", content)),
        "im_auto_message_audit_update" => Ok(webhook.notice("automation_reviewed", "automation", content)),
        "im_receive_high_intent_comment" => webhook.comment(content),
        "authorization.removed" => Ok(webhook.notice("authorization_revoked", "authorization", content)),
        _ => {
            let key = format!("unknown:{}", digest(body));
            Ok(vec![webhook.event(key, Event::Unknown(name))])
        }
    }
}

/// TikTok puts the content into the envelope as a string that contains JSON; an object is accepted as well.
fn content_of(envelope: &mut Fields) -> Result<Fields, String> {
    match envelope.any("content") {
        Some(Value::String(text)) if text.is_empty() => Ok(Fields::default()),
        Some(Value::String(text)) => {
            Fields::parse(text.as_bytes()).map_err(|fault| format!("the event's content: {fault}"))
        }
        Some(Value::Object(fields)) => Ok(Fields::of(Value::Object(fields)).unwrap_or_default()),
        Some(Value::Null) | None => Ok(Fields::default()),
        Some(_) => Err("the event's content is neither a text nor an object".into()),
    }
}

/// The envelope's fields for every event in it.
struct WebhookContext {
    account: String,
    at: Timestamp,
}

impl WebhookContext {
    fn event(&self, key: String, event: Event) -> InboundEvent {
        InboundEvent {
            channel_platform_id: self.account.clone(),
            key,
            event,
        }
    }

    /// When it occurred, by the content, or else by the envelope.
    fn time(&self, content: &mut Fields) -> Timestamp {
        content.number("timestamp").map_or(self.at, millis)
    }

    fn message(&self, mut content: Fields, sent: Direction) -> Result<Vec<InboundEvent>, String> {
        let kind = content::kind(&mut content, Dialect::Webhook);
        let at = self.time(&mut content);
        if kind.as_deref() == Some("reaction") {
            return self.reactions(content, at, sent);
        }
        let ids = Ids::of(&mut content)?;
        let ends = content::ends(&mut content, Dialect::Webhook, &self.account, sent);
        let answered = ends.direction == Direction::Outbound;
        let message = content::message(content, kind.as_deref(), ids, ends, at, answered);
        Ok(vec![self.event(message.platform_id.clone(), Event::Message(message))])
    }

    fn reactions(&self, mut content: Fields, at: Timestamp, sent: Direction) -> Result<Vec<InboundEvent>, String> {
        let conversation = content
            .id("conversation_id")
            .ok_or("the reaction has no conversation_id")?;
        let ends = content::ends(&mut content, Dialect::Webhook, &self.account, sent);
        let place = Place {
            account: &self.account,
            conversation: &conversation,
            ends: &ends,
            at,
            otherwise: ends.direction,
        };
        let mut entries = content.objects("reaction");
        if entries.is_empty() {
            // A single entry may come without the list around it.
            entries.extend(content.fields("reaction"));
        }
        let entries = entries.into_iter().enumerate().map(|(index, entry)| {
            let known = reaction(entry, None, &place);
            // An unreadable one does not affect the others.
            known.unwrap_or_else(|_| {
                let key = format!("unknown:{conversation}:{at}:{index}");
                self.event(key, Event::Unknown("reaction".into()))
            })
        });
        Ok(entries.collect())
    }

    fn read(&self, mut content: Fields) -> Result<Vec<InboundEvent>, String> {
        let at = self.time(&mut content);
        let conversation = content
            .id("conversation_id")
            .ok_or("the read receipt has no conversation_id")?;
        let ends = content::ends(&mut content, Dialect::Webhook, &self.account, Direction::Inbound);
        if ends.direction == Direction::Outbound {
            // The business read the messages in another client: that is no fact about the contact.
            return Ok(Vec::new());
        }
        let last = content
            .fields("read")
            .and_then(|mut read| read.number("last_read_timestamp"))
            .map_or(at, millis);
        let receipt = Receipt {
            conversation: place_of(&conversation, &ends),
            status: ReceiptStatus::Read,
            target: ReceiptTarget::UpTo(last),
            at,
            failure: None,
        };
        Ok(vec![
            self.event(format!("read:{conversation}:{last}"), Event::Receipt(receipt)),
        ])
    }

    fn arrival(&self, mut content: Fields) -> Result<Vec<InboundEvent>, String> {
        let at = self.time(&mut content);
        let conversation = content
            .id("conversation_id")
            .ok_or("the referral has no conversation_id")?;
        let ends = content::ends(&mut content, Dialect::Webhook, &self.account, Direction::Inbound);
        let referral = referral(content.fields("referral").unwrap_or_default(), at);
        let arrival = Arrival {
            conversation: place_of(&conversation, &ends),
            contact: ends.contact,
            referral,
            at,
        };
        Ok(vec![self.event(
            format!("referral:{conversation}:{at}"),
            Event::Arrival(arrival),
        )])
    }

    /// A comment that TikTok considers worth an answer; its id may be a number that other readers would round.
    fn comment(&self, mut content: Fields) -> Result<Vec<InboundEvent>, String> {
        let comment = content.id("comment_id").ok_or("the comment has no comment_id")?;
        let at = content.get("timestamp").and_then(Value::as_u64).map_or(self.at, millis);
        content.put("comment_id", comment.as_str());
        let notice = ChannelNotice {
            kind: "comment_received".into(),
            at,
            detail: content.into_value().to_string(),
        };
        Ok(vec![self.event(format!("comment:{comment}"), Event::Notice(notice))])
    }

    /// A report about the account; the platform's document is passed on unchanged. Its text is the key, since most of
    /// these have no id.
    fn notice(&self, kind: &str, family: &str, content: Fields) -> Vec<InboundEvent> {
        let at = content.get("timestamp").and_then(Value::as_u64).map_or(self.at, millis);
        let detail = content.into_value().to_string();
        let key = format!("{family}:{at}:{}", digest(detail.as_bytes()));
        vec![self.event(
            key,
            Event::Notice(ChannelNotice {
                kind: kind.into(),
                at,
                detail,
            }),
        )]
    }
}

/// The message of a reaction.
pub(crate) struct Place<'a> {
    /// The account.
    pub(crate) account: &'a str,
    /// TikTok's id of the conversation.
    pub(crate) conversation: &'a str,
    /// The sender and the recipient of the event.
    pub(crate) ends: &'a Ends,
    /// When the event was received.
    pub(crate) at: Timestamp,
    /// The author of a reaction, if it names an id that is neither the contact's nor the account's.
    pub(crate) otherwise: Direction,
}

/// One entry of a list of reactions. In the message list an entry belongs to the message that contains it, and always
/// means an addition.
pub(crate) fn reaction(mut entry: Fields, message: Option<&str>, place: &Place<'_>) -> Result<InboundEvent, String> {
    let message = match message {
        Some(message) => message.to_owned(),
        None => entry.id("original_msg_id").ok_or("the reaction names no message")?,
    };
    let at = entry.number("timestamp").map_or(place.at, millis);
    let added = entry
        .text("operation")
        .is_none_or(|operation| !operation.eq_ignore_ascii_case("REMOVE"));
    let reactor = entry.id("unique_identifier");
    let mut contact = place.ends.contact.clone();
    let direction = match reactor.as_deref() {
        Some(id) if id == contact.platform_id => Direction::Inbound,
        Some(id) if id == place.account => Direction::Outbound,
        _ => place.otherwise,
    };
    if let (Some(id), Direction::Inbound, true) = (&reactor, direction, contact.platform_id.is_empty()) {
        contact.platform_id.clone_from(id);
    }
    let reaction = Reaction {
        conversation: place_of(place.conversation, place.ends),
        contact,
        direction,
        message_id: message.clone(),
        emoji: entry.filled_text("emoji"),
        url: entry.filled_text("ai_emoji_url"),
        added,
        at,
    };
    let key = format!(
        "reaction:{message}:{}:{}:{at}",
        reactor.as_deref().unwrap_or(place.ends.contact.platform_id.as_str()),
        if added { "add" } else { "remove" },
    );
    Ok(InboundEvent {
        channel_platform_id: place.account.to_owned(),
        key,
        event: Event::Reaction(reaction),
    })
}

fn place_of(conversation: &str, ends: &Ends) -> Conversation {
    Conversation {
        platform_id: conversation.to_owned(),
        contact_id: ends.contact_id(),
        answered: false,
    }
}

/// A contact's referral. A block of an unknown source still names its source.
fn referral(mut block: Fields, at: Timestamp) -> Referral {
    let source = block.text("source").and_then(|source| token(&source));
    let mut ad = block.fields("ad").unwrap_or_default();
    let mut link = block.fields("short_link").unwrap_or_default();
    Referral {
        source: match source.as_deref() {
            Some("short_link") => "link".into(),
            Some(other) => other.to_owned(),
            None if !ad.is_empty() => "ad".into(),
            None => "link".into(),
        },
        ad_id: ad.id("ad_id"),
        ad_name: ad.filled_text("ad_name"),
        advertiser_id: ad.id("advertiser_id"),
        // Only Upgraded Smart+ ads have it, and then without a preview.
        creative_id: ad.id("message_material_id"),
        url: ad.filled_text("embed_url"),
        ref_: link.filled_text("ref"),
        prefilled_text: link.filled_text("prefilled_message"),
        prefill_audit: link
            .filled_text("prefilled_message_audit_status")
            .map(|status| match status.as_str() {
                "PASS" => "passed".into(),
                "REJECT" => "rejected".into(),
                _ => "pending".into(),
            }),
        at: Some(ad.number("timestamp").map_or(at, millis)),
    }
}

/// A key for a text that has none. Half of SHA-256 is enough to distinguish the events of one channel.
fn digest(text: &[u8]) -> String {
    let hash = Sha256::digest(text);
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
