//! Work that shares a commit: single jobs, and work that is executed in groups.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;
use weir_domain::record::inbound::{Batch, Recorded};

use crate::acts::outbound::Acceptance;
use crate::acts::outbox::Settlement;
use crate::db::Db;
use crate::{EnqueueError, Enqueued, StoreError, acts};

/// A piece of work of some kind.
pub(crate) enum Task {
    Record(Piece<Batch>),
    Accept(Piece<Acceptance>),
    Settle(Piece<Settlement>),
}

/// Pieces that share a commit, by kind: those of one kind are executed as one.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) inbound: Vec<Piece<Batch>>,
    pub(crate) accepted: Vec<Piece<Acceptance>>,
    pub(crate) settled: Vec<Piece<Settlement>>,
}

impl Group {
    pub(crate) fn push(&mut self, task: Task) {
        match task {
            Task::Record(piece) => self.inbound.push(piece),
            Task::Accept(piece) => self.accepted.push(piece),
            Task::Settle(piece) => self.settled.push(piece),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.inbound.len() + self.accepted.len() + self.settled.len()
    }

    /// Sends the results of the pieces to their callers.
    pub(crate) fn answer(self, failed: Option<&StoreError>) {
        answer(self.inbound, failed);
        answer(self.accepted, failed);
        answer(self.settled, failed);
    }
}

/// Work of one kind that is executed in groups.
pub(crate) trait Shared: Clone + Send + 'static {
    /// The result of a piece.
    type Done: Send + 'static;

    /// Does all pieces or none, in order, and returns the result of each.
    fn all(db: &Db<'_>, pieces: Vec<Self>) -> Result<Vec<Self::Done>, StoreError>;

    /// Does one piece.
    fn one(db: &Db<'_>, piece: Self) -> Result<Self::Done, StoreError> {
        let done = Self::all(db, vec![piece])?.pop();
        done.ok_or_else(|| StoreError::Database("the write returned no result".to_owned()))
    }

    /// The task that executes it together with its kind.
    fn task(piece: Piece<Self>) -> Task;

    /// A piece, and the receiver of its result.
    fn piece(self) -> (Task, Reply<Self>) {
        let (reply, answer) = oneshot::channel();
        let result = None;
        let work = self;
        (Self::task(Piece { work, result, reply }), answer)
    }
}

/// The receiver of a piece's result.
pub(crate) type Reply<W> = oneshot::Receiver<Result<<W as Shared>::Done, StoreError>>;

/// One piece of shared work, with the sender of its result.
pub(crate) struct Piece<W: Shared> {
    pub(crate) work: W,
    pub(crate) result: Option<Result<W::Done, StoreError>>,
    pub(crate) reply: oneshot::Sender<Result<W::Done, StoreError>>,
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

/// One job, with the sender of its result.
pub(crate) trait Job: Send {
    /// Does the work and keeps its result; returns false if it must be undone.
    fn run(&mut self, db: &Db<'_>) -> bool;
    /// Sends the result, or the error of the commit.
    fn answer(self: Box<Self>, failed: Option<StoreError>);
}

/// A single job, and the receiver of its result.
pub(crate) fn job<T, E, F>(work: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, E>>)
where
    F: Fn(&Db<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let result = None;
    (Box::new(Write { work, result, reply }), answer)
}

struct Write<F, T, E> {
    work: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Write<F, T, E>
where
    F: Fn(&Db<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, db: &Db<'_>) -> bool {
        let result = caught(|| (self.work)(db));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, failed: Option<StoreError>) {
        let result = match (failed, self.result) {
            // The work's own error does not depend on the commit.
            (_, Some(Err(error))) => Err(error),
            (None, Some(Ok(value))) => Ok(value),
            (Some(error), _) => Err(error.into()),
            (None, None) => Err(not_started().into()),
        };
        // The receiver is gone if the caller was canceled; the write remains.
        let _ = self.reply.send(result);
    }
}

fn answer<W: Shared>(pieces: Vec<Piece<W>>, failed: Option<&StoreError>) {
    for piece in pieces {
        let result = match (failed, piece.result) {
            // The work's own error does not depend on the commit.
            (_, Some(Err(error))) => Err(error),
            (None, Some(Ok(done))) => Ok(done),
            (Some(error), _) => Err(error.clone()),
            (None, None) => Err(not_started()),
        };
        // The receiver is gone if the caller was canceled; the write remains.
        let _ = piece.reply.send(result);
    }
}

fn not_started() -> StoreError {
    StoreError::Unavailable {
        reason: "the write was not started".to_owned(),
    }
}

/// Turns a panic of the work into an error: its partial writes are undone with its savepoint, so no inconsistent state
/// is visible afterwards.
pub(crate) fn caught<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        tracing::error!("A write panicked; it was undone");
        Err(StoreError::Database("the write panicked; it was undone".to_owned()).into())
    })
}
