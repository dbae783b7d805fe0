//! What the host keeps in memory, brought to what other nodes have written.

use std::collections::{BTreeMap, BTreeSet};
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
    known: tokio::sync::Mutex<Known>,
}

/// What is in memory, as far as others need to know.
#[derive(Default)]
struct Known {
    /// The last revision that was read.
    revision: i64,
    /// The versions of each connector that are loaded, as the record says.
    loaded: BTreeMap<String, Vec<String>>,
}

impl Caches {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        Self {
            core,
            connectors,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// Reads again what was changed since the last look.
    ///
    /// # Errors
    /// The record; the next look begins where this one did.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        let mut known = self.known.lock().await;
        let newer = self.core.store().revisions_after(known.revision).await?;
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
            self.tell_loaded(name, &mut known).await?;
        }
        // What waited for a version, or for an app's settings.
        self.core.wakes.callers();
        known.revision = last;
        Ok(())
    }

    /// Writes down which versions of a connector are loaded here, for the node that lets one serve.
    async fn tell_loaded(&self, connector: &str, known: &mut Known) -> Result<(), StoreError> {
        let versions = self.connectors.registry.versions(connector);
        let loaded = versions.map(|versions| versions.all()).unwrap_or_default();
        let mut numbers: Vec<String> = loaded.iter().map(|loaded| loaded.number().to_owned()).collect();
        numbers.sort();
        if known.loaded.get(connector) != Some(&numbers) {
            let store = self.core.store();
            store.note_loaded(&self.core.owner, connector, numbers.clone()).await?;
            known.loaded.insert(connector.to_owned(), numbers);
        }
        Ok(())
    }
}
