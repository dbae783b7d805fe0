//! What runs the transactions of a record. The methods of [`Store`](crate::Store) are written once, over this: an engine that
//! keeps what is said here keeps their promises.

use std::future::Future;

use tokio::sync::watch;

use crate::db::Db;
use crate::group::Shared;
use crate::{Result, StoreError, claims, tables};

/// Runs transactions.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Has `work` done in a transaction, and returns when that is on the disk. It may be run again, where another transaction was
    /// in its way: what it does outside of the record must come to the same when it is done twice.
    fn transact<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static;

    /// Has work done together with its kind that waits, and returns when that is on the disk.
    fn share<W: Shared>(&self, work: W) -> impl Future<Output = Result<W::Done>> + Send;

    /// Reads one moment of the record: lists, searches, whatever grows with what is kept.
    fn read<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static;

    /// The same for a look at a few rows by their keys.
    fn look<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send
    where
        F: FnOnce(&Db<'_>) -> Result<T> + Send + 'static,
        T: Send + 'static;

    /// The end of the event log, which changes after each commit that made the log longer.
    fn log_end(&self) -> watch::Receiver<i64>;

    /// How many writes wait to be begun.
    fn writes_waiting(&self) -> usize;

    /// Bytes of the file that changes are written to before they are in their place; 0 where that is another's business.
    fn log_bytes(&self) -> u64;

    /// Makes that file empty, so that nothing of what was deleted is left in it. False if somebody reads an older moment of it.
    fn empty_log(&self) -> impl Future<Output = Result<bool>> + Send;

    /// Finishes what waits and closes.
    fn shut(&self) -> impl Future<Output = ()> + Send;

    /// Has `work` done in a transaction. If it is done for a claimed request, the claim is marked in the same.
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

    /// Has work done together with its kind. If it is done for a claimed request it is done by itself: the mark of the claim goes
    /// with this piece alone.
    fn write_shared<W: Shared>(&self, work: W) -> impl Future<Output = Result<W::Done>> + Send {
        async move {
            if claims::current().is_none() {
                return self.share(work).await;
            }
            self.write(move |db| W::one(db, work.clone())).await
        }
    }
}
