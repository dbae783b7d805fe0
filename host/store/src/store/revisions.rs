//! What nodes keep in memory, and when it was last changed.

use async_trait::async_trait;

use crate::engine::Engine;
use crate::tables::revisions;
use crate::{Result, Revision};

/// What nodes keep in memory, and when it was last changed.
#[async_trait]
pub trait Revisions: Send + Sync {
    /// What was changed after this revision, in order. Each change is numbered in its own transaction, and no number can be read
    /// before all smaller ones can.
    async fn revisions_after(&self, revision: i64) -> Result<Vec<Revision>>;
}

#[async_trait]
impl<E: Engine> Revisions for E {
    async fn revisions_after(&self, revision: i64) -> Result<Vec<Revision>> {
        self.look(move |db| revisions::after(db, revision)).await
    }
}
