//! The one writer: a thread that owns the only connection that writes. What waits together is committed together, so that a
//! hundred writes cost one fsync. Webhooks, messages to be accepted and answers of sends are loaded and written as one of their
//! kind; all else, and each of those if that fails, in a savepoint of its own, so that one that fails undoes nobody else's.
//!
//! It never waits for more to come: when it is idle a write is committed alone, when it is busy the next group gathers while
//! the disk works.

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

/// The way to the writer's thread. Dropping it lets the thread finish what waits, and waits for that.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    log_end: watch::Receiver<i64>,
}

/// What the thread is asked for.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are the large one")]
enum Order {
    /// To commit a write of its own, together with what else waits.
    Write(Box<dyn Job>),
    /// The same, and to do it as one with its kind.
    Share(Task),
    /// To empty the log, between two commits.
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

    /// Has `work` done in a transaction, and returns when that is on the disk.
    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.ask(Order::Write(job))?;
        answer.await.unwrap_or_else(|_| Err(lost().into()))
    }

    /// Has work done together with its kind that waits, and returns when that is on the disk.
    pub(super) async fn share<W: Shared>(&self, work: W) -> Result<W::Done, StoreError> {
        let (task, answer) = work.piece();
        self.ask(Order::Share(task))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Folds the log into the database and makes its file empty. False if somebody reads an older moment of it.
    pub(super) async fn empty_log(&self) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Order::EmptyLog(reply))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    fn ask(&self, order: Order) -> Result<(), StoreError> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        queue.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => unavailable(&format!("{} writes wait already", limits::WRITE_QUEUE)),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// How many transactions were committed since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// The end of the event log, which changes after each commit that made the log longer.
    pub(super) fn log_end(&self) -> watch::Receiver<i64> {
        self.log_end.clone()
    }

    /// How many writes wait to be taken up.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue)
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Takes no more work and waits until what was taken is on the disk.
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

/// The thread ended with the work in its hands.
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
            // Nobody waits any more when the caller was cancelled; the log is empty all the same.
            let _ = reply.send(empty_log(&connection));
        }
    }
}

/// Wakes who waits for events, if the commit added any.
fn notify(db: &Db<'_>, log: &watch::Sender<i64>) {
    match events::last(db) {
        // The end falls when the newest events are erased, which is no news.
        Ok(end) => {
            log.send_if_modified(|known| {
                let grew = *known < end;
                *known = end.max(*known);
                grew
            });
        }
        Err(error) => {
            tracing::warn!(%error, "The end of the event log could not be read; whoever waits for events looks for itself");
            log.send_modify(|_| ());
        }
    }
}

/// Whether the log is empty now: nobody reads an older moment of it (sqlite.org/pragma.html, wal_checkpoint).
fn empty_log(connection: &Connection) -> Result<bool, StoreError> {
    let mut is_blocked = false;
    // Whoever reads is not waited for: the writes behind this would wait too.
    connection.busy_timeout(Duration::ZERO)?;
    let emptied = connection.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |row| {
        is_blocked = row.get(0)?;
        Ok(())
    });
    connection.busy_timeout(super::BUSY)?;
    emptied?;
    Ok(!is_blocked)
}

/// What shares a commit.
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

/// Does what waits in one transaction; whether anything was committed.
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
    // SQLite has rolled back by itself after some errors (sqlite.org/lang_transaction.html); then there is nothing to undo.
    if done.is_err() && !connection.is_autocommit() {
        db.batch("ROLLBACK")?;
    }
    done
}

/// The last page that is written to the log says that those before it count (sqlite.org/fileformat2.html, section 4.3): if one
/// cannot be written none does. If only the disk's word is missing that they are there, the next start may find them.
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

/// Does a piece of work in a savepoint of its own, which is undone if it says so. Whether it was kept.
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

/// Does all pieces of a kind as one. If that fails each is done by itself, so that one that fails undoes nobody else's.
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
                tracing::warn!(%error, "A group of writes was not done as one; each is tried by itself");
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
