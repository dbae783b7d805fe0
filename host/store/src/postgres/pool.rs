//! The connections of this node: threads that take jobs from one queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use weir_domain::id::Mint;
use weir_domain::limits;

use crate::postgres::connection::Connection;
use crate::postgres::errors::unavailable;
use crate::postgres::notifications;
use crate::postgres::settings::Settings;
use crate::vault::Vault;
use crate::{Result, StoreError, meta};

/// How long to wait before a server that could not be reached is tried again, first and at most: requests meanwhile
/// fail at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Work for the next free connection, or the error if none can be opened.
pub(super) type Job = Box<dyn FnOnce(Result<&Connection>, &Vault, &Mint) -> Done + Send>;

/// A job that was done.
pub(super) struct Done {
    /// Sends the results, after readers of the event log were woken.
    pub(super) answer: Box<dyn FnOnce()>,
    /// The next job for the same connection.
    pub(super) next: Option<Job>,
}

/// The connections of this node.
pub(super) struct Connections {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Threads,
}

/// Threads that end when the queue is closed and empty.
#[derive(Clone)]
pub(super) struct Threads(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Threads {
    /// Waits until they end.
    pub(super) fn join(&self) {
        for thread in lock(&self.0).drain(..) {
            if thread.join().is_err() {
                tracing::error!("A connection's thread ended by a panic");
            }
        }
    }
}

impl Connections {
    /// Creates `count` connections, whose threads have this name. `first` is one of them; the others are opened when
    /// needed.
    pub(super) fn start(name: &str, mut first: Option<Connection>, count: usize, opening: Opening) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(limits::WRITE_QUEUE);
        let shared = Arc::new(Shared {
            jobs: Mutex::new(jobs),
            opening,
            outage: Mutex::default(),
        });
        let mut threads = Vec::with_capacity(count);
        for n in 0..count {
            let (shared, connection) = (Arc::clone(&shared), first.take());
            let thread = std::thread::Builder::new()
                .name(format!("weir-{name}-{n}"))
                .spawn(move || shared.serve(connection))
                .map_err(|error| unavailable(format!("no thread for a connection: {error}")))?;
            threads.push(thread);
        }
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            threads: Threads(Arc::new(Mutex::new(threads))),
        })
    }

    pub(super) fn submit(&self, job: Job) -> Result<()> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                unavailable(format!("{} transactions wait already", limits::WRITE_QUEUE))
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// The number of jobs that wait for a connection.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue)
            .as_ref()
            .map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Accepts no more work.
    pub(super) fn close(&self) {
        drop(lock(&self.queue).take());
    }

    pub(super) fn threads(&self) -> Threads {
        self.threads.clone()
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.close();
        self.threads.join();
    }
}

/// The settings of connections, and the values that their work needs.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) settings: Settings,
    pub(super) vault: Arc<Vault>,
    pub(super) mint: Arc<Mint>,
    /// The end of the event log, raised by commits.
    pub(super) log: watch::Sender<i64>,
    /// The last position in the log that this node wrote.
    pub(super) written: watch::Sender<i64>,
}

/// State that the connections' threads share.
struct Shared {
    jobs: Mutex<mpsc::Receiver<Job>>,
    opening: Opening,
    outage: Mutex<Option<Outage>>,
}

/// Set if the server could not be reached or the database not be used. Until the next attempt, jobs fail with this
/// error at once.
struct Outage {
    until: Instant,
    wait: Duration,
    error: StoreError,
}

impl Shared {
    fn connect(&self) -> Result<Connection> {
        let began = Instant::now();
        if let Some(outage) = &*lock(&self.outage)
            && began < outage.until
        {
            return Err(outage.error.clone());
        }
        let opened = Connection::open(&self.opening.settings).and_then(|connection| {
            // While no connection was open, the database may have been moved, or sealed with another key.
            connection.read(&self.opening.vault, &self.opening.mint, meta::admit)?;
            Ok(connection)
        });
        let mut outage = lock(&self.outage);
        match &opened {
            Ok(_) => *outage = None,
            // Connections that fail at the same time count as one failure.
            Err(_) if outage.as_ref().is_some_and(|outage| outage.until > began) => {}
            Err(error) => {
                tracing::warn!(%error, "There is no connection to the database");
                let wait = outage
                    .as_ref()
                    .map_or(BACKOFF.0, |outage| (outage.wait * 2).min(BACKOFF.1));
                *outage = Some(Outage {
                    until: Instant::now() + wait,
                    wait,
                    error: error.clone(),
                });
            }
        }
        opened
    }

    fn serve(&self, mut connection: Option<Connection>) {
        let mut next: Option<Job> = None;
        loop {
            let job = next.take().or_else(|| lock(&self.jobs).blocking_recv());
            let Some(job) = job else { return };
            if connection.as_ref().is_none_or(Connection::is_closed) {
                connection = match self.connect() {
                    Ok(open) => Some(open),
                    Err(error) => {
                        let done = job(Err(error), &self.opening.vault, &self.opening.mint);
                        (done.answer)();
                        next = done.next;
                        continue;
                    }
                };
            }
            let Some(open) = &connection else { continue };
            let served = catch_unwind(AssertUnwindSafe(|| {
                job(Ok(open), &self.opening.vault, &self.opening.mint)
            }));
            let Ok(done) = served else {
                tracing::error!("A transaction panicked; its connection is closed");
                connection = None;
                continue;
            };
            if let Some(end) = open.log_end.take() {
                notifications::raise(&self.opening.log, end);
                notifications::raise(&self.opening.written, end);
            }
            (done.answer)();
            next = done.next;
        }
    }
}

fn closed() -> StoreError {
    unavailable("the store is closed")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
