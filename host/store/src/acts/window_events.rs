//! Loads the conversations that are due for a window event.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_domain::channel::Channel;
use weir_domain::id::ChannelId;
use weir_domain::policy::PolicySet;
use weir_domain::record::window_events::{self, DueConversation};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::acts::apply;
use crate::db::Db;
use crate::tables::{channels, conversations};

/// Appends the due window events of up to `limit` conversations. Returns the number of conversations processed.
pub(crate) fn sweep(db: &Db<'_>, policy_sets: &BTreeMap<String, PolicySet>, limit: u32, now: Timestamp) -> Result<u32> {
    let mut known: BTreeMap<ChannelId, Arc<Channel>> = BTreeMap::new();
    let mut due = Vec::new();
    for stored in conversations::due(db, limit, now)? {
        let id = stored.conversation.channel_id;
        let channel = match known.get(&id) {
            Some(channel) => Arc::clone(channel),
            None => {
                let channel = Arc::new(channels::needed(db, id)?);
                known.insert(id, Arc::clone(&channel));
                channel
            }
        };
        let rules = policy_sets.get(&channel.app).map(|policies| policies.rules(&channel));
        due.push(DueConversation { stored, channel, rules });
    }
    let viewed = u32::try_from(due.len()).unwrap_or(u32::MAX);
    apply(db, window_events::sweep(due, now), now)?;
    Ok(viewed)
}
