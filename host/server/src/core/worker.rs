//! The lease loop: takes due work from the record, does it, and comes back when there is more.
//!
//! It promises a bound on what is in hand, and that a failure of one item takes nothing else with it. What was leased and not
//! settled when the process ends is given out again once its lease runs out, by the record's rules.

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

    /// When the next item is due; none if none waits. What is not said to be due is not leased.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Does one item and settles it. What goes wrong is handled inside.
    async fn work(&self, item: Self::Item);
}

/// Longest sleep between two looks: what a missed wake costs at most.
const IDLE: Duration = Duration::from_secs(30);
/// Shortest sleep when something is due that cannot be leased now: a conversation whose message is in hand.
const BLOCKED: Duration = Duration::from_millis(200);
/// The wait after the record failed.
const FAILED: Duration = Duration::from_secs(1);

/// A worker of one kind.
pub struct Worker<W> {
    work: Arc<W>,
    /// Items in hand at once.
    bound: usize,
}

impl<W: Work> Worker<W> {
    /// A worker with at most `bound` items in hand.
    pub fn new(work: W, bound: usize) -> Self {
        Self {
            work: Arc::new(work),
            bound,
        }
    }

    /// Leases what is due at `now`, up to the bound, and does it to the end. How many.
    ///
    /// # Errors
    /// The record.
    pub async fn round(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut tasks = JoinSet::new();
        let begun = self.begin(&mut tasks, now).await?;
        while let Some(ended) = tasks.join_next().await {
            self.report(ended);
        }
        Ok(begun)
    }

    /// Works until `stop` is cancelled, then finishes what is in hand. Says by `lives` at each turn that it is not stuck.
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
            let sleep = self.look(&mut tasks, now()).await;
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

    /// Begins what is due, and says how long there is nothing more to do.
    async fn look(&self, tasks: &mut JoinSet<()>, now: Timestamp) -> Duration {
        let looked = async {
            while tasks.len() < self.bound {
                // A look costs a small part of a lease, and mostly there is nothing.
                match self.work.next_due().await? {
                    Some(due) if due <= now => {}
                    due => return Ok(due.map_or(IDLE, |due| due.since(now).min(IDLE))),
                }
                if self.begin(tasks, now).await? == 0 {
                    return Ok(BLOCKED);
                }
            }
            // Full: the end of an item is the next thing that happens.
            Ok::<_, StoreError>(IDLE)
        };
        looked.await.unwrap_or_else(|error| {
            tracing::error!("The {} cannot look for work: {error}", self.work.name());
            FAILED
        })
    }

    async fn begin(&self, tasks: &mut JoinSet<()>, now: Timestamp) -> Result<usize, StoreError> {
        let room = self.bound.saturating_sub(tasks.len());
        let span = trace_span!("lease", worker = self.work.name(), items = field::Empty);
        let leasing = self.work.lease(u32::try_from(room).unwrap_or(u32::MAX), now);
        let items = leasing.instrument(span.clone()).await?;
        let begun = items.len();
        span.record("items", begun);
        for item in items {
            let work = Arc::clone(&self.work);
            tasks.spawn(async move { work.work(item).await });
        }
        Ok(begun)
    }

    fn report(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            // The lease runs out by itself, and the record says what follows.
            tracing::error!("A task of the {} broke off: {error}", self.work.name());
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
            let mut waiting = self.waiting.lock().expect("nobody panics");
            let count = waiting.len().min(limit as usize);
            let mut most = self.most.lock().expect("nobody panics");
            *most = (*most).max(count);
            Ok(waiting.drain(..count).collect())
        }

        async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
            let waiting = self.waiting.lock().expect("nobody panics");
            Ok((!waiting.is_empty()).then_some(Timestamp::default()))
        }

        async fn work(&self, item: u32) {
            assert_ne!(item, 3, "three breaks off");
            self.done.lock().expect("nobody panics").push(item);
        }
    }

    #[tokio::test]
    async fn a_round_takes_no_more_than_the_bound_and_a_broken_item_takes_no_other_with_it() {
        let numbers = Arc::new(Numbers::default());
        *numbers.waiting.lock().expect("nobody panics") = (0..10).collect();
        let worker = Worker::new(Arc::clone(&numbers), 4);
        let now = Timestamp::default();
        assert_eq!(worker.round(now).await.ok(), Some(4));
        assert_eq!(worker.round(now).await.ok(), Some(4));
        assert_eq!(worker.round(now).await.ok(), Some(2));
        assert_eq!(worker.round(now).await.ok(), Some(0));
        let mut done = numbers.done.lock().expect("nobody panics").clone();
        done.sort_unstable();
        assert_eq!(done, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        assert_eq!(*numbers.most.lock().expect("nobody panics"), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_worker_finishes_what_it_began() {
        let numbers = Arc::new(Numbers::default());
        *numbers.waiting.lock().expect("nobody panics") = vec![1, 2];
        let worker = Worker::new(Arc::clone(&numbers), 4);
        let stop = CancellationToken::new();
        let wake = Arc::new(Notify::new());
        let running = tokio::spawn(worker.run(Timestamp::default, || {}, Arc::clone(&wake), stop.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        stop.cancel();
        running.await.expect("it ends");
        assert_eq!(numbers.done.lock().expect("nobody panics").len(), 2);
    }
}
