//! What the host keeps in memory, brought to what other nodes have written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_store::{Revised, StoreError};

use crate::connectors::Connectors;
use crate::core::Core;

/// How often it is looked what other nodes changed: what an operator waits for without noticing.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is kept in memory: apps, the versions that serve, and streams that keys opened.
pub(crate) struct Caches {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    /// The last revision that was read.
    seen: tokio::sync::Mutex<i64>,
}

impl Caches {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        Self {
            core,
            connectors,
            seen: tokio::sync::Mutex::default(),
        }
    }

    /// Reads again what was changed since the last look.
    ///
    /// # Errors
    /// The record; the next look begins where this one did.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        let newer = self.core.store().revisions_after(*seen).await?;
        let Some(last) = newer.last().map(|last| last.revision) else {
            return Ok(());
        };
        let mut names = BTreeSet::new();
        for revision in newer {
            match revision.kind {
                Revised::App => self.connectors.apps.forget(&revision.name),
                Revised::Keys => self.core.keys_ended(),
                Revised::Connector => drop(names.insert(revision.name)),
            }
        }
        for name in &names {
            self.connectors.follow(name).await?;
        }
        // What waited for a version, or for an app's settings.
        self.core.wakes.callers();
        *seen = last;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use weir_domain::credential::Secret;
    use weir_domain::rollout::{Canary, CanaryRule};

    use crate::testing::{component, webhook, with_echo};
    use crate::{Config, Host};

    /// Another host on the same record.
    async fn beside(folder: &TempDir) -> Host {
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        host.caches.look().await.expect("a record");
        host
    }

    /// What one host does while the other looks, as its loop does.
    async fn while_looking<T>(there: &Host, act: impl Future<Output = T>) -> T {
        let looks = async {
            loop {
                there.caches.look().await.expect("a record");
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = act => {
                there.caches.look().await.expect("a record");
                done
            }
            () = looks => unreachable!("it goes on"),
        }
    }

    async fn serves(host: &Host) -> String {
        let serving = host.connectors.serving("echo").await.expect("a version");
        serving.version().to_owned()
    }

    #[tokio::test]
    async fn a_secret_that_another_host_changed_is_read_again() {
        let folder = TempDir::new().expect("a folder");
        let here = with_echo(&folder).await;
        let there = beside(&folder).await;
        let hears = async |text: &str| there.inbound.receive("echo", webhook(&there, text)).await.is_ok();
        assert!(hears("one").await);
        let mut app = here.store().app("echo").await.expect("a record").expect("an app");
        app.secrets = [("webhook_secret".to_owned(), vec![Secret::new("another")])].into();
        app.updated_at = here.now();
        here.connectors.apps.put(app).await.expect("an app");
        there.caches.look().await.expect("a record");
        assert!(!hears("two").await, "the old secret proves nothing any more");
    }

    #[tokio::test]
    async fn versions_that_another_host_changed_serve_here_too() {
        let folder = TempDir::new().expect("a folder");
        let here = with_echo(&folder).await;
        let there = beside(&folder).await;
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
        let begun = here.rollout.begin_canary("echo", &next, canary);
        while_looking(&there, begun).await.expect("a canary");
        let versions = there.connectors.registry.versions("echo").expect("versions");
        assert!(versions.canary_of(&next).is_some());
        assert_eq!(serves(&there).await, before);
        let promoted = here.rollout.promote("echo", &next);
        while_looking(&there, promoted).await.expect("it serves");
        assert_eq!(serves(&there).await, next);
        let versions = there.connectors.registry.versions("echo").expect("versions");
        assert!(versions.canary_run.is_none());
        let back = here.rollout.roll_back("echo", &next, "worse");
        while_looking(&there, back).await.expect("the one before");
        assert_eq!(serves(&there).await, before);
        let reason = "it crashed";
        let quarantined = here.store().quarantine_version("echo", &before, reason, here.now());
        quarantined.await.expect("a record");
        there.caches.look().await.expect("a record");
        assert!(there.connectors.serving("echo").await.is_err(), "it is quarantined");
        let again = here.rollout.promote("echo", &before);
        while_looking(&there, again).await.expect("it serves again");
        assert_eq!(serves(&there).await, before);
    }
}
