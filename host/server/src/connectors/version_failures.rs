//! Versions that failed, until the record says so: a canary that goes back by its rule, a version that is quarantined.
//!
//! What was decided holds at once, in memory. It is written until it is written, so that no restart brings a version back that
//! a locked record or a full disk kept from being marked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_domain::time::Timestamp;

/// What a version lost by its failures. In the order in which they are written: states are given back before a version is
/// quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lost {
    /// Its canary run.
    Canary,
    /// The right to run at all.
    Leave,
}

/// A version, and what it lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failed {
    pub(crate) connector: String,
    pub(crate) version: String,
    pub(crate) lost: Lost,
}

/// Why, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: Arc<str>,
    /// What comes from then on is kept for the version that serves next, however late this is written down.
    pub(crate) at: Timestamp,
}

/// Versions that failed and are not marked in the record yet. One entry for each version and loss, so it holds no more than
/// the versions that run.
#[derive(Debug, Default)]
pub(crate) struct VersionFailures {
    unwritten: Mutex<BTreeMap<Failed, Cause>>,
    /// Ends the sleep of the loop that writes them.
    pub(crate) wake: Notify,
}

impl VersionFailures {
    fn unwritten(&self) -> MutexGuard<'_, BTreeMap<Failed, Cause>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version failed; the first cause counts.
    pub(crate) fn add(&self, failed: Failed, cause: Cause) {
        self.unwritten().entry(failed).or_insert(cause);
        self.wake.notify_one();
    }

    /// Those that are not written yet.
    pub(crate) fn all(&self) -> Vec<(Failed, Cause)> {
        let unwritten = self.unwritten();
        unwritten
            .iter()
            .map(|(failed, cause)| (failed.clone(), cause.clone()))
            .collect()
    }

    /// It is in the record.
    pub(crate) fn written(&self, failed: &Failed) {
        self.unwritten().remove(failed);
    }

    /// A person lets a version serve, whatever it did.
    pub(crate) fn forgive(&self, connector: &str, version: &str) {
        self.unwritten()
            .retain(|failed, _| failed.connector != connector || failed.version != version);
    }

    /// Whether one of this version is not in the record yet.
    pub(crate) fn has(&self, connector: &str, version: &str) -> bool {
        let unwritten = self.unwritten();
        unwritten
            .keys()
            .any(|failed| failed.connector == connector && failed.version == version)
    }

    /// Whether all are in the record.
    pub(crate) fn is_empty(&self) -> bool {
        self.unwritten().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_for_the_record_once() {
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
        // The canary first, so that its states are given back.
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
