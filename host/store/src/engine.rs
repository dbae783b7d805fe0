//! The interface to a database engine. The methods of [`Store`](crate::Store) are written once, over this.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use crate::db::Db;
use crate::group::Shared;
use crate::{Result, StoreError, claims, tables};

/// Runs transactions.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Runs `work` in a transaction, and returns when it is durable. `work` may run again after a conflict, so effects
    /// outside of the database must be the same when repeated.
    fn transact<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static;

    /// The same for a small write that must not wait for other work, however much of it waits: the heartbeat of this
    /// host.
    fn transact_first<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.transact(work)
    }

    /// The same for an act that takes from a resource that all hosts share, and would conflict with theirs repeatedly:
    /// one after another with those of all hosts, and with [shared](Self::share) work.
    fn transact_serially<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send
    where
        F: Fn(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.transact(work)
    }

    /// Does work together with waiting work of its kind, and returns when it is durable.
    fn share<W: Shared>(&self, work: W) -> impl Future<Output = Result<W::Done>> + Send;

    /// Reads one snapshot of the database: lists, searches, everything that grows with the stored data.
    fn read<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static;

    /// Reads a few rows by their keys.
    fn lookup<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static;

    /// The end of the event log, which changes after each commit that appends events.
    fn log_end(&self) -> watch::Receiver<i64>;

    /// The end of the event log as other hosts on the database wrote it. Never changes where one host uses the
    /// database.
    fn log_end_of_others(&self) -> watch::Receiver<i64>;

    /// The server's time, as a duration since the Unix epoch; `None` without a server.
    fn server_time(&self) -> Option<Duration>;

    /// The number of waiting writes.
    fn writes_waiting(&self) -> usize;

    /// Bytes of the write-ahead log; 0 where a server manages it.
    fn log_bytes(&self) -> u64;

    /// Truncates the write-ahead log, so that no deleted data is left in it. False if a reader still needs it.
    fn empty_log(&self) -> impl Future<Output = Result<bool>> + Send;

    /// Finishes waiting work and closes.
    fn shut(&self) -> impl Future<Output = ()> + Send;

    /// Runs `work` in a transaction. For a claimed request, the claim is marked in the same transaction.
    fn write<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        async move {
            let Some(claim) = claims::current() else {
                return self.transact(work).await;
            };
            let for_claim = move |db: &Db<'_>| {
                let done = work(db)?;
                tables::claims::mark(db, &claim)?;
                Ok(done)
            };
            self.transact(for_claim).await
        }
    }

    /// Does work together with its kind. For a claimed request it is done alone: the mark of the claim belongs to this
    /// piece only.
    fn write_shared<W: Shared>(&self, work: W) -> impl Future<Output = Result<W::Done>> + Send {
        async move {
            if claims::current().is_none() {
                return self.share(work).await;
            }
            self.write(move |db| W::one(db, work.clone())).await
        }
    }
}
