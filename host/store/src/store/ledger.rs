//! Refusals and the audit log.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::{ChannelId, RefusalId};
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::ledger;
use crate::{AuditEntry, Listed, Page, RefusalCount, RefusalRecord, Result};

/// Refusals and the audit log.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Stores a refusal, so that it can be explained later.
    async fn keep_refusal(&self, refusal: RefusalRecord) -> Result<()>;
    /// One refusal.
    async fn refusal(&self, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>>;
    /// Refusals about these channels, or all of the workspace if none are given; newest first. The number of scanned
    /// rows is bounded, so a page may be short although more follow.
    async fn refusals(
        &self,
        workspace: &str,
        channels: BTreeSet<ChannelId>,
        page: Page,
    ) -> Result<Listed<RefusalRecord>>;
    /// How often each rule refused these channels, or each requester of the workspace if none are given; the most
    /// frequent first.
    async fn refusal_counts(
        &self,
        workspace: &str,
        channels: BTreeSet<ChannelId>,
        limit: u32,
    ) -> Result<Vec<RefusalCount>>;
    /// Deletes some refusals and audit entries: those before these moments, and the oldest beyond
    /// [`weir_domain::limits::REFUSALS`] and [`weir_domain::limits::AUDIT_ENTRIES`]. Returns their number; 0 when none
    /// are left.
    async fn forget_ledgers(&self, refusals: Timestamp, changes: Timestamp) -> Result<u32>;
    /// Appends an entry to the audit log.
    async fn audit(&self, entry: AuditEntry) -> Result<()>;
    /// The audit log, newest first.
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
