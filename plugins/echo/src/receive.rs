//! Echo's webhooks, as events.
//!
//! ```json
//! {"account":"acme","events":[
//! {"type":"message","id":"m1","conversation":"c1","contact":{"id":"u1","name":"Jane"},"text":"hi","at":1735689600000}]}
//! ```
//! Types are `message`, `receipt`, `reaction`, `arrival` and `notice`; anything else becomes an `unknown` event. Every
//! event has an `id` of its own. A message with `"direction":"outbound"` is the account's own, with its origin in
//! `origin`.

use weir_sdk::inbound::Webhook;
use weir_sdk::json::Fields;
use weir_sdk::types::{
    Arrival, ChannelNotice, Contact, Content, Conversation, Direction, Event, InboundEvent, Message, Origin, Reaction,
    Receipt, ReceiptStatus, ReceiptTarget, Referral,
};

/// The events of one webhook, oldest first.
///
/// # Errors
/// If the body does not have Echo's form at all.
pub fn receive(body: &[u8]) -> Result<Vec<InboundEvent>, String> {
    let mut envelope = Fields::parse(body)?;
    let account = envelope.id("account").ok_or("no account is named")?;
    Ok(events(&account, &mut envelope))
}

/// The events of an account, wherever they are in the document. One that does not have Echo's form is unknown, and does
/// not affect the others.
#[must_use]
pub fn events(account: &str, envelope: &mut Fields) -> Vec<InboundEvent> {
    let events = envelope.objects("events").into_iter().enumerate();
    events
        .map(|(index, event)| {
            translate(account, event).unwrap_or_else(|_| InboundEvent {
                channel_platform_id: account.to_owned(),
                key: format!("unknown:{index}"),
                event: Event::Unknown("malformed".into()),
            })
        })
        .collect()
}

/// The texts of the messages in a webhook, which may be triggers of a test.
#[must_use]
pub fn texts(webhook: &Webhook) -> Vec<String> {
    let events = receive(&webhook.body).unwrap_or_default();
    events
        .into_iter()
        .filter_map(|event| match event.event {
            Event::Message(Message {
                content: Content::Text(text),
                ..
            }) => Some(text),
            _ => None,
        })
        .collect()
}

fn translate(account: &str, mut event: Fields) -> Result<InboundEvent, String> {
    let key = event.id("id").ok_or("an event has no id")?;
    let kind = event.text("type").unwrap_or_default();
    let event = match kind.as_str() {
        "message" => Event::Message(message(&key, event)?),
        "receipt" => Event::Receipt(receipt(event)?),
        "reaction" => Event::Reaction(reaction(event)?),
        "arrival" => Event::Arrival(arrival(event)?),
        "notice" => Event::Notice(ChannelNotice {
            kind: event.text("kind").unwrap_or_default(),
            at: event.number("at").unwrap_or_default(),
            detail: event.into_value().to_string(),
        }),
        _ => Event::Unknown(kind),
    };
    Ok(InboundEvent {
        channel_platform_id: account.to_owned(),
        key,
        event,
    })
}

fn message(id: &str, mut event: Fields) -> Result<Message, String> {
    let direction = direction(&mut event);
    let origin = match event.text("origin").as_deref() {
        Some("api") => Origin::Api,
        Some("app") => Origin::App,
        Some("web") => Origin::Web,
        Some("automation") => Origin::Automation,
        _ if direction == Direction::Inbound => Origin::Contact,
        _ => Origin::Unknown,
    };
    Ok(Message {
        platform_id: id.to_owned(),
        part: 0,
        conversation: conversation(&mut event)?,
        contact: contact(&mut event),
        direction,
        origin,
        sent_at: event.number("at").unwrap_or_default(),
        content: Content::Text(event.text("text").unwrap_or_default()),
        reply_to: event.id("reply_to"),
        referral: None,
        answers: event.id("answers"),
        platform_data: event.rest(),
    })
}

fn receipt(mut event: Fields) -> Result<Receipt, String> {
    let status = match event.text("status").as_deref() {
        Some("delivered") => ReceiptStatus::Delivered,
        Some("read") => ReceiptStatus::Read,
        Some("failed") => ReceiptStatus::Failed,
        _ => return Err("a receipt has no status".into()),
    };
    let at = event.number("at").unwrap_or_default();
    let target = match event.id("message") {
        Some(message) => ReceiptTarget::Messages(vec![message]),
        None => ReceiptTarget::UpTo(event.number("up_to").unwrap_or(at)),
    };
    Ok(Receipt {
        conversation: conversation(&mut event)?,
        status,
        target,
        at,
        failure: None,
    })
}

