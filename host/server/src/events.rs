//! Events: delivery to the operator's endpoints, and events caused only by time.

pub(crate) mod publisher;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_domain::id::EndpointId;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::connectors::Connectors;
use crate::core::Core;

/// Events caused only by time, and recovery of endpoints.
pub struct Events {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
}

impl Events {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        Self { core, connectors }
    }

    /// Reports failing endpoints, and continues recoveries whose caller was lost.
    pub(crate) async fn endpoints_round(&self, now: Timestamp) -> Result<(), StoreError> {
        self.core.store().notify_failing(now).await?;
        for (workspace, endpoint) in self.core.store().recoveries(now.before(limits::RECOVERY_STEP)).await? {
            self.recover_to_the_end(&workspace, endpoint).await?;
        }
        Ok(())
    }

    /// Performs the steps of an endpoint's recovery; returns how many deliveries resulted. Ends when the recovery does:
    /// its progress is stored.
    pub(crate) async fn recover_to_the_end(&self, workspace: &str, endpoint: EndpointId) -> Result<u32, StoreError> {
        let mut recovered = 0_u32;
        loop {
            let step = self
                .core
                .store()
                .recover_step(workspace, endpoint, self.core.now())
                .await?;
            recovered = recovered.saturating_add(step.recovered);
            if step.done {
                self.core.wakes.deliveries.notify_one();
                return Ok(recovered);
            }
        }
    }

    /// Emits all due events about closing windows and about conversations that ended with their channel.
    pub(crate) async fn window_event_round(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut policy_sets = BTreeMap::new();
        for app in self.core.store().apps().await? {
            // The rules of a quarantined version still apply.
            if let Ok(serving) = self.connectors.installed(&app.name).await {
                policy_sets.insert(app.name, serving.policies);
            }
        }
        loop {
            let checked = self
                .core
                .store()
                .notify_window_events(policy_sets.clone(), limits::CONVERSATIONS_SWEPT, now)
                .await?;
            if checked < limits::CONVERSATIONS_SWEPT {
                return Ok(());
            }
        }
    }
}
