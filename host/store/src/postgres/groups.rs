//! Work that is executed in groups. Work that arrives while a group is written waits for the next: fewer transactions
//! mean fewer conflicts, and fewer commits that the server must flush.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use weir_domain::id::Mint;
use weir_domain::limits;

use crate::db::Db;
use crate::group::{Group, Piece, Shared, Task};
use crate::postgres::connection::{Connection, Order};
use crate::postgres::errors::unavailable;
use crate::postgres::pool::{Done, Job, lock};
use crate::vault::Vault;
use crate::{Result, StoreError};

/// The most pieces of a group. After a conflict the whole group is repeated, so it is smaller than for SQLite's one
/// writer.
const GROUP: usize = 64;

/// The waiting pieces, and whether a group is being written.
#[derive(Default)]
pub(super) struct Groups(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    is_writing: bool,
}

impl Groups {
    /// Adds a piece of work. Returns true if no group is being written, so that the caller has to schedule [`write`].
    pub(super) fn push(&self, task: Task) -> Result<bool> {
        let mut state = lock(&self.0);
        if state.waiting.len() >= limits::WRITE_QUEUE {
            return Err(unavailable(format!("{} writes wait already", limits::WRITE_QUEUE)));
        }
        state.waiting.push_back(task);
        Ok(!std::mem::replace(&mut state.is_writing, true))
    }

    /// The number of waiting pieces.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.0).waiting.len()
    }

    /// Fails all waiting pieces with an error.
    pub(super) fn refuse(&self, error: &StoreError) {
        let mut state = lock(&self.0);
        state.is_writing = false;
        collect(state.waiting.drain(..)).answer(Some(error));
    }

    fn take(&self) -> Group {
        let mut state = lock(&self.0);
        let count = state.waiting.len().min(GROUP);
        collect(state.waiting.drain(..count))
    }

    /// Whether there is a next group.
    fn goes_on(&self) -> bool {
        let mut state = lock(&self.0);
        state.is_writing = !state.waiting.is_empty();
        state.is_writing
    }
}

fn collect(tasks: impl Iterator<Item = Task>) -> Group {
    let mut group = Group::default();
    tasks.for_each(|task| group.push(task));
    group
}

/// Marks that a group is being written. If its thread panics, the waiting pieces fail, and the next piece begins a new
/// group.
struct Writing(Arc<Groups>);

impl Drop for Writing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.refuse(&unavailable("a group of writes panicked"));
        }
    }
}

/// Writes the waiting pieces, group after group.
pub(super) fn write(groups: Arc<Groups>) -> Job {
    Box::new(move |connection, vault, mint| {
        let Writing(groups) = &Writing(groups);
        let mut group = groups.take();
        let failed = connection
            .and_then(|connection| write_group(connection, vault, mint, &mut group))
            .err();
        Done {
            answer: Box::new(move || group.answer(failed.as_ref())),
            next: groups.goes_on().then(|| write(Arc::clone(groups))),
        }
    })
}

/// Writes a group in one transaction, and each piece in its own if that fails, so that a failure undoes no other piece.
fn write_group(connection: &Connection, vault: &Vault, mint: &Mint, group: &mut Group) -> Result<()> {
    let (inbound, settled, accepted) = (works(&group.inbound), works(&group.settled), works(&group.accepted));
    let written = connection.write_in(Order::Serial, vault, mint, &|db| {
        Ok((all(db, &inbound)?, all(db, &settled)?, all(db, &accepted)?))
    });
    match written {
        Ok((inbound, settled, accepted)) => {
            keep(&mut group.inbound, inbound);
            keep(&mut group.settled, settled);
            keep(&mut group.accepted, accepted);
            Ok(())
        }
        Err(error @ (StoreError::Unknown { .. } | StoreError::Unavailable { .. })) => Err(error),
        Err(error) if group.len() == 1 => Err(error),
        Err(error) => {
            tracing::warn!(%error, "A group of writes failed as one transaction; each is retried separately");
            let mut end = None;
            each(connection, vault, mint, &mut group.inbound, &mut end);
            each(connection, vault, mint, &mut group.settled, &mut end);
            each(connection, vault, mint, &mut group.accepted, &mut end);
            connection.log_end.set(end);
            Ok(())
        }
    }
}

fn works<W: Shared>(pieces: &[Piece<W>]) -> Vec<W> {
    pieces.iter().map(|piece| piece.work.clone()).collect()
}

fn all<W: Shared>(db: &Db<'_>, works: &[W]) -> Result<Vec<W::Done>> {
    if works.is_empty() {
        return Ok(Vec::new());
    }
    W::all(db, works.to_vec())
}

fn keep<W: Shared>(pieces: &mut [Piece<W>], done: Vec<W::Done>) {
    for (piece, done) in pieces.iter_mut().zip(done) {
        piece.result = Some(Ok(done));
    }
}

/// Writes each piece in a transaction of its own; raises `end` to the last position in the event log.
fn each<W: Shared>(
    connection: &Connection,
    vault: &Vault,
    mint: &Mint,
    pieces: &mut [Piece<W>],
    end: &mut Option<i64>,
) {
    for piece in pieces {
        let work = &piece.work;
        piece.result = Some(connection.write_in(Order::Serial, vault, mint, &|db| W::one(db, work.clone())));
        *end = connection.log_end.take().max(*end);
    }
}
