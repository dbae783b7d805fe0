//! Echo with faults: it misbehaves when a message's text is one of these triggers, so that the host's tests meet each
//! fault in a real component.
//!
//! In `receive`: `trap`, `loop`, `grow` (memory without end), `flood` (ten thousand log lines), `http` (the network in
//! a pure call; the host's error is logged). In `send`: `trap-before` and `trap-after` (the request), `loop`, `twice`
//! (a second request on one permit; the host's error is logged), `elsewhere` (a URL that no route covers), `state`
//! (sends the count of such sends), `hoard` (more state than the limit).

use weir_sdk::abilities::Polling;
use weir_sdk::abilities::polling::Batch;
use weir_sdk::descriptor::Manifest;
use weir_sdk::identity::{self, Profile};
use weir_sdk::inbound::Webhook;
use weir_sdk::outbound::{Draft, Finding, Sent};
use weir_sdk::types::{Channel, Content, Conversation, Failure, InboundEvent};
use weir_sdk::{Connector, Repeat, http, state};

use crate::{Echo, poll, receive};

/// Echo with its triggers.
pub struct Mischief;

impl Connector for Mischief {
    fn describe() -> Manifest {
        Echo::describe()
    }

    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        for text in receive::texts(&webhook) {
            match text.as_str() {
                "trap" => trap(),
                "loop" => spin(),
                "grow" => grow(),
                "flood" => flood(),
                "http" => weir_sdk::info!("in receive: {:?}", http::get(crate::manifest::ME_URL).fetch()),
                _ => {}
            }
        }
        Echo::receive(webhook)
    }

    fn prepare(draft: Draft) -> Vec<Finding> {
        Echo::prepare(draft)
    }

    fn send(channel: Channel, conversation: Conversation, mut draft: Draft) -> Result<Sent, Failure> {
        let word = match &draft.content {
            Content::Text(text) => text.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "trap-before" => trap(),
            "loop" => spin(),
            "elsewhere" => {
                http::get("https://elsewhere.example/")
                    .fetch()
                    .map_err(|error| Failure::without_answer(&error, Repeat::Never))?;
            }
            "state" => draft.content = Content::Text(count()?.to_string()),
            "hoard" => weir_sdk::info!("hoarding: {:?}", state::set("hoard", &vec![1; 65 << 10])),
            _ => {}
        }
        let sent = Echo::send(channel.clone(), conversation.clone(), draft.clone());
        match word.as_str() {
            "trap-after" => trap(),
            "twice" => weir_sdk::info!("a second time: {:?}", Echo::send(channel, conversation, draft)),
            _ => {}
        }
        sent
    }

    fn who_am_i(channel: Channel) -> Result<Profile, Failure> {
        Echo::who_am_i(channel)
    }

    fn connected(channel: Channel) -> Result<(), Failure> {
        Echo::connected(channel)
    }

    fn check(channel: Channel) -> Result<Vec<identity::Finding>, Failure> {
        Echo::check(channel)
    }
}

impl Polling for Mischief {
    fn poll(channel: Channel, cursor: Option<String>) -> Result<Batch, Failure> {
        poll::poll(&channel, cursor)
    }
}

/// Ends the instance: in a component a panic is a trap.
fn trap() {
    panic!("trap requested");
}

fn spin() {
    let mut turns: u64 = 0;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn grow() {
    // One mebibyte at a time, written to, so that every page is allocated.
    const STEP: usize = 1 << 20;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1; STEP]));
    }
}

fn flood() {
    // Many times the host's limit, but finished well within the time limit of a call, so that the call survives.
    const LINES: u32 = 10_000;
    for line in 0..LINES {
        weir_sdk::warn!("flood line {line}");
    }
}

/// Counts the sends of this channel, in its state.
fn count() -> Result<u64, Failure> {
    const KEY: &str = "sends";
    let failed = |error: state::Error| Failure::permanent("connector_failed", format!("{error:?}"));
    let before = state::get(KEY)
        .map_err(failed)?
        .and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<u64>().ok());
    let now = before.unwrap_or(0) + 1;
    state::set(KEY, now.to_string().as_bytes()).map_err(failed)?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use weir_sdk::testkit::Host;

    use super::*;
    use crate::manifest::MESSAGES_URL;

    fn send(text: &str) -> Result<Sent, Failure> {
        let channel = Channel {
            platform_id: "acme".into(),
            username: None,
            country: None,
            settings: "{}".into(),
            callback_url: String::new(),
        };
        let conversation = Conversation {
            platform_id: "c1".into(),
            contact_id: None,
            answered: true,
        };
        Mischief::send(
            channel,
            conversation,
            Draft {
                content: Content::Text(text.into()),
                reply_to: None,
            },
        )
    }

    #[test]
    fn second_permit_use_is_refused() {
        let host = Host::at(0);
        host.enforce(&Echo::describe());
        host.permit_one();
        host.answer("POST", MESSAGES_URL, 200, r#"{"id":"m1"}"#);
        assert_eq!(send("twice").unwrap().platform_id, "m1");
        assert_eq!(host.requests().len(), 2);
        assert!(host.lines()[0].1.contains("no permit is left"), "{:?}", host.lines());
    }

    #[test]
    fn a_url_without_a_route_is_refused() {
        let host = Host::at(0);
        host.enforce(&Echo::describe());
        host.permit_one();
        assert_eq!(send("elsewhere").unwrap_err().code, "connector_failed");
    }

    #[test]
    fn sends_are_counted_in_state() {
        let host = Host::at(0);
        for id in ["m1", "m2"] {
            host.answer("POST", MESSAGES_URL, 200, format!(r#"{{"id":"{id}"}}"#));
            send("state").unwrap();
        }
        assert_eq!(host.json_body(1)["text"], "2");
    }
}
