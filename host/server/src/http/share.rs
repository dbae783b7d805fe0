//! Sharing of a bounded resource: a limit for all users together, and a smaller one for each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The amount of each user. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Shares<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// An amount in use, released when it is dropped. It counts toward each of `bounds`.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    shares: Shares<K>,
    bounds: Vec<(K, usize)>,
    taken: usize,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// An empty share that counts for each of these, up to its bound.
    pub(crate) fn open(&self, bounds: Vec<(K, usize)>) -> Share<K> {
        Share {
            shares: self.clone(),
            bounds,
            taken: 0,
        }
    }
}

impl<K> Shares<K> {
    fn counts(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Share<K> {
    /// Reserves this amount. `None` if that exceeds one of the bounds; nothing is reserved then.
    pub(crate) fn take(&mut self, more: usize) -> Option<()> {
        let mut counts = self.shares.counts();
        let fits = |(who, bound): &(K, usize)| counts.get(who).unwrap_or(&0).saturating_add(more) <= *bound;
        if !self.bounds.iter().all(fits) {
            return None;
        }
        for (who, _) in &self.bounds {
            *counts.entry(who.clone()).or_default() += more;
        }
        self.taken += more;
        Some(())
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        for (who, _) in self.bounds.drain(..) {
            if let Entry::Occupied(mut count) = counts.entry(who) {
                *count.get_mut() -= self.taken;
                // A user with no share is removed.
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_its_share_and_leaves_the_rest_to_others() {
        let shares = Shares::default();
        let of = |who: &'static str| shares.open(vec![("all", 10), (who, 6)]);
        let mut one = of("one");
        assert_eq!(one.take(4), Some(()));
        assert_eq!(of("one").take(3), None, "another share of the same one");
        assert_eq!(one.take(2), Some(()));
        let mut other = of("other");
        assert_eq!(other.take(5), None, "more than the whole has");
        assert_eq!(other.take(4), Some(()));
        drop(one);
        assert_eq!(other.take(2), Some(()));
        drop(other);
        assert!(shares.counts().is_empty());
    }
}
