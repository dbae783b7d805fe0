//! Quarantined versions: they crashed too often, or leaked their honeytoken.
//!
//! From then on no call of such a version starts. Its webhooks are still verified, which needs only its manifest, and
//! are kept as dead letters; its messages wait in the outbox. The quarantine ends when an operator promotes this or
//! another version; the dead letters are then translated, oldest first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_domain::breaker::Breaker;
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;
use weir_runtime::context::CallEnd;
use weir_store::{Version, VersionCrash, VersionStage};

use crate::connectors::version_failures::{Cause, Failed, Lost, VersionFailures};

/// Crashes waiting to be published to other nodes. During a long database outage further ones are dropped: these are
/// enough to quarantine a version.
const UNSHARED: usize = 100;

/// Versions that are quarantined, and crashes counted toward it.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// By connector and version.
    versions: Mutex<HashMap<(String, String), Standing>>,
    failures: Arc<VersionFailures>,
    crashes: Mutex<Crashes>,
}

/// The crashes that nodes publish to one another.
#[derive(Debug, Default)]
struct Crashes {
    /// The number of crashes on this node.
    seen: i64,
    /// Those that are not in the database yet: few, since it takes several to quarantine a version.
    unshared: Vec<VersionCrash>,
    /// Crashes of other nodes that were counted here: the node, its number of the crash, and when it no longer counts.
    counted: HashMap<(String, i64), Timestamp>,
}

#[derive(Debug)]
enum Standing {
    Runs(Breaker),
    Quarantined(Arc<str>),
}

