//! The readers: a few connections that cannot write. Each read is one short transaction, so that it sees one snapshot
//! of the database and never delays the checkpoint of the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};
use weir_domain::id::Mint;
use weir_domain::limits;

use crate::StoreError;
use crate::db::Db;
use crate::sqlite::writer;
use crate::vault::Vault;

pub(super) struct Readers(Arc<Pool>);

struct Pool {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    vault: Arc<Vault>,
    mint: Arc<Mint>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>, vault: Arc<Vault>, mint: Arc<Mint>) -> Self {
        Self(Arc::new(Pool {
            permits: Arc::new(Semaphore::new(connections.len())),
            idle: Mutex::new(connections),
            vault,
            mint,
        }))
    }

    /// Reads on a thread that may block: lists, searches, everything that grows with the stored data.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Db<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let pool = Arc::clone(&self.0);
        let permit = Arc::clone(&self.0.permits).acquire_owned().await;
        let permit = permit.map_err(|_| writer::closed())?;
        // The permit moves with the connection: if the caller is canceled, both are returned only when the read ends.
        let done = tokio::task::spawn_blocking(move || {
            let result = pool.run(work);
            drop(permit);
            result
        });
        done.await
            .map_err(|_| StoreError::Database("a read was interrupted".to_owned()))?
    }

    /// Reads on the caller's own thread, for a lookup of a few rows by their keys: it takes some ten microseconds, less
    /// than waking another thread does.
    pub(super) async fn lookup<T>(
        &self,
        work: impl FnOnce(&Db<'_>) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let _turn = self.0.permits.acquire().await.map_err(|_| writer::closed())?;
        self.0.run(work)
    }

    /// Waits until all reads have ended, and allows none while the permit is held.
    pub(super) async fn pause(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let all = u32::try_from(limits::READERS).unwrap_or(u32::MAX);
        self.0.permits.acquire_many(all).await.map_err(|_| writer::closed())
    }

    /// Allows no further reads and closes idle connections.
    pub(super) fn close(&self) {
        self.0.permits.close();
        self.0.idle().clear();
    }
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let connection = self.idle().pop().ok_or_else(writer::closed)?;
        let db = Db {
            driver: &connection,
            vault: &self.vault,
            mint: &self.mint,
        };
        let result = db.batch("BEGIN").and_then(|()| {
            let result = catch_unwind(AssertUnwindSafe(|| work(&db)))
                .unwrap_or_else(|_| Err(StoreError::Database("a read panicked".to_owned())));
            db.batch("ROLLBACK").and(result)
        });
        if !self.permits.is_closed() {
            self.idle().push(connection);
        }
        result
    }
}
