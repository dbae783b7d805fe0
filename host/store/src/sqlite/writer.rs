//! The one writer: a thread that owns the only connection that writes. Writes that wait at the same time are committed
//! together, so that a hundred writes cost one fsync. Webhooks, messages to be accepted and results of sends are loaded
//! and written together with others of their kind; all other writes, and each of those if that fails, run in a
//! savepoint of their own, so that a failure undoes no other write.
//!
//! It never waits for more writes: when it is idle a write is committed alone, and while it is busy the next group
//! accumulates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot, watch};
use weir_domain::id::Mint;
use weir_domain::limits;

use crate::StoreError;
use crate::db::Db;
use crate::group::{Group, Job, Piece, Shared, Task, caught, job};
use crate::tables::events;
use crate::vault::Vault;

/// The handle to the writer's thread. Dropping it lets the thread finish waiting writes, and waits for that.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    log_end: watch::Receiver<i64>,
}

/// A command to the thread.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are the large one")]
enum Order {
    /// Commits a single write, together with others that wait.
    Write(Box<dyn Job>),
    /// The same, but executed together with others of its kind.
    Share(Task),
    /// Truncates the log, between two commits.
    EmptyLog(oneshot::Sender<Result<bool, StoreError>>),
}

impl Writer {
    pub(super) fn start(connection: Connection, vault: Arc<Vault>, mint: Arc<Mint>) -> Result<Self, StoreError> {
        let (queue, orders) = mpsc::channel(limits::WRITE_QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&commits);
        let db = Db {
            driver: &connection,
            vault: &vault,
            mint: &mint,
        };
        let (log, log_end) = watch::channel(events::last(&db)?);
        let thread = std::thread::Builder::new()
            .name("weir-writer".to_owned())
            .spawn(move || serve(connection, &vault, &mint, orders, &counter, &log))
            .map_err(|error| unavailable(&format!("no thread for the writer: {error}")))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            commits,
            log_end,
        })
    }

    /// Runs `work` in a transaction, and returns when that is on the disk.
    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.submit(Order::Write(job))?;
        answer.await.unwrap_or_else(|_| Err(lost().into()))
    }

    /// Runs work together with waiting work of its kind, and returns when that is on the disk.
    pub(super) async fn share<W: Shared>(&self, work: W) -> Result<W::Done, StoreError> {
        let (task, answer) = work.piece();
        self.submit(Order::Share(task))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Checkpoints the log into the database and truncates its file. Returns false if a reader still uses an older
    /// snapshot.
    pub(super) async fn empty_log(&self) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Order::EmptyLog(reply))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    fn submit(&self, order: Order) -> Result<(), StoreError> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        queue.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => unavailable(&format!("{} writes wait already", limits::WRITE_QUEUE)),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// The number of committed transactions since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// The end of the event log, which changes after each commit that appends events.
    pub(super) fn log_end(&self) -> watch::Receiver<i64> {
        self.log_end.clone()
    }

    /// The number of writes that wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue)
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Accepts no more work and waits until the accepted work is on the disk.
    pub(super) fn close(&self) {
        drop(lock(&self.queue).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("The writer ended by a panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable {
        reason: reason.to_owned(),
    }
}

/// The thread ended before it finished the work.
fn lost() -> StoreError {
    StoreError::Unknown {
        reason: "the writer ended before it answered".to_owned(),
    }
}

pub(super) fn closed() -> StoreError {
    unavailable("the store is closed")
}

fn serve(
    connection: Connection,
    vault: &Vault,
    mint: &Mint,
    mut orders: mpsc::Receiver<Order>,
    commits: &AtomicU64,
    log: &watch::Sender<i64>,
) {
    let db = Db {
        driver: &connection,
        vault,
        mint,
    };
    let mut waiting = Waiting::default();
    while let Some(first) = orders.blocking_recv() {
        let mut next = Ok(first);
        let mut empties = None;
        loop {
            match next {
                Ok(Order::Write(job)) => waiting.jobs.push(job),
                Ok(Order::Share(task)) => waiting.shared.push(task),
                Ok(Order::EmptyLog(reply)) => {
                    empties = Some(reply);
                    break;
                }
                Err(_) => break,
            }
            if waiting.len() >= limits::GROUP_COMMIT {
                break;
            }
            next = orders.try_recv();
        }
        let outcome = if waiting.len() == 0 {
            Ok(false)
        } else {
            transact(&connection, &db, &mut waiting)
        };
        match &outcome {
            Ok(true) => {
                commits.fetch_add(1, Ordering::Relaxed);
                notify(&db, log);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, writes = waiting.len(), "A commit failed"),
        }
        let failed = outcome.err();
        let Waiting { jobs, shared } = std::mem::take(&mut waiting);
        for job in jobs {
            job.answer(failed.clone());
        }
        shared.answer(failed.as_ref());
        if let Some(reply) = empties {
            // The receiver is gone if the caller was canceled; the log is truncated anyway.
            let _ = reply.send(empty_log(&connection));
        }
    }
}

/// Wakes readers of the event log if the commit appended any.
fn notify(db: &Db<'_>, log: &watch::Sender<i64>) {
    match events::last(db) {
        // The end decreases when the newest events are erased, which needs no notification.
        Ok(end) => {
            log.send_if_modified(|known| {
                let grew = *known < end;
                *known = end.max(*known);
                grew
            });
        }
        Err(error) => {
            tracing::warn!(%error, "The end of the event log could not be read; readers of events were not notified");
            log.send_modify(|_| ());
        }
    }
}

/// Whether the log is truncated now: no reader uses an older snapshot (sqlite.org/pragma.html, wal_checkpoint).
fn empty_log(connection: &Connection) -> Result<bool, StoreError> {
    let mut is_blocked = false;
    // Does not wait for readers: the writes behind this would wait too.
    connection.busy_timeout(Duration::ZERO)?;
    let emptied = connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |row| {
        is_blocked = row.get(0)?;
        Ok(())
    });
    connection.busy_timeout(super::BUSY)?;
    emptied?;
    Ok(!is_blocked)
}

