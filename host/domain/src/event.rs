//! Events: one log, read by endpoints, streams and the API. The documents that events carry are here by family,
//! separate from the types of the database and of the API, so that each of the three can change independently.

mod channel;
mod connector;
mod contact;
mod conversation;
mod endpoint;
mod media;
mod message;
mod reaction;
mod referral;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use channel::{Channel, ChannelEventData, ChannelNotice, PolicyOverride};
pub use connector::{ConnectorVersionEventData, SignatureEventData};
pub use contact::{Contact, ContactCreated, ErasedContact, Removed};
pub use conversation::{
    Budget, ClosedBy, ClosedConversation, Conversation, ConversationContact, ConversationOpened, Refusal, Window,
};
pub use endpoint::{EndpointEventData, ExampleEndpoint};
pub use media::MediaFetched;
pub use message::{Attachment, Button, Content, Message, MessageError, PlatformError};
pub use reaction::{Reaction, ReactionContact};
pub use referral::{Referral, ReferralReceived};

use crate::id::{ChannelId, ConversationId, EventId};
use crate::time::Timestamp;

/// The events that a reader requests; an empty list is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Of these types.
    pub types: BTreeSet<String>,
    /// Of these channels.
    pub channels: BTreeSet<ChannelId>,
    /// Of this conversation; used for reading the log, never for an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

impl EventFilter {
    /// Whether an event matches.
    pub fn wants(&self, kind: EventType, channel: Option<ChannelId>) -> bool {
        (self.types.is_empty() || self.types.contains(kind.as_str()))
            && (self.channels.is_empty() || channel.is_some_and(|channel| self.channels.contains(&channel)))
    }
}

macro_rules! event_types {
    ($(#[doc = $meaning:literal] $variant:ident = $name:literal,)*) => {
        /// Every type of event. The names never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum EventType {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl EventType {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// When the event occurs, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii(),)* }
            }

            /// The type with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

// Implemented manually, since the derive does not read names that a macro generates.
impl utoipa::PartialSchema for EventType {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("The type of an event. The names never change; more may be added."))
            .enum_values(Some(Self::ALL.iter().map(|kind| kind.as_str())))
            .into()
    }
}

impl ToSchema for EventType {}

impl EventType {
    /// Whether its data is a message.
    pub fn carries_message(self) -> bool {
        matches!(
            self,
            Self::MessageReceived
                | Self::MessageEchoed
                | Self::MessageQueued
                | Self::MessageSent
                | Self::MessageDelivered
                | Self::MessageRead
                | Self::MessageFailed
                | Self::MessageUncertain
                | Self::MessageCancelled
        )
    }
}

event_types! {
    /// The contact wrote.
    MessageReceived = "message.received",
    /// The business wrote from elsewhere: the platform's app, web, or an automation.
    MessageEchoed = "message.echoed",
    /// A message entered the outbox.
    MessageQueued = "message.queued",
    /// The platform accepted the message.
    MessageSent = "message.sent",
    /// The message was delivered to the contact's device.
    MessageDelivered = "message.delivered",
    /// The contact read the message.
    MessageRead = "message.read",
    /// The message failed and will not be sent.
    MessageFailed = "message.failed",
    /// It is unknown whether the message was sent.
    MessageUncertain = "message.uncertain",
    /// The message was cancelled before it was sent.
    MessageCancelled = "message.cancelled",
    /// A person reacted to a message.
    ReactionAdded = "reaction.added",
    /// A person removed a reaction.
    ReactionRemoved = "reaction.removed",
    /// A contact was created.
    ContactCreated = "contact.created",
    /// A contact's name or picture changed.
    ContactUpdated = "contact.updated",
    /// A contact was erased with all their data.
    ContactErased = "contact.erased",
    /// A conversation was opened, or opened again.
    ConversationOpened = "conversation.opened",
    /// A conversation ended: its channel was deleted, or its contact was erased.
    ConversationClosed = "conversation.closed",
    /// The messaging window opened: the business may write.
    WindowOpened = "window.opened",
    /// The messaging window closes in some hours.
    WindowClosing = "window.closing",
    /// The messaging window closed: the business may not write until the contact does.
    WindowClosed = "window.closed",
    /// A contact arrived by an ad or a link.
    ReferralReceived = "referral.received",
    /// An attachment was fetched and stored.
    MediaStored = "media.stored",
    /// An attachment could not be fetched.
    MediaFailed = "media.failed",
    /// An account was connected.
    ChannelConnected = "channel.connected",
    /// A channel changed.
    ChannelUpdated = "channel.updated",
    /// The operator paused a channel.
    ChannelPaused = "channel.paused",
    /// A channel works in part.
    ChannelDegraded = "channel.degraded",
    /// A person must reauthorize a channel.
    ChannelReauthorizationRequired = "channel.reauthorization_required",
    /// A channel works again.
    ChannelRecovered = "channel.recovered",
    /// A channel was deleted; its history stays.
    ChannelDeleted = "channel.deleted",
    /// The platform withholds the content of a message.
    ChannelInboundWithheld = "channel.inbound_withheld",
    /// A version of a connector was installed.
    ConnectorStaged = "connector.staged",
    /// A version serves a share of the channels.
    ConnectorCanary = "connector.canary",
    /// A version serves all channels.
    ConnectorPromoted = "connector.promoted",
    /// The previous version serves again.
    ConnectorRolledBack = "connector.rolled_back",
    /// A version was quarantined after crashes or a leaked honeytoken.
    ConnectorQuarantined = "connector.quarantined",
    /// All deliveries to an endpoint have failed for a while.
    EndpointFailing = "endpoint.failing",
    /// An endpoint was disabled; it receives no events until it is enabled again.
    EndpointDisabled = "endpoint.disabled",
    /// An endpoint receives its events again.
    EndpointRecovered = "endpoint.recovered",
}

/// The data of an event. Only the types of this module implement it: a change of any other type changes no event.
pub trait EventData: Serialize {}

/// A fact, as it is in the log and as it is delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// The same in every delivery: use it to detect duplicates.
    pub id: EventId,
    /// The type.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it occurred.
    pub timestamp: Timestamp,
    /// The workspace.
    pub workspace_id: String,
    /// The channel that it concerns, if any.
    pub channel_id: Option<ChannelId>,
    /// The conversation that it concerns, if any; deliveries keep the order within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The position in the log: rises, may skip numbers.
    pub sequence: i64,
    /// The resource, as the API shows it: a message, a channel, a contact.
    pub data: serde_json::Value,
}

#[cfg(test)]
mod tests;
