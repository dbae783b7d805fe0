//! All channels of a workspace.

use std::collections::BTreeSet;

use weir_domain::channel::Channel;
use weir_domain::limits;
use weir_store::{Page, StoreError};

use crate::core::Core;

/// Channels processed at a time; of a workspace with more, the first of them.
pub(crate) const CHANNELS: usize = 10_000;

impl Core {
    /// A workspace's channels, [`CHANNELS`] at most.
    pub(crate) async fn channels_of(&self, workspace: &str) -> Result<Vec<Channel>, StoreError> {
        let mut channels = Vec::new();
        let mut cursor = None;
        loop {
            let page = Page {
                limit: limits::PAGE,
                cursor,
            };
            let listed = self.store.channels(workspace, BTreeSet::new(), false, page).await?;
            channels.extend(listed.rows);
            if listed.next.is_none() || channels.len() >= CHANNELS {
                return Ok(channels);
            }
            cursor = listed.next;
        }
    }
}
