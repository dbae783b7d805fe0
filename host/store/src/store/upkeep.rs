//! Maintenance of the whole database.

use async_trait::async_trait;
use weir_domain::limits;

use crate::engine::Engine;
use crate::tables::{ledger, retention};
use crate::{Depths, Forgotten, KeptSince, Result};

/// Maintenance of the whole database.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Truncates the write-ahead log if it is longer than [`limits::LOG_BYTES`](weir_domain::limits::LOG_BYTES).
    /// Returns whether it did.
    async fn empty_long_log(&self) -> Result<bool>;
    /// Deletes data past its retention, oldest first and at most `limit` rows of a kind, so that other writers are not
    /// delayed. Unsettled data stays: messages in the outbox, events that an enabled endpoint waits for. Events that a
    /// disabled one waits for are deleted and counted as missed.
    async fn forget(&self, since: KeptSince, limit: u32) -> Result<Forgotten>;
    /// Depths and ages of all queues, for metrics.
    async fn depths(&self) -> Result<Depths>;
    /// Reads one row, to check that the database is reachable.
    async fn ping(&self) -> Result<()>;
    /// Writes one row, to check that the database is writable.
    async fn probe(&self) -> Result<()>;
    /// Finishes waiting work and closes. Later calls return
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable).
    async fn close(&self);
}

#[async_trait]
impl<E: Engine> Upkeep for E {
    async fn empty_long_log(&self) -> Result<bool> {
        if self.log_bytes() <= limits::LOG_BYTES {
            return Ok(false);
        }
        self.empty_log().await
    }
    async fn forget(&self, since: KeptSince, limit: u32) -> Result<Forgotten> {
        self.write(move |db| retention::forget(db, &since, limit)).await
    }
    async fn depths(&self) -> Result<Depths> {
        let depths = self.read(ledger::depths).await?;
        let writes = u64::try_from(self.writes_waiting()).unwrap_or(u64::MAX);
        Ok(Depths {
            writes,
            log_bytes: self.log_bytes(),
            ..depths
        })
    }
    async fn ping(&self) -> Result<()> {
        self.read(|db| db.exists("SELECT 1 FROM workspaces LIMIT 1", []).map(drop))
            .await
    }
    async fn probe(&self) -> Result<()> {
        self.write(|db| {
            db.run(
                "INSERT INTO meta (name, value) VALUES ('probe', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1",
                [[1; 8]],
            )
            .map(drop)
        })
        .await
    }
    async fn close(&self) {
        self.shut().await;
    }
}
