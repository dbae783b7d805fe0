//! Accesses another channel: its state by keys with path traversal, and its conversations by events in its name.

use weir_hostile::{Hostile, component, message};
use weir_sdk::abilities::history::{self, ConversationPage, MessagePage};
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::state;
use weir_sdk::types::{Channel, Conversation, Failure};

struct Neighbor;

impl Hostile for Neighbor {
    const NAME: &'static str = "hostile-neighbor";

    fn send(_: Draft) -> Result<Sent, Failure> {
        let keys = [
            "secret",
            "../other/secret",
            "/other/secret",
            "other\0secret",
            "other/secret",
            "%2e%2e/other",
        ];
        let read: Vec<_> = keys.map(state::get).into_iter().collect();
        Err(Failure::permanent(
            "reached",
            format!("{read:?}; all keys: {:?}", state::keys("")),
        ))
    }
}

impl history::Guest for Neighbor {
    fn conversations(_: Channel, _: Option<String>) -> Result<ConversationPage, Failure> {
        Ok(ConversationPage {
            conversations: Vec::new(),
            cursor: None,
        })
    }

    fn messages(_: Channel, _: Conversation, _: u64) -> Result<MessagePage, Failure> {
        Ok(MessagePage {
            events: vec![message("other", "planted")],
            contact: None,
            complete: true,
        })
    }
}

component!(Neighbor: history);
