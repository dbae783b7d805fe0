//! The trait that every connector implements, and the traits of the optional capabilities.

use crate::bindings::exports::weir::connector as exports;
use crate::descriptor::Manifest;
use crate::identity::{self, Profile};
use crate::inbound::Webhook;
use crate::outbound::{self, Draft, Sent};
use crate::types::{Channel, Conversation, Failure, InboundEvent};

/// The functions that every connector implements, as specified in `wit/v0.2/connector.wit`: what the host has done
/// before each call, and what a call may not do.
pub trait Connector {
    /// Returns this connector's manifest. Pure, and the same every time.
    fn describe() -> Manifest;

    /// Translates one webhook into events, oldest first. Pure and total: unknown content becomes an `unknown` event.
    ///
    /// # Errors
    /// The reason if the webhook could not be read. The webhook becomes a dead letter, kept for a later version.
    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String>;

    /// Checks a draft beyond what the manifest's content rules can express. Pure; an empty list accepts the draft.
    fn prepare(_draft: Draft) -> Vec<outbound::Finding> {
        Vec::new()
    }

    /// Sends one message, with one request of class `message-send`.
    ///
    /// # Errors
    /// Whether the platform acted, and how to continue.
    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure>;

    /// Reads the account's own profile while it is being connected.
    ///
    /// # Errors
    /// Why it could not be read.
    fn who_am_i(channel: Channel) -> Result<Profile, Failure>;

    /// Sets up the account's requirements at the platform. Idempotent.
    ///
    /// # Errors
    /// The parts of the set-up that failed.
    fn connected(_channel: Channel) -> Result<(), Failure> {
        Ok(())
    }

    /// Checks the account's set-up for the diagnostics of a channel.
    ///
    /// # Errors
    /// Why the checks failed.
    fn check(_channel: Channel) -> Result<Vec<identity::Finding>, Failure> {
        Ok(Vec::new())
    }
}

impl<T: Connector> exports::descriptor::Guest for T {
    fn describe() -> Manifest {
        <T as Connector>::describe()
    }
}

impl<T: Connector> exports::inbound::Guest for T {
    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        <T as Connector>::receive(webhook)
    }
}

impl<T: Connector> exports::outbound::Guest for T {
    fn prepare(draft: Draft) -> Vec<outbound::Finding> {
        <T as Connector>::prepare(draft)
    }

    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        <T as Connector>::send(channel, conversation, draft)
    }
}

impl<T: Connector> exports::identity::Guest for T {
    fn who_am_i(channel: Channel) -> Result<Profile, Failure> {
        <T as Connector>::who_am_i(channel)
    }

    fn connected(channel: Channel) -> Result<(), Failure> {
        <T as Connector>::connected(channel)
    }

    fn check(channel: Channel) -> Result<Vec<identity::Finding>, Failure> {
        <T as Connector>::check(channel)
    }
}

/// The traits that a connector implements for each capability it names in [`export!`](crate::export!). Each is the
/// interface of the same name in `wit/v0.2/optional.wit`; the modules contain their records.
pub mod abilities {
    pub use crate::bindings::ads::exports::weir::connector::ads::{self, Guest as Ads};
    pub use crate::bindings::automations::exports::weir::connector::automations::{self, Guest as Automations};
    #[cfg(not(feature = "v0_1"))]
    pub use crate::bindings::contacts::exports::weir::connector::contacts::{self, Guest as Contacts};
    pub use crate::bindings::history::exports::weir::connector::history::{self, Guest as History};
    pub use crate::bindings::media_transfer::exports::weir::connector::media_transfer::{self, Guest as MediaTransfer};
    pub use crate::bindings::polling::exports::weir::connector::polling::{self, Guest as Polling};
    pub use crate::bindings::probing::exports::weir::connector::probing::{self, Guest as Probing};
    pub use crate::bindings::signals::exports::weir::connector::signals::{self, Guest as Signals};
    pub use crate::bindings::upgrade::exports::weir::connector::upgrade::{self, Guest as Upgrade};
}
