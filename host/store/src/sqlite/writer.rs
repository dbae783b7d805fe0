//! The one writer: a thread that owns the only connection that writes. What waits together is committed together, each piece
//! in a savepoint of its own, so that a hundred writes cost one fsync and one that fails undoes nobody else's.
//!
//! It never waits for more to come: when it is idle a write is committed alone, when it is busy the next group gathers while
//! the disk works.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use weir_domain::id::Mint;
use weir_domain::limits;
use weir_domain::record::inbound::{Batch, Recorded};

use crate::StoreError;
use crate::acts::inbound;
use crate::sqlite::{Db, events};
use crate::vault::Vault;

/// The way to the writer's thread. Dropping it lets the thread finish what waits, and waits for that.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    log_end: watch::Receiver<i64>,
}

/// What the thread is asked for.
enum Task {
    /// To be committed, together with others.
    Write(Box<dyn Job>),
    /// The same; those of one commit are recorded as one group.
    Record(Inbound),
    /// To empty the log, between two commits.
    EmptyLog(oneshot::Sender<Result<bool, StoreError>>),
}

/// What webhooks told, and the one who waits for it.
struct Inbound {
    batch: Batch,
    result: Option<Result<Recorded, StoreError>>,
    reply: oneshot::Sender<Result<Recorded, StoreError>>,
}

