//! Removing a workspace: a mark ends it at once, and what is in it is deleted in steps.

use std::time::Duration;

use weir_store::{RemoveWorkspaceError, StoreError};

use crate::host::Host;

/// Rows of a kind in one step, steps of one round, and the pause between two: as for what is deleted by its age.
const STEP: u32 = 200;
const STEPS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(50);

impl Host {
    /// Removes a workspace that has no channels. False if there is none. Its keys and sessions open nothing from then on, and its
    /// apps take no webhook; what is left of it goes with the next rounds of the sweep.
    ///
    /// # Errors
    /// It is in use.
    pub(crate) async fn remove_workspace(&self, id: &str) -> Result<bool, RemoveWorkspaceError> {
        let removed = self.store().remove_workspace(id, self.now()).await?;
        if removed {
            self.keys_ended();
            self.forget_apps(id);
            self.0.wakes.retention.notify_one();
        }
        Ok(removed)
    }

    /// Deletes what is left in removed workspaces.
    pub(crate) async fn clear_workspaces(&self) -> Result<(), StoreError> {
        for _ in 0..STEPS {
            if !self.store().clear_workspaces(self.now(), STEP).await? {
                break;
            }
            self.remove_files().await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
