//! Variants of the connectors, each of which changes one thing: for the tests that stage, start canaries, promote and
//! roll back.
//!
//! A variant is one file of `examples`, built as a component of its own; its head states the change.
#![forbid(unsafe_code)]
// A failure is a record of the interface, and boxing it here would only unbox it at the boundary.
#![allow(clippy::result_large_err)]

use weir_sdk::descriptor::Manifest;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::{Channel, Conversation, Failure, InboundEvent};
use weir_tiktok::TikTok;

pub use {weir_echo, weir_sdk, weir_tiktok};

/// The change that a variant makes to the TikTok connector.
pub trait Variant {
    /// Its version.
    const NUMBER: &'static str;

    /// Changes the manifest.
    fn manifest(_manifest: &mut Manifest) {}

    /// Changes the events of a webhook.
    fn received(_events: &mut Vec<InboundEvent>) {}

    /// Sends a message.
    ///
    /// # Errors
    /// As the connector's.
    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        <TikTok as weir_sdk::Connector>::send(channel, conversation, draft)
    }
}

/// A state that names the version that owns it, so that a version that runs on another's state fails.
pub mod owned {
    use weir_sdk::abilities::upgrade::Entry;
    use weir_sdk::outbound::{Draft, Sent};
    use weir_sdk::state;
    use weir_sdk::types::{Channel, Conversation, Failure};
    use weir_tiktok::TikTok;

    const OWNER: &str = "owner";

    /// Sends a message, unless the state is another version's.
    ///
    /// # Errors
    /// As the connector's, and permanently on a state of another version.
    pub fn send(number: &str, channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        let fails = |words: String| Failure::permanent("connector_failed", words);
        match state::get(OWNER).map_err(|error| fails(format!("{error:?}")))? {
            Some(owner) if owner != number.as_bytes() => {
                let owner = String::from_utf8_lossy(&owner).into_owned();
                return Err(fails(format!("{number} runs on a state of {owner}")));
            }
            Some(_) => {}
            None => state::set(OWNER, number.as_bytes()).map_err(|error| fails(format!("{error:?}")))?,
        }
        <TikTok as weir_sdk::Connector>::send(channel, conversation, draft)
    }

    /// Converts a state to this version's format.
    pub fn migrate(number: &str, state: Vec<Entry>) -> Vec<Entry> {
        let owned = |entry: Entry| match entry.key.as_str() {
            OWNER => Entry {
                value: number.into(),
                ..entry
            },
            _ => entry,
        };
        state.into_iter().map(owned).collect()
    }
}

/// Exports a [`Variant`] as a component: the TikTok connector except for its change.
#[macro_export]
macro_rules! tiktok {
    ($Connector:ident $(: $($more:ident),+)?) => {
        const _: () = {
            use $crate::Variant;
            use $crate::weir_sdk::Connector;
            use $crate::weir_sdk::abilities::{Ads, Automations, Contacts, History, MediaTransfer, Probing, Signals};
            use $crate::weir_sdk::abilities::{automations, history, media_transfer, probing, signals};
            use $crate::weir_sdk::descriptor::Manifest;
            use $crate::weir_sdk::identity::{Finding as Check, Profile};
            use $crate::weir_sdk::inbound::Webhook;
            use $crate::weir_sdk::outbound::{Draft, Finding, Sent};
            use $crate::weir_sdk::types::{Channel, Contact, Conversation, Failure, InboundEvent, Json, Media, Referral, Timestamp};
            use $crate::weir_tiktok::TikTok;

            impl Connector for $Connector {
                fn describe() -> Manifest {
                    let mut manifest = TikTok::describe();
                    manifest.version = <$Connector as Variant>::NUMBER.into();
                    manifest.release += 1;
                    <$Connector as Variant>::manifest(&mut manifest);
                    manifest
                }
                fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
                    let mut events = TikTok::receive(webhook)?;
                    <$Connector as Variant>::received(&mut events);
                    Ok(events)
                }
                fn prepare(draft: Draft) -> Vec<Finding> {
                    <TikTok as Connector>::prepare(draft)
                }
                fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
                    <$Connector as Variant>::send(channel, conversation, draft)
                }
                fn who_am_i(channel: Channel) -> Result<Profile, Failure> {
                    <TikTok as Connector>::who_am_i(channel)
                }
                fn connected(channel: Channel) -> Result<(), Failure> {
                    <TikTok as Connector>::connected(channel)
                }
                fn check(channel: Channel) -> Result<Vec<Check>, Failure> {
                    <TikTok as Connector>::check(channel)
                }
            }
            impl Signals for $Connector {
                fn show(channel: Channel, conversation: Conversation, signal: signals::Signal) -> Result<(), Failure> {
                    TikTok::show(channel, conversation, signal)
                }
            }
            impl MediaTransfer for $Connector {
                fn locate(
                    channel: Channel,
                    conversation: Conversation,
                    message_id: String,
                    media: Media,
                ) -> Result<media_transfer::Location, Failure> {
                    TikTok::locate(channel, conversation, message_id, media)
                }
            }
            impl Probing for $Connector {
                fn probe(channel: Channel, conversation: Conversation) -> Result<Vec<probing::Capability>, Failure> {
                    TikTok::probe(channel, conversation)
                }
            }
            impl History for $Connector {
                fn conversations(channel: Channel, cursor: Option<String>) -> Result<history::ConversationPage, Failure> {
                    TikTok::conversations(channel, cursor)
                }
                fn messages(
                    channel: Channel,
                    conversation: Conversation,
                    since: Timestamp,
                ) -> Result<history::MessagePage, Failure> {
                    TikTok::messages(channel, conversation, since)
                }
            }
            impl Contacts for $Connector {
                fn look_up(channel: Channel, conversation: Conversation) -> Result<Option<Contact>, Failure> {
                    TikTok::look_up(channel, conversation)
                }
            }
            impl Automations for $Connector {
                fn get(channel: Channel, kind: String) -> Result<Vec<automations::Automation>, Failure> {
                    TikTok::get(channel, kind)
                }
                fn put(channel: Channel, automation: automations::Automation) -> Result<Option<String>, Failure> {
                    TikTok::put(channel, automation)
                }
                fn remove(channel: Channel, kind: String, id: String) -> Result<(), Failure> {
                    TikTok::remove(channel, kind, id)
                }
            }
            impl Ads for $Connector {
                fn preview(channel: Channel, referral: Referral) -> Result<Option<Json>, Failure> {
                    TikTok::preview(channel, referral)
                }
            }
        };
        $crate::weir_sdk::export!($Connector: signals, media_transfer, probing, history, contacts, automations, ads $($(, $more)+)?);
    };
}