/// Writes that share a commit.
#[derive(Default)]
struct Waiting {
    jobs: Vec<Box<dyn Job>>,
    shared: Group,
}

impl Waiting {
    fn len(&self) -> usize {
        self.jobs.len() + self.shared.len()
    }
}

/// Runs the waiting writes in one transaction; returns whether anything was committed.
fn transact(connection: &Connection, db: &Db<'_>, waiting: &mut Waiting) -> Result<bool, StoreError> {
    db.batch("BEGIN IMMEDIATE")?;
    let done = run(connection, db, waiting).and_then(|kept| {
        if kept {
            commit(connection)?;
        } else {
            db.batch("ROLLBACK")?;
        }
        Ok(kept)
    });
    // SQLite rolls back on its own after some errors (sqlite.org/lang_transaction.html); then there is nothing to undo.
    if done.is_err() && !connection.is_autocommit() {
        db.batch("ROLLBACK")?;
    }
    done
}

/// The last page that is written to the log marks those before it as committed (sqlite.org/fileformat2.html, section
/// 4.3): if one cannot be written, none is committed. If only the sync fails, the next start may find them.
fn commit(connection: &Connection) -> Result<(), StoreError> {
    let Err(error) = connection.execute_batch("COMMIT") else {
        return Ok(());
    };
    match error.sqlite_error().map(|failure| failure.extended_code) {
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Err(StoreError::Unknown {
            reason: format!("the commit failed: {error}"),
        }),
        _ => Err(error.into()),
    }
}

fn run(connection: &Connection, db: &Db<'_>, waiting: &mut Waiting) -> Result<bool, StoreError> {
    let mut kept = share(connection, db, &mut waiting.shared.inbound)?;
    kept |= share(connection, db, &mut waiting.shared.settled)?;
    kept |= share(connection, db, &mut waiting.shared.accepted)?;
    for job in &mut waiting.jobs {
        kept |= piece(connection, db, || job.run(db))?;
    }
    Ok(kept)
}

/// Runs a piece of work in a savepoint of its own, which is rolled back if the work fails. Returns whether it was kept.
fn piece(connection: &Connection, db: &Db<'_>, work: impl FnOnce() -> bool) -> Result<bool, StoreError> {
    db.batch("SAVEPOINT piece")?;
    let keep = work();
    if connection.is_autocommit() {
        return Err(unavailable(
            "the database gave up the transaction: the disk is full or failing",
        ));
    }
    if !keep {
        db.batch("ROLLBACK TO piece")?;
    }
    db.batch("RELEASE piece")?;
    Ok(keep)
}

/// Runs all pieces of a kind as one. If that fails, each runs separately, so that a failure undoes no other write.
fn share<W: Shared>(connection: &Connection, db: &Db<'_>, pieces: &mut [Piece<W>]) -> Result<bool, StoreError> {
    if pieces.len() > 1 {
        let works = pieces.iter().map(|piece| piece.work.clone()).collect();
        let mut done = Vec::new();
        let kept = piece(connection, db, || match caught(|| W::all(db, works)) {
            Ok(all) => {
                done = all;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "A group of writes failed as one transaction; each is retried separately");
                false
            }
        })?;
        if kept {
            for (piece, done) in pieces.iter_mut().zip(done) {
                piece.result = Some(Ok(done));
            }
            return Ok(true);
        }
    }
    let mut kept = false;
    for each in pieces {
        let work = each.work.clone();
        kept |= piece(connection, db, || {
            let done = caught(|| W::one(db, work));
            each.result.insert(done).is_ok()
        })?;
    }
    Ok(kept)
}
