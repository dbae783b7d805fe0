//! Echo with a state of another format: each value has the prefix `2:`. Migrating a state with the key `loop` never
//! returns, and one with the key `refuse` is refused.

use weir_variants::weir_echo::Echo;
use weir_variants::weir_sdk::Connector;
use weir_variants::weir_sdk::abilities::upgrade::{self, Entry};
use weir_variants::weir_sdk::descriptor::Manifest;
use weir_variants::weir_sdk::identity::{self, Profile};
use weir_variants::weir_sdk::inbound::Webhook;
use weir_variants::weir_sdk::outbound::{Draft, Finding, Sent};
use weir_variants::weir_sdk::types::{Channel, Conversation, Failure, InboundEvent};

struct Upgrade;

impl Connector for Upgrade {
    fn describe() -> Manifest {
        let mut manifest = Echo::describe();
        manifest.version = "0.2.0".into();
        manifest.release += 1;
        manifest
    }

    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        Echo::receive(webhook)
    }

    fn prepare(draft: Draft) -> Vec<Finding> {
        Echo::prepare(draft)
    }

    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        Echo::send(channel, conversation, draft)
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

impl upgrade::Guest for Upgrade {
    fn migrate(_: String, state: Vec<Entry>) -> Result<Vec<Entry>, String> {
        let has = |key: &str| state.iter().any(|entry| entry.key == key);
        while has("loop") {
            std::hint::black_box(&state);
        }
        if has("refuse") {
            return Err("a state with `refuse` is not taken over".into());
        }
        let translate = |Entry { key, value }| Entry {
            key,
            value: [b"2:", &value[..]].concat(),
        };
        Ok(state.into_iter().map(translate).collect())
    }
}

weir_variants::weir_sdk::export!(Upgrade: upgrade);
