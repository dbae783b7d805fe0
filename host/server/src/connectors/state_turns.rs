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
pub(crate) struct StateTurns(Mutex<HashMap<ChannelId, Weak<RwLock<()>>>>);

impl StateTurns {
    fn of(&self, channel: ChannelId) -> Arc<RwLock<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&channel).and_then(Weak::upgrade) {
            return turn;
        }
        // Before the map grows, so that its size stays close to the number in use.
        if turns.len() == turns.capacity() {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(channel, Arc::downgrade(&turn));
        turn
    }

    /// For a call. Waits while the state moves.
    pub(crate) async fn share(&self, channel: ChannelId) -> StateUse {
        self.of(channel).read_owned().await
    }

    /// For a change of versions. `None` if the running calls do not end within [`limits::STATE_TURN`].
    pub(crate) async fn alone(&self, channel: ChannelId) -> Option<OwnedRwLockWriteGuard<()>> {
        let turn = self.of(channel).write_owned();
        tokio::time::timeout(limits::STATE_TURN, turn).await.ok()
    }
}
