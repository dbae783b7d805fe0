//! Events: one log, read by endpoints, streams and the API alike. The shapes of what they carry are here by family, apart from
//! those of the record and of the API, so that none of the three changes with another.

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

pub use channel::{Channel, ChannelNotice, ChannelTold, PolicyOverride};
pub use connector::{ToldSignature, ToldVersion};
pub use contact::{Contact, ContactCreated, ErasedContact, Removed};
pub use conversation::{
    Budget, ClosedBy, ClosedConversation, Conversation, ConversationContact, ConversationOpened, Refusal, Window,
};
pub use endpoint::{ExampleEndpoint, ToldEndpoint};
pub use media::MediaFetched;
pub use message::{Attachment, Button, Content, Message, MessageError, PlatformWords};
pub use reaction::{Reaction, ReactionContact};
pub use referral::{Referral, ReferralReceived};

use crate::id::{ChannelId, ConversationId, EventId};
use crate::time::Timestamp;

/// Which events a reader wants; an empty list is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Of these types.
    pub types: BTreeSet<String>,
    /// Of these channels.
    pub channels: BTreeSet<ChannelId>,
    /// Of this conversation; for reading the log, never of an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
}

impl EventFilter {
    /// Whether an event is wanted.
    pub fn wants(&self, kind: EventType, channel: Option<ChannelId>) -> bool {
        (self.types.is_empty() || self.types.contains(kind.as_str()))
            && (self.channels.is_empty() || channel.is_some_and(|channel| self.channels.contains(&channel)))
    }
}

macro_rules! event_types {
    ($(#[doc = $meaning:literal] $variant:ident = $name:literal,)*) => {
        /// Every event that Weir tells. The names are for ever.
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

            /// When it is told, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii(),)* }
            }

            /// The type of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

// By hand, since the derive does not read names that a macro makes.
impl utoipa::PartialSchema for EventType {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("The type of an event. The names are for ever; more may come."))
            .enum_values(Some(Self::ALL.iter().map(|kind| kind.as_str())))
            .into()
    }
}

impl ToSchema for EventType {}

impl EventType {
    /// Whether it shows a message.
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
    /// The platform took it.
    MessageSent = "message.sent",
    /// It reached the phone.
    MessageDelivered = "message.delivered",
    /// It was read.
    MessageRead = "message.read",
    /// It will not be sent.
    MessageFailed = "message.failed",
    /// It may or may not have been sent.
    MessageUncertain = "message.uncertain",
    /// It was taken back before it left.
    MessageCancelled = "message.cancelled",
    /// Somebody reacted to a message.
    ReactionAdded = "reaction.added",
    /// Somebody took a reaction back.
    ReactionRemoved = "reaction.removed",
    /// A contact entered the record.
    ContactCreated = "contact.created",
    /// A contact's name or picture changed.
    ContactUpdated = "contact.updated",
    /// A contact and all that was theirs is gone.
    ContactErased = "contact.erased",
    /// A conversation began, or began again.
    ConversationOpened = "conversation.opened",
    /// Nothing can pass in a conversation any more: its channel was deleted, or its contact erased.
    ConversationClosed = "conversation.closed",
    /// The platform lets the business write.
    WindowOpened = "window.opened",
    /// The platform lets the business write for some hours more.
    WindowClosing = "window.closing",
    /// The platform does not let the business write any more, until the contact writes.
    WindowClosed = "window.closed",
    /// A contact came by an ad or a link.
    ReferralReceived = "referral.received",
    /// The bytes of an attachment are here.
    MediaStored = "media.stored",
    /// The bytes of an attachment cannot be had.
    MediaFailed = "media.failed",
    /// An account was connected.
    ChannelConnected = "channel.connected",
    /// Something of a channel changed.
    ChannelUpdated = "channel.updated",
    /// The operator holds a channel.
    ChannelPaused = "channel.paused",
    /// A channel works in part.
    ChannelDegraded = "channel.degraded",
    /// A person must authorize it again.
    ChannelReauthorizationRequired = "channel.reauthorization_required",
    /// It works again.
    ChannelRecovered = "channel.recovered",
    /// It is gone; its history stays.
    ChannelDeleted = "channel.deleted",
    /// A message exists that the platform hides.
    ChannelInboundWithheld = "channel.inbound_withheld",
    /// A version of a connector was installed.
    ConnectorStaged = "connector.staged",
    /// A version serves a share of the channels.
    ConnectorCanary = "connector.canary",
    /// A version serves all channels.
    ConnectorPromoted = "connector.promoted",
    /// The version before serves again.
    ConnectorRolledBack = "connector.rolled_back",
    /// A version was quarantined for its failures.
    ConnectorQuarantined = "connector.quarantined",
    /// An endpoint has taken none of its events for a while.
    EndpointFailing = "endpoint.failing",
    /// An endpoint gets no more events until somebody says so.
    EndpointDisabled = "endpoint.disabled",
    /// An endpoint takes its events again.
    EndpointRecovered = "endpoint.recovered",
}

/// What an event carries. Only the shapes of this module are: a change of any other type changes no event.
pub trait EventData: Serialize {}

/// A fact, as it stands in the log and is handed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Stable over all handings-over: the receiver's key against duplicates.
    pub id: EventId,
    /// What kind of fact.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it became one.
    pub timestamp: Timestamp,
    /// Whose it is.
    pub workspace_id: String,
    /// The channel it is about, if any.
    pub channel_id: Option<ChannelId>,
    /// The conversation it is about, if any; handing-over keeps order within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Its place in the log: rises, may skip.
    pub sequence: i64,
    /// The thing itself, as the API shows it: a message, a channel, a contact.
    pub data: serde_json::Value,
}

#[cfg(test)]
mod tests;
