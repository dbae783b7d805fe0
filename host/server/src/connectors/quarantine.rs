//! Versions that are quarantined: they crashed too often, or told their canary.
//!
//! From that moment no call of such a version begins. Its webhooks are still verified, which takes only its manifest, and are
//! kept as dead letters; its messages wait in the outbox. It comes back, or another takes its place, when somebody promotes
//! it; what was kept meanwhile is then translated, oldest first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_domain::breaker::Breaker;
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;
use weir_runtime::context::CallEnd;
use weir_store::{Version, VersionStage};

use crate::connectors::version_failures::{Cause, Failed, Lost, VersionFailures};

/// Who is quarantined, and who is on the way there.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// By connector and version.
    versions: Mutex<HashMap<(String, String), Standing>>,
    failures: Arc<VersionFailures>,
}

#[derive(Debug)]
enum Standing {
    Runs(Breaker),
    Aside(Arc<str>),
}

impl Quarantine {
    pub(crate) fn new(failures: Arc<VersionFailures>) -> Self {
        Self {
            versions: Mutex::default(),
            failures,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<(String, String), Standing>) -> T) -> T {
        change(&mut self.versions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why this version is quarantined; none if it may run.
    pub(crate) fn reason(&self, connector: &str, version: &str) -> Option<Arc<str>> {
        self.with(
            |versions| match versions.get(&(connector.to_owned(), version.to_owned())) {
                Some(Standing::Aside(reason)) => Some(Arc::clone(reason)),
                _ => None,
            },
        )
    }

    /// Whether this version may not run.
    pub(crate) fn holds(&self, connector: &str, version: &str) -> bool {
        self.reason(connector, version).is_some()
    }

    /// A call ended: the version's standing may change by it. Whether it was quarantined by that.
    pub(crate) fn note(&self, end: &CallEnd<'_>, now: Timestamp) -> bool {
        // Who only says what it is, at install, serves nobody.
        if end.kind == CallKind::Describe || !(end.honeytoken.is_some() || end.crashed) {
            return false;
        }
        let key = (end.connector.to_owned(), end.version.to_owned());
        let reason: Option<Arc<str>> = self.with(|versions| {
            let standing = versions
                .entry(key)
                .or_insert_with(|| Standing::Runs(Breaker::default()));
            let Standing::Runs(breaker) = standing else { return None };
            let reason: Arc<str> = match end.honeytoken {
                Some(place) => format!(
                    "its honeytoken was seen in {place}, in a call of `{}`",
                    end.kind.as_str()
                ),
                None if breaker.crashed(now) => format!(
                    "it crashed {} times within {} s, the last time in `{}`: {}",
                    limits::BREAKS,
                    limits::BREAK_SPAN.as_secs(),
                    end.kind.as_str(),
                    end.outcome
                ),
                None => return None,
            }
            .into();
            *standing = Standing::Aside(Arc::clone(&reason));
            Some(reason)
        });
        let Some(reason) = reason else { return false };
        tracing::error!("{} {} is quarantined: {reason}", end.connector, end.version);
        let failed = Failed {
            connector: end.connector.to_owned(),
            version: end.version.to_owned(),
            lost: Lost::Leave,
        };
        self.failures.add(failed, Cause { reason, at: now });
        true
    }

    fn put(&self, connector: &str, version: &str, reason: &str) {
        self.with(|versions| {
            versions.insert(
                (connector.to_owned(), version.to_owned()),
                Standing::Aside(reason.into()),
            );
        });
    }

    /// Brings a connector's versions to what the record says of them. One whose failure is not in the record yet stays quarantined.
    pub(crate) fn follow(&self, versions: &[Version]) {
        for version in versions {
            let (connector, number) = (&version.manifest.name, &version.manifest.version);
            let is_held = self.holds(connector, number);
            if version.stage != VersionStage::Quarantined {
                if is_held && !self.failures.has(connector, number) {
                    self.with(|versions| versions.remove(&(connector.clone(), number.clone())));
                }
            } else if !is_held {
                let since = format!("since {}, as its event connector.quarantined says", version.changed_at);
                self.put(connector, number, &since);
            }
        }
    }

    /// Somebody lets the version serve.
    pub(crate) fn release(&self, connector: &str, version: &str) {
        self.with(|versions| versions.remove(&(connector.to_owned(), version.to_owned())));
        self.failures.forgive(connector, version);
    }
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
    fn r7_a_version_that_tells_its_canary_is_set_aside_at_once() {
        let failures = Arc::new(VersionFailures::default());
        let quarantine = Quarantine::new(Arc::clone(&failures));
        let now = Timestamp::from_millis(0);
        quarantine.note(&end(CallKind::Describe, true, Some("a log line")), now);
        quarantine.note(&end(CallKind::Send, false, None), now);
        assert_eq!(quarantine.reason("echo", "1.0.0"), None);
        quarantine.note(&end(CallKind::Send, false, Some("a request")), now);
        let reason = quarantine.reason("echo", "1.0.0").expect("quarantined");
        assert_eq!(&*reason, "its honeytoken was seen in a request, in a call of `send`");
        // Once, and the others not with it.
        quarantine.note(&end(CallKind::Send, false, Some("a request")), now);
        let unwritten = failures.all();
        assert_eq!(unwritten.len(), 1);
        assert_eq!(unwritten[0].1.reason, reason);
        assert_eq!(quarantine.reason("echo", "1.0.1"), None);
        quarantine.release("echo", "1.0.0");
        assert_eq!(quarantine.reason("echo", "1.0.0"), None);
        assert!(failures.is_empty());
    }
}
