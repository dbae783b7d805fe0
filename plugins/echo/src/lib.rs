//! The smallest connector: a template for authors, and the test double of the host's tests.
//!
//! Its platform, Echo, is fictional: an account has one token, webhooks are signed, and one URL accepts messages. Read
//! [`manifest`](mod@manifest), then [`receive`](mod@receive), then `send` below; that is a whole connector.
//! [`poll`](mod@poll) is an optional capability. The module [`mischief`] is not part of the example.

// As a component, the generated exports are the one exception.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
// A failure is a record of the interface, and boxing it here would only unbox it at the boundary.
#![allow(clippy::result_large_err)]

pub mod manifest;
pub mod mischief;
pub mod poll;
pub mod receive;

use serde_json::json;
use weir_sdk::descriptor::Manifest;
use weir_sdk::identity::Profile;
use weir_sdk::inbound::Webhook;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::{Channel, Content, Conversation, Failure, InboundEvent};
use weir_sdk::{Connector, Repeat, http};

#[cfg(feature = "component")]
use mischief::Mischief;

/// The connector for Echo.
pub struct Echo;

impl Connector for Echo {
    fn describe() -> Manifest {
        manifest::manifest()
    }

    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        receive::receive(&webhook.body)
    }

    fn send(_channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        let Content::Text(text) = &draft.content else {
            return Err(Failure::permanent(
                "content_type_not_supported",
                "Echo accepts only text",
            ));
        };
        let answer = http::post(manifest::MESSAGES_URL)
            .json(&json!({ "to": conversation.platform_id, "text": text, "reply_to": draft.reply_to }))
            .fetch()
            .map_err(|error| Failure::without_answer(&error, Repeat::Never))?;
        match answer.status {
            200..=299 => match answer.json().and_then(|mut message| message.id("id")) {
                Some(platform_id) => Ok(Sent { platform_id, at: None }),
                // The platform has acted, and only its echo or its history can return the id.
                None => Err(Failure::uncertain("the response names no message")),
            },
            401 => Err(Failure::reauthorize("Echo refused the token")),
            429 => Err(Failure::retry("rate_limited", "Echo throttles requests", None)),
            400..=499 => Err(Failure::permanent(
                "messaging_restricted",
                format!("Echo refused it with {}", answer.status),
            )),
            status => Err(Failure::uncertain(format!(
                "Echo answered {status}, which leaves unknown whether it acted"
            ))),
        }
    }

    fn who_am_i(_channel: Channel) -> Result<Profile, Failure> {
        let answer = http::get(manifest::ME_URL)
            .fetch()
            .map_err(|error| Failure::without_answer(&error, Repeat::Safe))?;
        let mut account = match (answer.status, answer.json()) {
            (200, Some(account)) => account,
            (401, _) => return Err(Failure::reauthorize("Echo refused the token")),
            (status, _) => {
                return Err(Failure::retry(
                    "platform_unavailable",
                    format!("Echo answered {status}"),
                    None,
                ));
            }
        };
        let Some(platform_id) = account.id("id") else {
            return Err(Failure::permanent("connector_failed", "Echo's answer names no account"));
        };
        Ok(Profile {
            platform_id,
            username: account.filled_text("username"),
            display_name: account.filled_text("name"),
            avatar_url: None,
            account_kind: "business".into(),
            country: None,
            platform_data: account.rest(),
        })
    }
}

// An ordinary connector exports itself; this one lets the tests inject faults.
#[cfg(feature = "component")]
weir_sdk::export!(Mischief: polling);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use weir_sdk::testkit::Host;
    use weir_sdk::types::Verdict;

    use super::*;

    fn send(host: &Host) -> Result<Sent, Failure> {
        host.enforce(&Echo::describe());
        host.permit_one();
        let channel = Channel {
            platform_id: "acme".into(),
            username: None,
            country: None,
            settings: "{}".into(),
            callback_url: "https://weir.example/hooks/echo".into(),
        };
        let conversation = Conversation {
            platform_id: "c1".into(),
            contact_id: None,
            answered: false,
        };
        Echo::send(
            channel,
            conversation,
            Draft {
                content: Content::Text("hello".into()),
                reply_to: None,
            },
        )
    }

    #[test]
    fn a_sent_message_has_the_platforms_id() {
        let host = Host::at(0);
        host.answer("POST", manifest::MESSAGES_URL, 200, r#"{"id":"m1"}"#);
        assert_eq!(send(&host).unwrap().platform_id, "m1");
        assert_eq!(
            host.json_body(0),
            json!({ "to": "c1", "text": "hello", "reply_to": null })
        );
    }

    #[test]
    fn a_failure_says_whether_the_platform_acted() {
        let cases = [
            (200, "{}", Verdict::Uncertain),
            (400, "", Verdict::Permanent),
            (401, "", Verdict::Reauthorize),
            (429, "", Verdict::Retry(None)),
            (500, "", Verdict::Uncertain),
            (502, "<html>", Verdict::Uncertain),
        ];
        for (status, body, verdict) in cases {
            let host = Host::at(0);
            host.answer("POST", manifest::MESSAGES_URL, status, body);
            assert_eq!(send(&host).unwrap_err().verdict, verdict, "{status}");
        }
    }
}