fn reaction(mut event: Fields) -> Result<Reaction, String> {
    Ok(Reaction {
        conversation: conversation(&mut event)?,
        contact: contact(&mut event),
        direction: direction(&mut event),
        message_id: event.id("message").ok_or("a reaction names no message")?,
        emoji: event.filled_text("emoji"),
        url: None,
        added: event.boolean("added").unwrap_or(true),
        at: event.number("at").unwrap_or_default(),
    })
}

fn arrival(mut event: Fields) -> Result<Arrival, String> {
    let at = event.number("at").unwrap_or_default();
    Ok(Arrival {
        conversation: conversation(&mut event)?,
        contact: contact(&mut event),
        referral: Referral {
            source: "link".into(),
            ad_id: None,
            ad_name: None,
            advertiser_id: None,
            creative_id: None,
            url: None,
            ref_: event.filled_text("ref"),
            prefilled_text: None,
            prefill_audit: None,
            at: Some(at),
        },
        at,
    })
}

fn direction(event: &mut Fields) -> Direction {
    match event.text("direction").as_deref() {
        Some("outbound") => Direction::Outbound,
        _ => Direction::Inbound,
    }
}

fn conversation(event: &mut Fields) -> Result<Conversation, String> {
    let platform_id = event.id("conversation").ok_or("an event names no conversation")?;
    let contact_id = event
        .get("contact")
        .and_then(|contact| contact.get("id")?.as_str())
        .map(str::to_owned);
    Ok(Conversation {
        platform_id,
        contact_id,
        answered: false,
    })
}

/// The contact; if an event omits it, the host uses the conversation's.
fn contact(event: &mut Fields) -> Contact {
    let mut contact = event.fields("contact").unwrap_or_default();
    Contact {
        platform_id: contact.id("id").unwrap_or_default(),
        username: contact.filled_text("username"),
        display_name: contact.filled_text("name"),
        avatar_url: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(event: &str) -> Result<Event, String> {
        let body = format!(r#"{{"account":"acme","events":[{event}]}}"#);
        receive(body.as_bytes()).map(|mut events| events.remove(0).event)
    }

    #[test]
    fn a_message_is_translated() {
        let event = r#"{"type":"message","id":"m1","conversation":"c1","contact":{"id":"u1","name":"Jane"},
                        "text":"hi","at":1735689600000,"mood":"calm"}"#;
        let Event::Message(message) = one(event).unwrap() else {
            panic!("not a message")
        };
        assert_eq!(message.content, Content::Text("hi".into()));
        assert_eq!(message.contact.display_name.as_deref(), Some("Jane"));
        assert_eq!(
            (message.direction, message.origin),
            (Direction::Inbound, Origin::Contact)
        );
        assert_eq!(message.platform_data.as_deref(), Some(r#"{"mood":"calm"}"#));
    }

    #[test]
    fn every_type_has_its_event() {
        let cases = [
            (
                r#"{"type":"receipt","id":"1","conversation":"c","status":"read","at":1}"#,
                "receipt",
            ),
            (
                r#"{"type":"reaction","id":"1","conversation":"c","contact":{"id":"u"},"message":"m","emoji":"x"}"#,
                "reaction",
            ),
            (
                r#"{"type":"arrival","id":"1","conversation":"c","contact":{"id":"u"},"ref":"spring"}"#,
                "arrival",
            ),
            (r#"{"type":"notice","id":"1","kind":"restricted"}"#, "notice"),
            (r#"{"type":"hologram","id":"1"}"#, "unknown"),
        ];
        for (event, expected) in cases {
            let name = match one(event).unwrap() {
                Event::Message(_) => "message",
                Event::Receipt(_) => "receipt",
                Event::Reaction(_) => "reaction",
                Event::Arrival(_) => "arrival",
                Event::Notice(_) => "notice",
                Event::Unknown(_) => "unknown",
            };
            assert_eq!(name, expected);
        }
    }

    #[test]
    fn one_malformed_event_takes_no_other() {
        let body = br#"{"account":"acme","events":[{"type":"message"},
            {"type":"message","id":"m1","conversation":"c1","contact":{"id":"u1"},"text":"cut \ud83d"}]}"#;
        let events = receive(body).unwrap();
        assert_eq!(events[0].event, Event::Unknown("malformed".into()));
        assert!(
            matches!(&events[1].event, Event::Message(message) if message.content == Content::Text("cut \u{fffd}".into()))
        );
    }

    #[test]
    fn a_body_without_an_account_is_an_error() {
        assert!(receive(br#"{"events":[]}"#).is_err());
        assert!(receive(b"<html>").is_err());
    }
}
