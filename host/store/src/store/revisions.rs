//! Data that nodes cache in memory, and when it last changed.

use async_trait::async_trait;

use crate::engine::Engine;
use crate::tables::revisions;
use crate::{Result, Revision};

/// Data that nodes cache in memory, and when it last changed.
#[async_trait]
pub trait Revisions: Send + Sync {
    /// The changes after this revision, in order. Each change is numbered in its own transaction, and no number is
    /// visible before all smaller ones are.
    async fn revisions_after(&self, revision: i64) -> Result<Vec<Revision>>;
}

#[async_trait]
impl<E: Engine> Revisions for E {
    async fn revisions_after(&self, revision: i64) -> Result<Vec<Revision>> {
        self.lookup(move |db| revisions::after(db, revision)).await
    }
}
