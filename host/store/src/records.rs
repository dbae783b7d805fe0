//! Plain data without rules, as the methods of [`crate::Store`] take and return it.

mod connecting;
mod endpoints;
mod inbound;
mod ledger;
mod media;
mod nodes;
mod outbox;
mod rates;
mod registry;
mod work;

pub use connecting::*;
pub use endpoints::*;
pub use inbound::*;
pub use ledger::*;
pub use media::*;
pub use nodes::*;
pub use outbox::*;
pub use rates::*;
pub use registry::*;
pub use work::*;

use std::collections::BTreeSet;

use weir_domain::conversation::Conversation;
use weir_domain::id::ChannelId;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The most rows to return.
    pub limit: u32,
    /// Where to continue: a cursor that a list returned. An invalid one starts at the beginning.
    pub cursor: Option<String>,
}

/// A filter of conversations.
#[derive(Clone, Debug, Default)]
pub struct ConversationFilter {
    /// Of these channels; of all if empty.
    pub channels: BTreeSet<ChannelId>,
    /// Whose contact's name or handle contains this; ASCII case is ignored.
    pub name: Option<String>,
}

impl ConversationFilter {
    /// Whether a conversation matches the name.
    pub fn wants(&self, conversation: &Conversation) -> bool {
        let Some(words) = &self.name else { return true };
        let words = words.to_ascii_lowercase();
        let contact = &conversation.contact;
        [&contact.display_name, &contact.username]
            .into_iter()
            .flatten()
            .any(|name| name.to_ascii_lowercase().contains(&words))
    }
}

/// One page of results.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to continue; `None` at the end.
    pub next: Option<String>,
}
