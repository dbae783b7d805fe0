//! Stored bytes, and those still to be fetched.

use weir_domain::caller::Caller;
use weir_domain::channel::Channel;
use weir_domain::conversation::Conversation;
use weir_domain::id::{ChannelId, MediaId, MessageId};
use weir_domain::inbound::RemoteMedia;
use weir_domain::message::MediaStatus;
use weir_domain::time::Timestamp;

/// Stored bytes. The bytes themselves are in the media store, under the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The id.
    pub id: MediaId,
    /// The tenant that owns them.
    pub workspace_id: String,
    /// The channel of the message that brought them; none of an upload, which is the workspace's.
    pub channel_id: Option<ChannelId>,
    /// As sniffed; none until they are here.
    pub mime_type: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
    /// As a person named it.
    pub filename: Option<String>,
    /// Whether they are here.
    pub status: MediaStatus,
    /// When the row was made.
    pub created_at: Timestamp,
}

impl Media {
    /// Whether a caller may know of them. An upload is no channel's: whoever learned its id got it from the one who made it.
    pub fn is_of(&self, caller: &Caller) -> bool {
        self.workspace_id == caller.workspace_id() && (self.channel_id.is_none() || caller.sees(self.channel_id))
    }
}

/// An attachment to be fetched.
#[derive(Clone, Debug)]
pub struct MediaFetch {
    /// Where the bytes go.
    pub id: MediaId,
    /// The message that names them.
    pub message_id: MessageId,
    /// The platform's id of the message.
    pub message_platform_id: String,
    /// Where it stands.
    pub conversation: Conversation,
    /// Through what it came.
    pub channel: Channel,
    /// How the platform names them.
    pub remote: RemoteMedia,
    /// What kind of content they are, as in [`weir_domain::message::ContentKind`]; `fallback` for bytes behind fallback content.
    pub kind: String,
    /// Which try this is, from 1.
    pub attempt: u32,
}
