//! The lease loop: leases due work from the database, processes it, and polls again when there is more.
//!
//! It limits the number of items in progress and isolates failures of single items. Items that were leased and not
//! settled when the process ends are leased again once their lease expires, by the database's rules.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field, trace_span};
use weir_domain::time::Timestamp;
use weir_store::StoreError;

/// One kind of leased work.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// A lease.
    type Item: Send + 'static;

    /// Its name in logs.
    fn name(&self) -> &'static str;

    /// Leases up to `limit` items that are due at `now`.
    async fn lease(&self, limit: u32, now: Timestamp) -> Result<Vec<Self::Item>, StoreError>;

    /// When the next item is due; `None` if none is waiting. An item that is not reported as due is not leased.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Processes one item and settles it. Handles its own errors.
    async fn work(&self, item: Self::Item);
}

/// Longest sleep between two polls: the delay that a missed wake can cause.
const IDLE: Duration = Duration::from_secs(30);
/// Shortest sleep when a due item cannot be leased yet: its conversation has another message in progress.
const BLOCKED: Duration = Duration::from_millis(200);
/// The delay after a database failure.
const FAILED: Duration = Duration::from_secs(1);

/// A worker of one kind.
pub struct Worker<W> {
    work: Arc<W>,
    /// Items in progress at once.
    bound: usize,
}

impl<W: Work> Worker<W> {
    /// A worker with at most `bound` items in progress.
    pub fn new(work: W, bound: usize) -> Self {
        Self {
            work: Arc::new(work),
            bound,
        }
    }

    /// Leases the items due at `now`, up to the bound, and processes them. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn round(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut tasks = JoinSet::new();
        let started = self.begin(&mut tasks, now).await?;
        while let Some(ended) = tasks.join_next().await {
            self.report(ended);
        }
        Ok(started)
    }

    /// Works until `stop` is canceled, then finishes the items in progress. Reports to `lives` on each iteration that
    /// it is not stuck.
    pub(crate) async fn run(
        self,
        now: impl Fn() -> Timestamp + Send,
        lives: impl Fn() + Send,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut tasks = JoinSet::new();
        while !stop.is_cancelled() {
            lives();
            let sleep = self.poll(&mut tasks, now()).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified() => {}
                Some(ended) = tasks.join_next() => self.report(ended),
                () = tokio::time::sleep(sleep) => {}
            }
            while let Some(ended) = tasks.try_join_next() {
                self.report(ended);
            }
        }
        while let Some(ended) = tasks.join_next().await {
            self.report(ended);
        }
    }

    /// Starts the due items, and returns how long there is nothing more to do.
    async fn poll(&self, tasks: &mut JoinSet<()>, now: Timestamp) -> Duration {
        let checked = async {
            while tasks.len() < self.bound {
                // A poll takes a small part of a lease, and usually finds nothing.
                match self.work.next_due().await? {
                    Some(due) if due <= now => {}
                    due => return Ok(due.map_or(IDLE, |due| due.since(now).min(IDLE))),
                }
                if self.begin(tasks, now).await? == 0 {
                    return Ok(BLOCKED);
                }
            }
            // Full: the next event is the end of an item.
            Ok::<_, StoreError>(IDLE)
        };
        checked.await.unwrap_or_else(|error| {
            tracing::error!("The {} cannot poll for work: {error}", self.work.name());
            FAILED
        })
    }

    async fn begin(&self, tasks: &mut JoinSet<()>, now: Timestamp) -> Result<usize, StoreError> {
        let room = self.bound.saturating_sub(tasks.len());
        let span = trace_span!("lease", worker = self.work.name(), items = field::Empty);
        let leasing = self.work.lease(u32::try_from(room).unwrap_or(u32::MAX), now);
        let items = leasing.instrument(span.clone()).await?;
        let started = items.len();
        span.record("items", started);
        for item in items {
            let work = Arc::clone(&self.work);
            tasks.spawn(async move { work.work(item).await });
        }
        Ok(started)
    }

    fn report(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            // The lease expires, and the database's rules decide what follows.
            tracing::error!("A task of the {} panicked: {error}", self.work.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Numbers {
        waiting: Mutex<Vec<u32>>,
        done: Mutex<Vec<u32>>,
        most: Mutex<usize>,
    }

    #[async_trait]
    impl Work for Arc<Numbers> {
        type Item = u32;

        fn name(&self) -> &'static str {
            "counter"
        }

        async fn lease(&self, limit: u32, _: Timestamp) -> Result<Vec<u32>, StoreError> {
            let mut waiting = self.waiting.lock().expect("not poisoned");
            let count = waiting.len().min(limit as usize);
            let mut most = self.most.lock().expect("not poisoned");
            *most = (*most).max(count);
            Ok(waiting.drain(..count).collect())
        }

        async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
            let waiting = self.waiting.lock().expect("not poisoned");
            Ok((!waiting.is_empty()).then_some(Timestamp::default()))
        }

        async fn work(&self, item: u32) {
            assert_ne!(item, 3, "item 3 panics");
            self.done.lock().expect("not poisoned").push(item);
        }
    }

    #[tokio::test]
    async fn round_is_bounded_and_isolates_failures() {
        let numbers = Arc::new(Numbers::default());
        *numbers.waiting.lock().expect("not poisoned") = (0..10).collect();
        let worker = Worker::new(Arc::clone(&numbers), 4);
        let now = Timestamp::default();
        assert_eq!(worker.round(now).await.ok(), Some(4));
        assert_eq!(worker.round(now).await.ok(), Some(4));
        assert_eq!(worker.round(now).await.ok(), Some(2));
        assert_eq!(worker.round(now).await.ok(), Some(0));
        let mut done = numbers.done.lock().expect("not poisoned").clone();
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        assert_eq!(*numbers.most.lock().expect("not poisoned"), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_worker_finishes_what_it_began() {
        let numbers = Arc::new(Numbers::default());
        *numbers.waiting.lock().expect("not poisoned") = vec![1, 2];
        let worker = Worker::new(Arc::clone(&numbers), 4);
        let stop = CancellationToken::new();
        let wake = Arc::new(Notify::new());
        let running = tokio::spawn(worker.run(Timestamp::default, || {}, Arc::clone(&wake), stop.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        stop.cancel();
        running.await.expect("it ends");
        assert_eq!(numbers.done.lock().expect("not poisoned").len(), 2);
    }
}
