//! Failed versions that are not marked in the database yet: a canary rolled back by its rule, a quarantined version.
//!
//! The decision takes effect immediately, in memory. The write is retried until it succeeds, so that no restart
//! reactivates a version because a locked database or a full disk prevented the mark.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_domain::time::Timestamp;

/// What a version loses by its failures. In the order of writing: states are returned before a version is quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lost {
    /// Its canary run.
    Canary,
    /// The permission to run at all.
    Leave,
}

/// A failed version, and what it loses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failed {
    pub(crate) connector: String,
    pub(crate) version: String,
    pub(crate) lost: Lost,
}

/// The reason of a failure, and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: Arc<str>,
    /// Webhooks from then on are kept for the version that serves next, even if this is written later.
    pub(crate) at: Timestamp,
}

/// Failed versions that are not marked in the database yet. One entry per version and loss, so the size is
/// bounded by the running versions.
#[derive(Debug, Default)]
pub(crate) struct VersionFailures {
    unwritten: Mutex<BTreeMap<Failed, Cause>>,
    /// Wakes the task that stores them.
    pub(crate) wake: Notify,
}

impl VersionFailures {
    fn unwritten(&self) -> MutexGuard<'_, BTreeMap<Failed, Cause>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version failed; the first cause is kept.
    pub(crate) fn add(&self, failed: Failed, cause: Cause) {
        self.unwritten().entry(failed).or_insert(cause);
        self.wake.notify_one();
    }

    /// Those that are not stored yet.
    pub(crate) fn all(&self) -> Vec<(Failed, Cause)> {
        let unwritten = self.unwritten();
        unwritten
            .iter()
            .map(|(failed, cause)| (failed.clone(), cause.clone()))
            .collect()
    }

    /// It is in the database.
    pub(crate) fn written(&self, failed: &Failed) {
        self.unwritten().remove(failed);
    }

    /// An operator promotes a version, regardless of its failures.
    pub(crate) fn forgive(&self, connector: &str, version: &str) {
        self.unwritten()
            .retain(|failed, _| failed.connector != connector || failed.version != version);
    }

    /// Whether a failure of this version is not in the database yet.
    pub(crate) fn has(&self, connector: &str, version: &str) -> bool {
        let unwritten = self.unwritten();
        unwritten
            .keys()
            .any(|failed| failed.connector == connector && failed.version == version)
    }

    /// Whether all are in the database.
    pub(crate) fn is_empty(&self) -> bool {
        self.unwritten().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_for_the_database_once() {
        let failures = VersionFailures::default();
        let failed = |lost| Failed {
            connector: "echo".to_owned(),
            version: "1".to_owned(),
            lost,
        };
        let cause = |reason: &str| Cause {
            reason: reason.into(),
            at: Timestamp::from_millis(1),
        };
        failures.add(failed(Lost::Leave), cause("first"));
        failures.add(failed(Lost::Leave), cause("second"));
        failures.add(failed(Lost::Canary), cause("third"));
        // The canary first, so that its states are returned.
        let waiting = [
            (failed(Lost::Canary), cause("third")),
            (failed(Lost::Leave), cause("first")),
        ];
        assert_eq!(failures.all(), waiting);
        failures.written(&failed(Lost::Canary));
        assert!(!failures.is_empty());
        failures.forgive("echo", "2");
        assert!(!failures.is_empty());
        failures.forgive("echo", "1");
        assert!(failures.is_empty());
    }
}
