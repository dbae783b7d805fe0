//! The rows that are not rules: plain data, as the methods of [`crate::Store`] take and give them.

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
    /// How many at most.
    pub limit: u32,
    /// Where to go on: a cursor that a list gave. One that cannot be read begins anew.
    pub cursor: Option<String>,
}

/// Which conversations.
#[derive(Clone, Debug, Default)]
pub struct ConversationFilter {
    /// Of these channels; of all if empty.
    pub channels: BTreeSet<ChannelId>,
    /// Whose contact's name or handle contains this, in ASCII whatever its case.
    pub name: Option<String>,
}

impl ConversationFilter {
    /// Whether a conversation has the name that is looked for.
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

/// What a list gives.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}
