//! What events carry where it is more, or less, than a thing that the API shows by itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channel::Channel;
use crate::conversation::{Contact, OpenedBy};
use crate::id::{ChannelId, ContactId, ConversationId, MessageId};
use crate::message::{Attachment, Direction, Referral};
use crate::policy::ConversationView;
use crate::time::Timestamp;

/// Somebody reacted to a message, or took that back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    /// The conversation; none if the record does not have it.
    pub conversation_id: Option<ConversationId>,
    /// The platform's id of it.
    pub conversation_platform_id: String,
    /// The message; none if the record does not have it.
    pub message_id: Option<MessageId>,
    /// The platform's id of it.
    pub message_platform_id: String,
    /// The reaction; none if it is a picture.
    pub emoji: Option<String>,
    /// The picture.
    pub url: Option<String>,
    /// Who reacted: `inbound` is the contact.
    pub direction: Direction,
    /// The person on the other side.
    pub contact: ReactionContact,
    /// The platform's time of it.
    pub at: Timestamp,
}

/// The person on the other side of a reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReactionContact {
    /// Its id; none if the record does not have them.
    pub id: Option<ContactId>,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
}

/// What became of an attachment that was with the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MediaFetched {
    /// The attachment, as the message has it now.
    #[serde(flatten)]
    pub media: Attachment,
    /// The message that carries it.
    pub message_id: MessageId,
    /// The conversation of the message.
    pub conversation_id: ConversationId,
    /// Why the bytes cannot be had, in the words of fallback content; only `media.failed` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A contact that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasedContact {
    /// Its id.
    pub id: ContactId,
    /// The account it wrote to.
    pub channel_id: ChannelId,
    /// What went with it.
    #[serde(default)]
    pub removed: Removed,
}

/// What was removed with a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// Conversations that were only with this contact.
    pub conversations: u32,
    /// Messages, of the contact and to it.
    pub messages: u32,
    /// Events, with their deliveries.
    pub events: u32,
    /// Attachments, with their files.
    pub files: u32,
}

/// A conversation in which nothing can pass any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedConversation {
    /// Its id.
    pub id: ConversationId,
    /// The account it went through.
    pub channel_id: ChannelId,
    /// Who it was with.
    pub contact_id: ContactId,
    /// What closed it.
    pub reason: ClosedBy,
}

/// What closed a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// Its channel was deleted. The history stays; connected again, the next message opens it.
    ChannelDeleted,
    /// Its contact was erased, and the conversation with them.
    ContactErased,
}

/// A conversation, and what brought it about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConversationOpened {
    /// The conversation.
    #[serde(flatten)]
    pub conversation: ConversationView,
    /// What brought it about.
    pub reason: OpenedBy,
}

/// A contact that is new, and what brought it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContactCreated {
    /// The contact.
    #[serde(flatten)]
    pub contact: Contact,
    /// What brought it: a click on an ad is `referral`, with no message.
    pub reason: OpenedBy,
}

/// How a contact came, and who it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReferralReceived {
    /// How.
    #[serde(flatten)]
    pub referral: Referral,
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub contact: Contact,
}

/// A channel, and why it is told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelTold {
    /// The channel.
    #[serde(flatten)]
    pub channel: Channel,
    /// Why its status changed, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Days until a person must have authorized it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_left: Option<u32>,
}

/// The platform's word about a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelNotice {
    /// What it is about: `inbound_withheld`.
    pub notice: String,
    /// The platform's own document.
    pub detail: serde_json::Value,
    /// The platform's time of it.
    pub at: Timestamp,
}
