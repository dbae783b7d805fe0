//! What was refused, and who changed what.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::{ChannelId, RefusalId};
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::ledger;
use crate::{AuditEntry, Listed, Page, RefusalCount, RefusalRecord, Result};

/// What was refused, and who changed what.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Keeps a no, so that it can explain itself.
    async fn keep_refusal(&self, refusal: RefusalRecord) -> Result<()>;
    /// One.
    async fn refusal(&self, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>>;
    /// Refusals about these channels, or all of the workspace if there are none; newest first. A step is bounded by what is looked at,
    /// so a page may be short and have a next one.
    async fn refusals(
        &self,
        workspace: &str,
        channels: BTreeSet<ChannelId>,
        page: Page,
    ) -> Result<Listed<RefusalRecord>>;
    /// How often each rule said no to these channels, or to whom of the workspace if there are none; the most frequent first.
    async fn refusal_counts(
        &self,
        workspace: &str,
        channels: BTreeSet<ChannelId>,
        limit: u32,
    ) -> Result<Vec<RefusalCount>>;
    /// Forgets some refusals and changes: those before these moments, and the oldest of more than
    /// [`weir_domain::limits::REFUSALS`] and [`weir_domain::limits::AUDIT_ENTRIES`]. How many; 0 when nothing is left to do.
    async fn forget_ledgers(&self, refusals: Timestamp, changes: Timestamp) -> Result<u32>;
    /// Who changed what.
    async fn audit(&self, entry: AuditEntry) -> Result<()>;
    /// Newest first.
    async fn audit_log(&self, workspace: &str, page: Page) -> Result<Listed<AuditEntry>>;
}

#[async_trait]
impl<E: Engine> Ledger for E {
    async fn keep_refusal(&self, refusal: RefusalRecord) -> Result<()> {
        self.write(move |db| ledger::keep_refusal(db, &refusal)).await
    }
    async fn refusal(&self, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::refusal(db, &workspace, id)).await
    }
    async fn refusals(
        &self,
        workspace: &str,
        channels: BTreeSet<ChannelId>,
        page: Page,
    ) -> Result<Listed<RefusalRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::refusals(db, &workspace, &channels, &page))
            .await
    }
    async fn refusal_counts(
        &self,
        workspace: &str,
        channels: BTreeSet<ChannelId>,
        limit: u32,
    ) -> Result<Vec<RefusalCount>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::refusal_counts(db, &workspace, &channels, limit))
            .await
    }
    async fn forget_ledgers(&self, refusals: Timestamp, changes: Timestamp) -> Result<u32> {
        self.write(move |db| ledger::forget(db, refusals, changes)).await
    }
    async fn audit(&self, entry: AuditEntry) -> Result<()> {
        self.write(move |db| ledger::audit(db, &entry)).await
    }
    async fn audit_log(&self, workspace: &str, page: Page) -> Result<Listed<AuditEntry>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::audit_log(db, &workspace, &page)).await
    }
}