impl Quarantine {
    pub(crate) fn new(failures: Arc<VersionFailures>) -> Self {
        Self {
            versions: Mutex::default(),
            failures,
            crashes: Mutex::default(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<(String, String), Standing>) -> T) -> T {
        change(&mut self.versions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why this version is quarantined; `None` if it may run.
    pub(crate) fn reason(&self, connector: &str, version: &str) -> Option<Arc<str>> {
        self.with(
            |versions| match versions.get(&(connector.to_owned(), version.to_owned())) {
                Some(Standing::Quarantined(reason)) => Some(Arc::clone(reason)),
                _ => None,
            },
        )
    }

    /// Whether this version may not run.
    pub(crate) fn holds(&self, connector: &str, version: &str) -> bool {
        self.reason(connector, version).is_some()
    }

    /// A call ended, which may quarantine the version. Returns whether it did.
    pub(crate) fn note(&self, end: &CallEnd<'_>, now: Timestamp) -> bool {
        // A call that only reads the manifest, at install, serves no account.
        if end.kind == CallKind::Describe || !(end.honeytoken.is_some() || end.crashed) {
            return false;
        }
        if end.crashed {
            self.note_unshared(end, now);
        }
        let reason = match end.honeytoken {
            Some(place) => {
                let explanation = format!(
                    "its honeytoken was seen in {place}, in a call of `{}`",
                    end.kind.as_str()
                );
                self.quarantine(end.connector, end.version, |_| Some(explanation))
            }
            None => {
                let last = format!("in `{}`: {}", end.kind.as_str(), end.outcome);
                self.quarantine(end.connector, end.version, |breaker| {
                    breaker.crashed(now).then(|| crashed_too_often(&last))
                })
            }
        };
        let Some(reason) = reason else { return false };
        tracing::error!("{} {} is quarantined: {reason}", end.connector, end.version);
        self.fail(end.connector, end.version, reason, now);
        true
    }

    /// Quarantines a running version, for the reason that `judge` returns.
    fn quarantine(
        &self,
        connector: &str,
        version: &str,
        judge: impl FnOnce(&mut Breaker) -> Option<String>,
    ) -> Option<Arc<str>> {
        self.with(|versions| {
            let standing = versions
                .entry((connector.to_owned(), version.to_owned()))
                .or_insert_with(|| Standing::Runs(Breaker::default()));
            let Standing::Runs(breaker) = standing else { return None };
            let reason: Arc<str> = judge(breaker)?.into();
            *standing = Standing::Quarantined(Arc::clone(&reason));
            Some(reason)
        })
    }

    fn fail(&self, connector: &str, version: &str, reason: Arc<str>, at: Timestamp) {
        let failed = Failed {
            connector: connector.to_owned(),
            version: version.to_owned(),
            lost: Lost::Leave,
        };
        self.failures.add(failed, Cause { reason, at });
    }

    fn crashes(&self) -> MutexGuard<'_, Crashes> {
        self.crashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_unshared(&self, end: &CallEnd<'_>, now: Timestamp) {
        let mut crashes = self.crashes();
        crashes.seen += 1;
        let number = crashes.seen;
        if crashes.unshared.len() < UNSHARED {
            crashes.unshared.push(VersionCrash {
                connector: end.connector.to_owned(),
                version: end.version.to_owned(),
                number,
                at: now,
            });
        }
    }

    /// Crashes that are not in the database yet.
    pub(crate) fn unshared(&self) -> Vec<VersionCrash> {
        self.crashes().unshared.clone()
    }

    /// The database has the first `count` of them.
    pub(crate) fn shared(&self, count: usize) {
        self.crashes().unshared.drain(..count);
    }

    /// A version crashed on another node. Returns the reason, if this quarantines it.
    pub(crate) fn crashed_elsewhere(&self, node: &str, crash: &VersionCrash, now: Timestamp) -> Option<Arc<str>> {
        {
            let mut crashes = self.crashes();
            crashes.counted.retain(|_, until| *until > now);
            let until = crash.at.after(2 * limits::CRASH_SPAN);
            if crashes.counted.insert((node.to_owned(), crash.number), until).is_some() {
                return None;
            }
        }
        let reason = self.quarantine(&crash.connector, &crash.version, |breaker| {
            breaker.crashed(crash.at).then(|| crashed_too_often("at another node"))
        })?;
        self.fail(&crash.connector, &crash.version, Arc::clone(&reason), now);
        Some(reason)
    }

    fn put(&self, connector: &str, version: &str, reason: &str) {
        self.with(|versions| {
            versions.insert(
                (connector.to_owned(), version.to_owned()),
                Standing::Quarantined(reason.into()),
            );
        });
    }

    /// Updates a connector's versions to match the database. A version whose failure is not stored yet stays
    /// quarantined.
    pub(crate) fn follow(&self, versions: &[Version]) {
        for version in versions {
            let (connector, number) = (&version.manifest.name, &version.manifest.version);
            let is_held = self.holds(connector, number);
            if version.stage != VersionStage::Quarantined {
                if is_held && !self.failures.has(connector, number) {
                    self.with(|versions| versions.remove(&(connector.clone(), number.clone())));
                }
            } else if !is_held {
                let since = format!("since {}; see its event connector.quarantined", version.changed_at);
                self.put(connector, number, &since);
            }
        }
    }

    /// An operator promotes the version.
    pub(crate) fn release(&self, connector: &str, version: &str) {
        self.with(|versions| versions.remove(&(connector.to_owned(), version.to_owned())));
        self.failures.forgive(connector, version);
    }
}

fn crashed_too_often(last: &str) -> String {
    format!(
        "it crashed {} times within {} s, the last time {last}",
        limits::CRASHES,
        limits::CRASH_SPAN.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn end(kind: CallKind, crashed: bool, honeytoken: Option<&'static str>) -> CallEnd<'static> {
        CallEnd {
            connector: "echo",
            version: "1.0.0",
            kind,
            outcome: "trapped",
            elapsed: Duration::ZERO,
            ticks: 0,
            peak_memory: 0,
            lines_dropped: 0,
            crashed,
            honeytoken,
        }
    }

    #[test]
    fn r7_a_version_that_reports_its_honeytoken_is_quarantined() {
        let failures = Arc::new(VersionFailures::default());
        let quarantine = Quarantine::new(Arc::clone(&failures));
        let now = Timestamp::from_millis(0);
        quarantine.note(&end(CallKind::Describe, true, Some("a log line")), now);
        quarantine.note(&end(CallKind::Send, false, None), now);
        assert_eq!(quarantine.reason("echo", "1.0.0"), None);
        quarantine.note(&end(CallKind::Send, false, Some("a request")), now);
        let reason = quarantine.reason("echo", "1.0.0").expect("quarantined");
        assert_eq!(&*reason, "its honeytoken was seen in a request, in a call of `send`");
        // Once, and not again with the others.
        quarantine.note(&end(CallKind::Send, false, Some("a request")), now);
        let unwritten = failures.all();
        assert_eq!(unwritten.len(), 1);
        assert_eq!(unwritten[0].1.reason, reason);
        assert_eq!(quarantine.reason("echo", "1.0.1"), None);
        quarantine.release("echo", "1.0.0");
        assert_eq!(quarantine.reason("echo", "1.0.0"), None);
        assert!(failures.is_empty());
    }

    #[test]
    fn crashes_at_other_nodes_count_and_each_once() {
        let failures = Arc::new(VersionFailures::default());
        let quarantine = Quarantine::new(Arc::clone(&failures));
        let now = Timestamp::from_millis(0);
        let crashes = limits::CRASHES - 1;
        for _ in 0..crashes - 1 {
            assert!(!quarantine.note(&end(CallKind::Send, true, None), now));
        }
        assert_eq!(quarantine.unshared().len(), crashes - 1);
        quarantine.shared(crashes - 1);
        assert!(quarantine.unshared().is_empty());
        let crash = |number| VersionCrash {
            connector: "echo".to_owned(),
            version: "1.0.0".to_owned(),
            number,
            at: now,
        };
        assert_eq!(quarantine.crashed_elsewhere("other", &crash(1), now), None);
        assert_eq!(
            quarantine.crashed_elsewhere("other", &crash(1), now),
            None,
            "it was counted"
        );
        assert!(quarantine.crashed_elsewhere("third", &crash(1), now).is_some());
        assert!(quarantine.holds("echo", "1.0.0"));
        assert_eq!(failures.all().len(), 1);
    }
}
