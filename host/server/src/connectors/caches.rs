//! Keeps the host's in-memory state in sync with other nodes' writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_store::{Revised, StoreError};

use crate::connectors::Connectors;
use crate::core::Core;

/// How often other nodes' changes are polled: short enough that an operator does not notice the delay.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The cached values: apps, the versions that serve, and streams that keys opened.
pub(crate) struct Caches {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    seen: tokio::sync::Mutex<Seen>,
}

/// The revisions read so far.
#[derive(Default)]
struct Seen {
    /// The last revision.
    revision: i64,
    /// Whether a revision of a kind arrived that only a newer version knows.
    is_newer: bool,
}

impl Caches {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        Self {
            core,
            connectors,
            seen: tokio::sync::Mutex::default(),
        }
    }

    /// Reloads values that changed since the last poll, and retries versions that could not be loaded.
    ///
    /// # Errors
    /// The database failed; the next poll starts at the same position.
    pub(crate) async fn refresh(&self, now: Instant) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        let newer = self.core.store().revisions_after(seen.revision).await?;
        let last = newer.last().map(|last| last.revision);
        let mut names = self.connectors.registry.due_for_retry(now);
        for revision in newer {
            match revision.kind {
                Revised::App => self.connectors.apps.forget(&revision.name),
                Revised::Keys => self.core.keys_ended(),
                Revised::Connector => drop(names.insert(revision.name)),
                Revised::Other if seen.is_newer => {}
                Revised::Other => {
                    seen.is_newer = true;
                    tracing::warn!(
                        "A newer version of Weir changed {:?}, which this version does not know; update this node too",
                        revision.name
                    );
                }
            }
        }
        for name in &names {
            self.connectors.follow(name).await?;
        }
        if !names.is_empty() || last.is_some() {
            // Work that waited for a version, or for an app's settings.
            self.core.wakes.callers();
        }
        seen.revision = last.unwrap_or(seen.revision);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::Instant;
    use weir_domain::credential::Secret;
    use weir_domain::rollout::{Canary, CanaryRule, VersionAct};

    use crate::testing::{component, damage_components, webhook, with_echo};
    use crate::{Config, Host};

    /// Another host on the same database.
    async fn second_host(folder: &TempDir) -> Host {
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        host.caches.refresh(Instant::now()).await.expect("a database");
        host
    }

    /// One host acts while the other polls, as its background task does.
    async fn while_looking<T>(there: &Host, act: impl Future<Output = T>) -> T {
        let refreshes = async {
            loop {
                there.caches.refresh(Instant::now()).await.expect("a database");
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = act => {
                there.caches.refresh(Instant::now()).await.expect("a database");
                done
            }
            () = refreshes => unreachable!("polling does not end"),
        }
    }

    async fn serves(host: &Host) -> String {
        let serving = host.connectors.serving("echo").await.expect("a version");
        serving.version().to_owned()
    }

    #[tokio::test]
    async fn changed_secret_is_reloaded() {
        let folder = TempDir::new().expect("a directory");
        let here = with_echo(&folder).await;
        let there = second_host(&folder).await;
        let receives = async |text: &str| there.inbound.receive("echo", webhook(&there, text)).await.is_ok();
        assert!(receives("one").await);
        let mut app = here.store().app("echo").await.expect("a database").expect("an app");
        app.secrets = [("webhook_secret".to_owned(), vec![Secret::new("another")])].into();
        app.updated_at = here.now();
        here.connectors.apps.put(app).await.expect("an app");
        there.caches.refresh(Instant::now()).await.expect("a database");
        assert!(!receives("two").await, "the old secret is no longer valid");
    }

    #[tokio::test]
    async fn versions_that_another_host_changed_serve_here_too() {
        let folder = TempDir::new().expect("a directory");
        let here = with_echo(&folder).await;
        let there = second_host(&folder).await;
        let next = here
            .connectors
            .install(component("variants/echo-upgrade"), None, None, false)
            .await;
        let next = next.expect("a connector").manifest.version;
        let before = serves(&there).await;
        let canary = Canary {
            percent: 100,
            rule: CanaryRule::default(),
            since: here.now(),
        };
        let started = here.rollout.begin_canary("echo", &next, canary);
        while_looking(&there, started).await.expect("a canary");
        let versions = there.connectors.registry.versions("echo").expect("versions");
        assert!(versions.canary_of(&next).is_some());
        assert_eq!(serves(&there).await, before);
        let promoted = here.rollout.promote("echo", &next);
        while_looking(&there, promoted).await.expect("it serves");
        assert_eq!(serves(&there).await, next);
        let versions = there.connectors.registry.versions("echo").expect("versions");
        assert!(versions.canary_run.is_none());
        let back = here.rollout.roll_back("echo", &next, "worse");
        while_looking(&there, back).await.expect("the previous version");
        assert_eq!(serves(&there).await, before);
        let reason = "it crashed";
        let quarantined = here.store().quarantine_version("echo", &before, reason, here.now());
        quarantined.await.expect("a database");
        there.caches.refresh(Instant::now()).await.expect("a database");
        assert!(there.connectors.serving("echo").await.is_err(), "it is quarantined");
        let again = here.rollout.promote("echo", &before);
        while_looking(&there, again).await.expect("it serves again");
        assert_eq!(serves(&there).await, before);
    }

    #[tokio::test]
    async fn unloadable_active_version_is_retried() {
        let folder = TempDir::new().expect("a directory");
        let here = with_echo(&folder).await;
        let there = second_host(&folder).await;
        let before = serves(&there).await;
        let bytes = component("variants/echo-upgrade");
        let staged = here
            .connectors
            .install(bytes.clone(), None, None, false)
            .await
            .expect("a connector");
        let next = &staged.manifest.version;
        damage_components(folder.path(), &staged.digest, None);
        let act = VersionAct::Promote;
        let active = here.store().activate_version("echo", next, act, "", here.now()).await;
        assert!(active.expect("a database").is_some());
        there.caches.refresh(Instant::now()).await.expect("a database");
        assert_eq!(serves(&there).await, before, "a fallback is better than none");
        let amiss = there.ready().await.expect_err("it is not what is active").to_string();
        assert!(amiss.contains(next.as_str()), "{amiss}");
        assert!(there.connectors.registry.load_failure("echo").is_some(), "for doctor");
        here.store()
            .keep_component(&staged.digest, bytes)
            .await
            .expect("a database");
        there.caches.refresh(Instant::now()).await.expect("a database");
        assert_eq!(serves(&there).await, before, "it waits");
        let later = Instant::now() + Duration::from_secs(10);
        there.caches.refresh(later).await.expect("a database");
        assert_eq!(serves(&there).await, *next);
        assert!(there.ready().await.is_ok());
    }

    #[tokio::test]
    async fn what_a_newer_version_changes_stops_no_cache() {
        let folder = TempDir::new().expect("a directory");
        let here = with_echo(&folder).await;
        let there = second_host(&folder).await;
        let record = rusqlite::Connection::open(folder.path().join("weir.db")).expect("a file");
        let newer =
            "INSERT INTO revisions (kind, name, revision) SELECT 'theme', 'dark', max(revision) + 1 FROM revisions";
        record.execute(newer, []).expect("a row");
        let mut app = here.store().app("echo").await.expect("a database").expect("an app");
        app.secrets = [("webhook_secret".to_owned(), vec![Secret::new("another")])].into();
        here.connectors.apps.put(app).await.expect("an app");
        there.caches.refresh(Instant::now()).await.expect("a database");
        let received = there.inbound.receive("echo", webhook(&there, "hello")).await;
        assert!(received.is_err(), "the old secret is no longer valid");
    }
}
