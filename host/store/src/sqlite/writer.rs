//! The one writer: a thread that owns the only connection that writes. What waits together is committed together, so that a
//! hundred writes cost one fsync. Webhooks, messages to be accepted and answers of sends are loaded and written as one of their
//! kind; all else, and each of those if that fails, in a savepoint of its own, so that one that fails undoes nobody else's.
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

use crate::acts::outbound::Acceptance;
use crate::acts::outbox::Settlement;
use crate::sqlite::{Db, events};
use crate::vault::Vault;
use crate::{EnqueueError, Enqueued, StoreError, acts};

/// The way to the writer's thread. Dropping it lets the thread finish what waits, and waits for that.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
    log_end: watch::Receiver<i64>,
}

/// What the thread is asked for.
pub(crate) enum Task {
    /// To be committed, together with others.
    Write(Box<dyn Job>),
    /// The same; those of one kind that share a commit are done as one.
    Record(Piece<Batch>),
    Accept(Piece<Acceptance>),
    Settle(Piece<Settlement>),
    /// To empty the log, between two commits.
    EmptyLog(oneshot::Sender<Result<bool, StoreError>>),
}

/// Work of one kind, of which much is done as one.
pub(crate) trait Shared: Clone + Send + 'static {
    /// What became of a piece of it.
    type Done: Send + 'static;

    /// Does all pieces or none, in their order, and gives what became of each.
    fn all(db: &Db<'_>, pieces: Vec<Self>) -> Result<Vec<Self::Done>, StoreError>;

    /// Does one piece.
    fn one(db: &Db<'_>, piece: Self) -> Result<Self::Done, StoreError> {
        let done = Self::all(db, vec![piece])?.pop();
        done.ok_or_else(|| StoreError::Database("the write told nothing".to_owned()))
    }

    /// To be done together with its kind.
    fn task(piece: Piece<Self>) -> Task;
}

/// One piece of shared work and the one who waits for it.
pub(crate) struct Piece<W: Shared> {
    work: W,
    result: Option<Result<W::Done, StoreError>>,
    reply: oneshot::Sender<Result<W::Done, StoreError>>,
}

impl Shared for Batch {
    type Done = Recorded;

    fn all(db: &Db<'_>, pieces: Vec<Self>) -> Result<Vec<Recorded>, StoreError> {
        acts::inbound::record(db, pieces)
    }

    fn task(piece: Piece<Self>) -> Task {
        Task::Record(piece)
    }
}

impl Shared for Acceptance {
    type Done = Result<Enqueued, EnqueueError>;

    fn all(db: &Db<'_>, pieces: Vec<Self>) -> Result<Vec<Self::Done>, StoreError> {
        acts::outbound::accept(db, pieces)
    }

    fn task(piece: Piece<Self>) -> Task {
        Task::Accept(piece)
    }
}

impl Shared for Settlement {
    type Done = bool;

    fn all(db: &Db<'_>, pieces: Vec<Self>) -> Result<Vec<bool>, StoreError> {
        acts::outbox::settle(db, pieces)
    }

    fn task(piece: Piece<Self>) -> Task {
        Task::Settle(piece)
    }
}

/// One piece of work and the one who waits for it.
pub(crate) trait Job: Send {
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

    /// Has work done together with its kind that waits, and returns when that is on the disk.
    pub(super) async fn share<W: Shared>(&self, work: W) -> Result<W::Done, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(W::task(Piece {
            work,
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
    let mut group = Group::default();
    while let Some(first) = tasks.blocking_recv() {
        let mut next = Ok(first);
        let mut empties = None;
        loop {
            match next {
                Ok(Task::Write(job)) => group.jobs.push(job),
                Ok(Task::Record(batch)) => group.inbound.push(batch),
                Ok(Task::Accept(message)) => group.accepted.push(message),
                Ok(Task::Settle(attempt)) => group.settled.push(attempt),
                Ok(Task::EmptyLog(reply)) => {
                    empties = Some(reply);
                    break;
                }
                Err(_) => break,
            }
            if group.len() >= limits::GROUP_COMMIT {
                break;
            }
            next = tasks.try_recv();
        }
        let outcome = if group.len() == 0 {
            Ok(false)
        } else {
            transact(&db, &mut group)
        };
        match &outcome {
            Ok(true) => {
                commits.fetch_add(1, Ordering::Relaxed);
                notify(&db, log);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, writes = group.len(), "A commit failed; nothing of it was written"),
        }
        let failed = outcome.err().map(|error| error.to_string());
        let Group {
            jobs,
            inbound,
            accepted,
            settled,
        } = std::mem::take(&mut group);
        for job in jobs {
            job.answer(failed.as_deref().map(unavailable));
        }
        answer(inbound, failed.as_deref());
        answer(accepted, failed.as_deref());
        answer(settled, failed.as_deref());
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

/// What shares a commit.
#[derive(Default)]
struct Group {
    jobs: Vec<Box<dyn Job>>,
    inbound: Vec<Piece<Batch>>,
    accepted: Vec<Piece<Acceptance>>,
    settled: Vec<Piece<Settlement>>,
}

impl Group {
    fn len(&self) -> usize {
        self.jobs.len() + self.inbound.len() + self.accepted.len() + self.settled.len()
    }
}

/// Tells those who wait for pieces of shared work.
fn answer<W: Shared>(pieces: Vec<Piece<W>>, failed: Option<&str>) {
    for piece in pieces {
        let result = match (failed, piece.result) {
            // A no is a no, whatever became of the others.
            (_, Some(Err(error))) => Err(error),
            (None, Some(Ok(done))) => Ok(done),
            (Some(error), _) => Err(unavailable(error)),
            (None, None) => Err(unavailable("the write was not begun")),
        };
        // Nobody waits any more when the caller was cancelled; the write stands.
        let _ = piece.reply.send(result);
    }
}

/// Runs a group in one transaction; whether anything was committed.
fn transact(db: &Db<'_>, group: &mut Group) -> Result<bool, StoreError> {
    db.batch("BEGIN IMMEDIATE")?;
    let done = run(db, group).and_then(|kept| {
        db.batch(if kept { "COMMIT" } else { "ROLLBACK" })?;
        Ok(kept)
    });
    // SQLite has rolled back by itself after some errors (sqlite.org/lang_transaction.html); then there is nothing to undo.
    if done.is_err() && !db.connection.is_autocommit() {
        db.batch("ROLLBACK")?;
    }
    done
}

fn run(db: &Db<'_>, group: &mut Group) -> Result<bool, StoreError> {
    let mut kept = share(db, &mut group.inbound)?;
    kept |= share(db, &mut group.settled)?;
    kept |= share(db, &mut group.accepted)?;
    for job in &mut group.jobs {
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

/// Does all pieces of a kind as one. If that fails each is done by itself, so that one that fails undoes nobody else's.
fn share<W: Shared>(db: &Db<'_>, pieces: &mut [Piece<W>]) -> Result<bool, StoreError> {
    if pieces.len() > 1 {
        let works = pieces.iter().map(|piece| piece.work.clone()).collect();
        let mut done = Vec::new();
        let kept = piece(db, || match caught(|| W::all(db, works)) {
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
        kept |= piece(db, || {
            let done = caught(|| W::one(db, work));
            each.result.insert(done).is_ok()
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