/// One piece of work and the one who waits for it.
trait Job: Send {
    /// Does the work and keeps its result; false if it must be undone.
    fn run(&mut self, db: &Db<'_>) -> bool;
    /// Tells the one who waits: the result, or that the commit failed.
    fn answer(self: Box<Self>, failed: Option<StoreError>);
}

struct Write<F, T, E> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Write<F, T, E>
where
    F: FnOnce(&Db<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, db: &Db<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = caught(|| work(db));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, failed: Option<StoreError>) {
        let result = match (failed, self.result) {
            // A no is a no, whatever became of the others.
            (_, Some(Err(error))) => Err(error),
            (None, Some(Ok(value))) => Ok(value),
            (Some(error), _) => Err(error.into()),
            (None, None) => Err(unavailable("the write was not begun").into()),
        };
        // Nobody waits any more when the caller was cancelled; the write stands.
        let _ = self.reply.send(result);
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, vault: Arc<Vault>, mint: Arc<Mint>) -> Result<Self, StoreError> {
        let (queue, tasks) = mpsc::channel(limits::WRITE_QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&commits);
        let db = Db {
            connection: &connection,
            vault: &vault,
            mint: &mint,
        };
        let (log, log_end) = watch::channel(events::last(&db)?);
        let thread = std::thread::Builder::new()
            .name("weir-writer".to_owned())
            .spawn(move || serve(connection, &vault, &mint, tasks, &counter, &log))
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
        F: FnOnce(&Db<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write {
            work: Some(work),
            result: None,
            reply,
        });
        self.ask(Task::Write(job))?;
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Has a batch recorded together with those that wait, and returns when that is on the disk.
    pub(super) async fn record(&self, batch: Batch) -> Result<Recorded, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Task::Record(Inbound {
            batch,
            result: None,
            reply,
        }))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Folds the log into the database and makes its file empty. False if somebody reads an older moment of it.
    pub(super) async fn empty_log(&self) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Task::EmptyLog(reply))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    fn ask(&self, task: Task) -> Result<(), StoreError> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        queue.try_send(task).map_err(|error| match error {
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

pub(super) fn closed() -> StoreError {
    unavailable("the store is closed")
}

fn serve(
    connection: Connection,
    vault: &Vault,
    mint: &Mint,
    mut tasks: mpsc::Receiver<Task>,
    commits: &AtomicU64,
    log: &watch::Sender<i64>,
) {
    let db = Db {
        connection: &connection,
        vault,
        mint,
    };
    let mut group = Vec::with_capacity(limits::GROUP_COMMIT);
    let mut inbound = Vec::with_capacity(limits::GROUP_COMMIT);
    while let Some(first) = tasks.blocking_recv() {
        let mut next = Ok(first);
        let mut empties = None;
        loop {
            match next {
                Ok(Task::Write(job)) => group.push(job),
                Ok(Task::Record(batch)) => inbound.push(batch),
                Ok(Task::EmptyLog(reply)) => {
                    empties = Some(reply);
                    break;
                }
                Err(_) => break,
            }
            if group.len() + inbound.len() >= limits::GROUP_COMMIT {
                break;
            }
            next = tasks.try_recv();
        }
        let outcome = if group.is_empty() && inbound.is_empty() {
            Ok(false)
        } else {
            transact(&db, &mut group, &mut inbound)
        };
        match &outcome {
            Ok(true) => {
                commits.fetch_add(1, Ordering::Relaxed);
                notify(&db, log);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, writes = group.len() + inbound.len(), "A commit failed; nothing of it was written");
            }
        }
        let failed = outcome.err().map(|error| error.to_string());
        for job in group.drain(..) {
            job.answer(failed.as_deref().map(unavailable));
        }
        for batch in inbound.drain(..) {
            let result = match (&failed, batch.result) {
                // A no is a no, whatever became of the others.
                (_, Some(Err(error))) => Err(error),
                (None, Some(Ok(recorded))) => Ok(recorded),
                (Some(error), _) => Err(unavailable(error)),
                (None, None) => Err(unavailable("the write was not begun")),
            };
            let _ = batch.reply.send(result);
        }
        if let Some(reply) = empties {
            // Nobody waits any more when the caller was cancelled; the log is empty all the same.
            let _ = reply.send(empty_log(db.connection));
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

/// Runs a group in one transaction; whether anything was committed.
fn transact(db: &Db<'_>, group: &mut [Box<dyn Job>], inbound: &mut [Inbound]) -> Result<bool, StoreError> {
    db.batch("BEGIN IMMEDIATE")?;
    let done = run(db, group, inbound).and_then(|kept| {
        db.batch(if kept { "COMMIT" } else { "ROLLBACK" })?;
        Ok(kept)
    });
    // SQLite has rolled back by itself after some errors (sqlite.org/lang_transaction.html); then there is nothing to undo.
    if done.is_err() && !db.connection.is_autocommit() {
        db.batch("ROLLBACK")?;
    }
    done
}

fn run(db: &Db<'_>, group: &mut [Box<dyn Job>], inbound: &mut [Inbound]) -> Result<bool, StoreError> {
    let mut kept = record(db, inbound)?;
    for job in group {
        kept |= piece(db, || job.run(db))?;
    }
    Ok(kept)
}

/// Does a piece of work in a savepoint of its own, which is undone if it says so. Whether it was kept.
fn piece(db: &Db<'_>, work: impl FnOnce() -> bool) -> Result<bool, StoreError> {
    db.batch("SAVEPOINT piece")?;
    let keep = work();
    if db.connection.is_autocommit() {
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

/// Records all batches as one group. If that fails each is recorded by itself, so that one that fails undoes nobody else's.
fn record(db: &Db<'_>, inbound: &mut [Inbound]) -> Result<bool, StoreError> {
    if inbound.len() > 1 {
        let batches = inbound.iter().map(|each| each.batch.clone()).collect();
        let mut recorded = Vec::new();
        let kept = piece(db, || match caught(|| inbound::record(db, batches)) {
            Ok(all) => {
                recorded = all;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "A group of webhooks was not recorded as one; each is tried by itself");
                false
            }
        })?;
        if kept {
            for (each, recorded) in inbound.iter_mut().zip(recorded) {
                each.result = Some(Ok(recorded));
            }
            return Ok(true);
        }
    }
    let mut kept = false;
    for each in inbound {
        let batch = each.batch.clone();
        kept |= piece(db, || {
            let recorded = caught(|| inbound::record(db, vec![batch]));
            let recorded = recorded.map(|recorded| recorded.into_iter().sum());
            each.result.insert(recorded).is_ok()
        })?;
    }
    Ok(kept)
}

/// A panic of the work is its failure: whatever it had half done is undone with its savepoint, so nothing broken is seen
/// afterwards.
fn caught<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("A write panicked; it was undone");
        Err(StoreError::Database("the write panicked; it was undone".to_owned()).into())
    })
}
