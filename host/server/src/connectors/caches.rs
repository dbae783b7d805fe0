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
    /// The last revision that memory knows.
    seen: tokio::sync::Mutex<i64>,
}

impl Caches {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        Self {
            core,
            connectors,
            seen: tokio::sync::Mutex::new(0),
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
