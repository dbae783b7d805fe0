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
    /// Stores a workspace. Returns false if one of this name exists, or is being removed.
    async fn insert_workspace(&self, workspace: Workspace) -> Result<bool>;
    /// All workspaces, by name.
    async fn workspaces(&self) -> Result<Vec<Workspace>>;
    /// The workspace with this name.
    async fn workspace(&self, id: &str) -> Result<Option<Workspace>>;
    /// Marks a workspace as removed, if its channels are deleted: its keys, sessions and endpoints end, its apps are no
    /// longer found, and nothing can be added from then on. [`Self::clear_workspaces`] deletes its contents. Returns
    /// false if the workspace does not exist.
    async fn remove_workspace(&self, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError>;
    /// Deletes some of the contents of removed workspaces, at most `limit` rows of a kind, and a mark once nothing is
    /// left. Returns whether there may be more.
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
        self.lookup(move |db| workspaces::one(db, &id)).await
    }
    async fn remove_workspace(&self, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError> {
        let id = id.to_owned();
        self.write(move |db| workspaces::remove(db, &id, now)).await
    }
    async fn clear_workspaces(&self, now: Timestamp, limit: u32) -> Result<bool> {
        self.write(move |db| clearing::clear(db, now, limit)).await
    }
}
