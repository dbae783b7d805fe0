//! Versions that are set aside: they broke off too often, or told their canary.
//!
//! From that moment no call of such a version begins. Its webhooks are still verified, which takes only its manifest, and are
//! kept as dead letters; its messages wait in the outbox. It comes back, or another takes its place, when somebody promotes
//! it; what was kept meanwhile is then translated, oldest first.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use weir_domain::breaker::Breaker;
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;
use weir_runtime::context::CallEnd;
use weir_store::{Page, StoreError, VersionStage};

use crate::connectors::version_failures::{Cause, Failed, Lost, VersionFailures};
use crate::host::Host;
use crate::messages::inbound::ReplayError;

/// Who is set aside, and who is on the way there.
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

    /// Why this version is set aside; none if it may run.
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
                None if breaker.broke_off(now) => format!(
                    "it broke off {} times within {} s, the last time in `{}`: {}",
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
        tracing::error!("{} {} is set aside: {reason}", end.connector, end.version);
        let failed = Failed {
            connector: end.connector.to_owned(),
            version: end.version.to_owned(),
            lost: Lost::Leave,
        };
        self.failures.add(failed, Cause { reason, at: now });
        true
    }

    /// A version that the record holds as set aside.
    pub(crate) fn put(&self, connector: &str, version: &str, reason: &str) {
        self.with(|versions| {
            versions.insert(
                (connector.to_owned(), version.to_owned()),
                Standing::Aside(reason.into()),
            );
        });
    }

    /// Somebody lets the version serve.
    pub(crate) fn release(&self, connector: &str, version: &str) {
        self.with(|versions| versions.remove(&(connector.to_owned(), version.to_owned())));
        self.failures.forgive(connector, version);
    }
}

impl Host {
    /// Translates what came for a connector's apps since `since` and could not be translated then, oldest first. Ends early if
    /// the version that serves now is set aside in its turn.
    ///
    /// # Errors
    /// The record.
    pub(crate) async fn replay_kept(&self, connector: &str, since: Timestamp) -> Result<(), StoreError> {
        let apps = self.store().apps().await?;
        let ours = apps.into_iter().filter(|app| app.connector == connector);
        let ours: BTreeSet<String> = ours.map(|app| app.name).collect();
        let mut ids = Vec::new();
        let mut page = Page {
            limit: limits::PAGE,
            cursor: None,
        };
        loop {
            let letters = self.store().dead_letters(ours.clone(), page.clone()).await?;
            let kept = letters.rows.iter();
            ids.extend(
                kept.filter(|letter| letter.received_at >= since)
                    .map(|letter| letter.id),
            );
            match letters.next {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
        // Ids rise with time.
        ids.sort_unstable();
        for id in ids {
            match self.replay_dead_letter(id).await {
                // Somebody else was quicker, or it stays for a version that is mended.
                Ok(_) | Err(ReplayError::NotFound | ReplayError::StillUnknown { .. } | ReplayError::NoSuchApp(_)) => {}
                Err(ReplayError::Store(error)) => return Err(error),
                Err(ReplayError::Connector(error)) => {
                    tracing::warn!("The dead letter {id} stays: {error}");
                }
            }
        }
        Ok(())
    }

    /// When the version of this connector that was last set aside went; none if none is.
    pub(crate) async fn set_aside_at(&self, connector: &str) -> Result<Option<Timestamp>, StoreError> {
        let versions = self.store().versions().await?.into_iter();
        Ok(versions
            .filter(|version| version.manifest.name == connector && version.stage == VersionStage::Quarantined)
            .map(|version| version.changed_at)
            .max())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::Config;
    use crate::messages::inbound::Hook;
    use crate::testing::{webhook, with_echo};

    /// Sends one, and gives why it was kept; none if it was translated.
    async fn kept(host: &Host, text: &str) -> Option<String> {
        match host.receive("echo", webhook(host, text)).await.expect("it is answered") {
            Hook::DeadLettered(id) => {
                let letter = host.store().dead_letter(id).await.expect("a record");
                Some(letter.expect("it is kept").reason)
            }
            Hook::Accepted(_) => None,
            Hook::Challenge(_) => panic!("nobody asked"),
        }
    }

    async fn stage(host: &Host) -> VersionStage {
        host.store().versions().await.expect("a record")[0].stage
    }

    #[tokio::test]
    async fn c6_a_version_that_keeps_breaking_off_is_set_aside_and_what_came_meanwhile_is_not_lost() {
        let folder = TempDir::new().expect("a folder");
        let host = with_echo(&folder).await;
        let loops = host.start();
        let mut changes = host.store().log_end();
        for _ in 0..limits::BREAKS {
            let reason = kept(&host, "trap").await.expect("it broke off");
            assert!(reason.contains("crashed"), "{reason}");
        }
        let reason = kept(&host, "hi").await.expect("no code of it runs any more");
        assert!(
            reason.contains("is set aside: it broke off 5 times within 60 s, the last time in `receive`: trapped"),
            "{reason}"
        );
        // Nobody's proof is believed any more easily.
        let mut forged = webhook(&host, "forged");
        forged.headers[0].1 = "t=1,s=00".to_owned();
        assert!(host.receive("echo", forged).await.is_err());
        // The record says so too, with an event, and the next start still knows.
        tokio::time::timeout(Duration::from_secs(60), async {
            while stage(&host).await != VersionStage::Quarantined {
                changes.changed().await.expect("the host lives");
            }
        })
        .await
        .expect("it is written down");
        loops.stop(limits::SHUTDOWN).await;
        host.store().close().await;
        drop(host);
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let reason = kept(&host, "again").await.expect("still set aside");
        assert!(reason.contains("is set aside: since "), "{reason}");

        // Back by a person's word; what came meanwhile is translated, what broke it stays.
        let since = host.set_aside_at("echo").await.expect("a record").expect("set aside");
        let version = host
            .store()
            .versions()
            .await
            .expect("a record")
            .remove(0)
            .manifest
            .version;
        host.promote("echo", &version).await.expect("it serves again");
        assert_eq!(stage(&host).await, VersionStage::Active);
        host.replay_kept("echo", since).await.expect("a record");
        let page = Page {
            limit: limits::PAGE,
            cursor: None,
        };
        let left = host
            .store()
            .dead_letters(["echo".to_owned()].into(), page)
            .await
            .expect("a record")
            .rows;
        assert_eq!(left.len(), limits::BREAKS, "{left:?}");
        assert!(
            left.iter().all(|letter| letter.reason.contains("crashed: ")),
            "{left:?}"
        );
        assert_eq!(kept(&host, "hi again").await, None);
    }

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
        let reason = quarantine.reason("echo", "1.0.0").expect("set aside");
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
