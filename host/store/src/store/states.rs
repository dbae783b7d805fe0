//! The state that a connector stores for a channel, and the version that owns it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;

use crate::acts::states;
use crate::engine::Engine;
use crate::tables::{channels, state};
use crate::{ChannelState, HeldAccounts, Result, StateMove, StateOwner, StateWrite, acts};

/// The state that a connector stores for a channel, and the version that owns it. A version belongs to the host and
/// serves channels of all workspaces, so moves of states between versions are by connector.
#[async_trait]
pub trait States: Send + Sync {
    /// A channel's state.
    async fn state(&self, workspace: &str, id: ChannelId) -> Result<ChannelState>;
    /// Stores the writes of one call, all or none. A state without an owner belongs to the writer from then on. Returns
    /// false, and writes nothing, if another version owns it.
    async fn commit_state(&self, workspace: &str, id: ChannelId, writes: Vec<StateWrite>) -> Result<bool>;
    /// The channels of a connector that have a state, and its owner.
    async fn state_owners(&self, connector: &str) -> Result<Vec<StateOwner>>;
    /// Moves a channel's state from one version to another, and stores a copy of the old one. Returns false, and writes
    /// nothing, if the state has changed since it was read.
    async fn move_stored_state(&self, connector: &str, state_move: StateMove) -> Result<bool>;
    /// Leaves a channel's state with a version, since another could not take it over, with an event that has the
    /// reason.
    async fn hold_state(
        &self,
        connector: &str,
        channel: ChannelId,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<()>;
    /// Restores a channel's state, as it was, for the version that it was taken over from. Returns false, and writes
    /// nothing, if `from` does not own it, or no copy of `to` exists.
    async fn give_state_back(&self, connector: &str, channel: ChannelId, from: &str, to: &str) -> Result<bool>;
    /// Holds the accounts of a connector whose versions cannot run, by version with the reason, and releases all
    /// others, with an event for each change.
    async fn hold_accounts(
        &self,
        connector: &str,
        reasons: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<HeldAccounts>;
    /// Why a channel is held, if the version that owns its state cannot run.
    async fn held(&self, workspace: &str, id: ChannelId) -> Result<Option<String>>;
}

#[async_trait]
impl<E: Engine> States for E {
    async fn state(&self, workspace: &str, id: ChannelId) -> Result<ChannelState> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| state::of(db, &workspace, id)).await
    }
    async fn commit_state(&self, workspace: &str, id: ChannelId, writes: Vec<StateWrite>) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| Ok(channels::is_of(db, &workspace, id)? && states::commit(db, id, &writes)?))
            .await
    }
    async fn state_owners(&self, connector: &str) -> Result<Vec<StateOwner>> {
        let connector = connector.to_owned();
        self.read(move |db| state::owners(db, &connector)).await
    }
    async fn move_stored_state(&self, connector: &str, state_move: StateMove) -> Result<bool> {
        let connector = connector.to_owned();
        self.write(move |db| states::move_state(db, &connector, &state_move))
            .await
    }
    async fn hold_state(
        &self,
        connector: &str,
        channel: ChannelId,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| states::hold(db, &connector, channel, &version, &reason, now))
            .await
    }
    async fn give_state_back(&self, connector: &str, channel: ChannelId, from: &str, to: &str) -> Result<bool> {
        let (connector, from, to) = (connector.to_owned(), from.to_owned(), to.to_owned());
        self.write(move |db| states::give_back(db, &connector, channel, &from, &to))
            .await
    }
    async fn hold_accounts(
        &self,
        connector: &str,
        reasons: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<HeldAccounts> {
        let connector = connector.to_owned();
        self.write(move |db| acts::channels::hold_accounts(db, &connector, &reasons, now))
            .await
    }
    async fn held(&self, workspace: &str, id: ChannelId) -> Result<Option<String>> {
        let workspace = workspace.to_owned();
        self.lookup(move |db| state::held(db, &workspace, id)).await
    }
}
