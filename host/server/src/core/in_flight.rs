//! Items that a worker leased and has not settled.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_store::StoreError;

/// The ids of the items in flight on this node. If the response to a lease is lost, the database may have leases that
/// this node does not know. They would block everything behind them until they expire, so they are released: all items
/// that the database has leased to this node and that are not in flight.
pub(crate) struct InFlight<I> {
    ids: Mutex<BTreeSet<I>>,
    /// Whether the database may have leases of this node that are not in flight.
    is_unsure: AtomicBool,
}

impl<I> Default for InFlight<I> {
    fn default() -> Self {
        Self {
            ids: Mutex::default(),
            is_unsure: AtomicBool::new(false),
        }
    }
}

impl<I: Copy + Ord> InFlight<I> {
    /// Adds the leased items, and returns them. If the result of the lease is unknown, there may be others.
    pub(crate) fn lease<L>(
        &self,
        leased: Result<Vec<L>, StoreError>,
        id: impl Fn(&L) -> I,
    ) -> Result<Vec<L>, StoreError> {
        if matches!(leased, Err(StoreError::Unknown { .. })) {
            self.is_unsure.store(true, Ordering::Relaxed);
        }
        let leased = leased?;
        self.lock().extend(leased.iter().map(id));
        Ok(leased)
    }

    /// It is settled.
    pub(crate) fn settle(&self, id: I) {
        self.lock().remove(&id);
    }

    /// It is not settled, and may be leased again before its lease expires.
    pub(crate) fn give_up(&self, id: I) {
        self.settle(id);
        self.is_unsure.store(true, Ordering::Relaxed);
    }

    /// Calls `free` with the set in flight, to release the other items that are leased to this node, if there may be
    /// any.
    pub(crate) async fn free_others<F>(&self, free: impl FnOnce(BTreeSet<I>) -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<u32, StoreError>>,
    {
        // Items that become uncertain after this point are handled in the next round.
        if !self.is_unsure.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let in_flight = self.lock().clone();
        let freed = free(in_flight).await;
        if freed.is_err() {
            self.is_unsure.store(true, Ordering::Relaxed);
        }
        freed.map(|_| ())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<I>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown<T>() -> Result<T, StoreError> {
        Err(StoreError::Unknown {
            reason: "the connection was lost".to_owned(),
        })
    }

    /// The items to keep when the others are released; `None` if there are none.
    async fn kept(in_flight: &InFlight<u8>, freed: Result<u32, StoreError>) -> Option<Vec<u8>> {
        let mut kept = None;
        let free = |ids: BTreeSet<u8>| {
            kept = Some(ids.into_iter().collect());
            std::future::ready(freed)
        };
        // Its error is the caller's.
        let _ = in_flight.free_others(free).await;
        kept
    }

    #[tokio::test]
    async fn others_are_freed_after_a_lost_answer_and_until_that_is_done() {
        let in_flight = InFlight::default();
        assert!(in_flight.lease(Ok(vec![1, 2]), |id| *id).is_ok());
        assert_eq!(kept(&in_flight, Ok(0)).await, None, "no outcome is uncertain");
        assert!(in_flight.lease(unknown::<Vec<u8>>(), |id| *id).is_err());
        in_flight.settle(1);
        assert_eq!(kept(&in_flight, unknown()).await, Some(vec![2]));
        assert_eq!(kept(&in_flight, Ok(1)).await, Some(vec![2]));
        assert_eq!(kept(&in_flight, Ok(0)).await, None);
        in_flight.give_up(2);
        assert_eq!(kept(&in_flight, Ok(1)).await, Some(vec![]));
    }

    #[tokio::test]
    async fn a_lease_that_was_refused_leaves_nothing_unsure() {
        let in_flight = InFlight::<u8>::default();
        let refused = Err(StoreError::Unavailable {
            reason: "the queue is full".to_owned(),
        });
        assert!(in_flight.lease(refused, |id: &u8| *id).is_err());
        assert_eq!(kept(&in_flight, Ok(0)).await, None);
    }
}
