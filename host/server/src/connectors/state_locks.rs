//! Locks on channels' states: calls share one, from reading a state to writing it; a change of versions has it
//! exclusively, so that no call writes in the format of a version that no longer owns the state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use weir_domain::id::ChannelId;
use weir_domain::limits;

/// A call's use of a state, until it is dropped.
pub(crate) type StateUse = OwnedRwLockReadGuard<()>;

/// The states in use, by channel.
#[derive(Debug, Default)]
pub(crate) struct StateLocks(Mutex<HashMap<ChannelId, Weak<RwLock<()>>>>);

impl StateLocks {
    fn of(&self, channel: ChannelId) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state_lock) = locks.get(&channel).and_then(Weak::upgrade) {
            return state_lock;
        }
        // Before the map grows, so that its size stays close to the number in use.
        if locks.len() == locks.capacity() {
            locks.retain(|_, state_lock| state_lock.strong_count() > 0);
        }
        let state_lock = Arc::default();
        locks.insert(channel, Arc::downgrade(&state_lock));
        state_lock
    }

    /// For a call. Waits while the state moves.
    pub(crate) async fn share(&self, channel: ChannelId) -> StateUse {
        self.of(channel).read_owned().await
    }

    /// For a change of versions. `None` if the running calls do not end within [`limits::STATE_LOCK`].
    pub(crate) async fn alone(&self, channel: ChannelId) -> Option<OwnedRwLockWriteGuard<()>> {
        let state_lock = self.of(channel).write_owned();
        tokio::time::timeout(limits::STATE_LOCK, state_lock).await.ok()
    }
}
