//! Workspaces: the tenants of one Weir.

use async_trait::async_trait;
use weir_domain::time::Timestamp;
use weir_domain::workspace::Workspace;

use crate::acts::clearing;
use crate::engine::Engine;
use crate::tables::workspaces;
use crate::{RemoveWorkspaceError, Result};

/// Workspaces: the tenants of one Weir.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// Keeps a workspace. False if there is one of this name, or one that is being removed.
    async fn insert_workspace(&self, workspace: Workspace) -> Result<bool>;
    /// All workspaces, by name.
    async fn workspaces(&self) -> Result<Vec<Workspace>>;
    /// The workspace of this name.
    async fn workspace(&self, id: &str) -> Result<Option<Workspace>>;
    /// Marks a workspace as removed, if its channels are deleted: its keys, sessions and endpoints end, its apps are found no more,
    /// and nothing enters it from then on. What is in it waits for [`Self::clear_workspaces`]. False if there is no such workspace.
    async fn remove_workspace(&self, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError>;
    /// Deletes some of what is left in removed workspaces, `limit` rows of a kind at most, and a mark when nothing can follow it.
    /// Whether there may be more.
    async fn clear_workspaces(&self, now: Timestamp, limit: u32) -> Result<bool>;
}

#[async_trait]
impl<E: Engine> Workspaces for E {
    async fn insert_workspace(&self, workspace: Workspace) -> Result<bool> {
        self.write(move |db| workspaces::insert(db, &workspace)).await
    }
    async fn workspaces(&self) -> Result<Vec<Workspace>> {
        self.read(workspaces::all).await
    }
    async fn workspace(&self, id: &str) -> Result<Option<Workspace>> {
        let id = id.to_owned();
        self.look(move |db| workspaces::one(db, &id)).await
    }
    async fn remove_workspace(&self, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError> {
        let id = id.to_owned();
        self.write(move |db| workspaces::remove(db, &id, now)).await
    }
    async fn clear_workspaces(&self, now: Timestamp, limit: u32) -> Result<bool> {
        self.write(move |db| clearing::clear(db, now, limit)).await
    }
}
