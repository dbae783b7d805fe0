//! Removal of a workspace: a mark disables it immediately, and its contents are deleted in steps.

use std::sync::Arc;
use std::time::Duration;

use weir_store::{RemoveWorkspaceError, StoreError};

use crate::connectors::Connectors;
use crate::core::Core;
use crate::messages::media::Media;

/// Rows of a kind in one step, steps of one round, and the pause between two: as for deletion by age.
const STEP: u32 = 200;
const STEPS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// Removes workspaces.
pub(crate) struct Workspaces {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    media: Arc<Media>,
}

impl Workspaces {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>, media: Arc<Media>) -> Self {
        Self {
            core,
            connectors,
            media,
        }
    }

    /// Removes a workspace that has no channels. False if it does not exist. Its keys and sessions stop working
    /// immediately, and its apps accept no webhooks; the next rounds of the sweep delete the rest.
    ///
    /// # Errors
    /// It is in use.
    pub(crate) async fn remove(&self, id: &str) -> Result<bool, RemoveWorkspaceError> {
        let removed = self.core.store().remove_workspace(id, self.core.now()).await?;
        if removed {
            self.core.keys_ended();
            self.connectors.apps.forget_workspace(id);
            self.core.wakes.retention.notify_one();
        }
        Ok(removed)
    }

    /// Deletes the remaining data of removed workspaces.
    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        for _ in 0..STEPS {
            if !self.core.store().clear_workspaces(self.core.now(), STEP).await? {
                break;
            }
            self.media.remove_files().await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::TempDir;
    use weir_domain::time::Timestamp;
    use weir_domain::workspace::Workspace;
    use weir_store::Page;

    use crate::testing;

    #[tokio::test]
    async fn a_start_goes_on_with_a_removal() {
        let folder = TempDir::new().expect("a directory");
        let host = testing::with_echo(&folder).await;
        let (id, at) = ("acme".to_owned(), Timestamp::from_millis(0));
        let made = host.store().insert_workspace(Workspace { id, created_at: at }).await;
        assert!(made.expect("a database"));
        let mut account = testing::account("acme");
        "acme".clone_into(&mut account.workspace_id);
        let connected = host
            .store()
            .connect_channel(account, testing::token(&host), host.now())
            .await;
        let channel = connected.expect("a database").0.id;
        host.inbound
            .receive("echo", testing::webhook(&host, "hello"))
            .await
            .expect("stored");
        host.store()
            .delete_channel("acme", channel, host.now())
            .await
            .expect("a database");
        // The process is killed right after the mark.
        assert!(
            host.store()
                .remove_workspace("acme", host.now())
                .await
                .expect("no channel is left")
        );
        host.store().close().await;
        drop(host);
        let host = testing::with_echo(&folder).await;
        let page = || Page { limit: 9, cursor: None };
        let contacts = async || {
            host.store()
                .contacts("acme", BTreeSet::new(), page())
                .await
                .expect("a database")
        };
        assert_eq!(contacts().await.rows.len(), 1);
        host.retention.retention_round(host.now()).await.expect("a database");
        assert_eq!(contacts().await.rows.len(), 0);
        assert!(
            host.store()
                .channel_of_any(channel)
                .await
                .expect("a database")
                .is_none()
        );
    }
}
