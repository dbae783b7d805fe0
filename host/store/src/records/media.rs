//! Stored media, and media still to be fetched.

use weir_domain::caller::Caller;
use weir_domain::channel::Channel;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ChannelId, MediaId, MessageId};
use weir_domain::inbound::RemoteMedia;
use weir_domain::message::MediaStatus;
use weir_domain::time::Timestamp;

/// Stored media. The bytes are in the media store, under the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The id.
    pub id: MediaId,
    /// The workspace that owns them.
    pub workspace_id: String,
    /// The channel of the message that brought them; `None` for an upload, which belongs to the workspace.
    pub channel_id: Option<ChannelId>,
    /// As sniffed; `None` until they are stored.
    pub mime_type: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
    /// The file name that a person gave.
    pub filename: Option<String>,
    /// Whether they are stored.
    pub status: MediaStatus,
    /// When the row was created.
    pub created_at: Timestamp,
}

impl Media {
    /// Whether a caller may access them. An upload belongs to no channel: a caller with its id got it from the creator.
    pub fn is_of(&self, caller: &Caller) -> bool {
        self.workspace_id == caller.workspace_id() && (self.channel_id.is_none() || caller.sees(self.channel_id))
    }
}

/// An attachment to be fetched.
#[derive(Clone, Debug)]
pub struct MediaFetch {
    /// The id of the media.
    pub id: MediaId,
    /// The message that contains them.
    pub message_id: MessageId,
    /// The platform's id of the message.
    pub message_platform_id: String,
    /// The message's conversation.
    pub conversation: Conversation,
    /// The channel that received it.
    pub channel: Channel,
    /// The platform's reference to them.
    pub remote: RemoteMedia,
    /// The kind of content, as in [`weir_domain::message::ContentKind`]; `fallback` for media behind fallback content.
    pub kind: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}
