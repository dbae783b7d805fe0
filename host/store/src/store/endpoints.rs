//! Endpoints: the operator's URLs that receive events.

use async_trait::async_trait;
use weir_domain::id::EndpointId;
use weir_domain::time::Timestamp;

use crate::acts::recovery;
use crate::engine::Engine;
use crate::tables::endpoints;
use crate::{Endpoint, EndpointPatch, Listed, Page, RecoveryStep, Result, acts};

/// Endpoints: the operator's URLs that receive events.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// Stores an endpoint. It receives the events from now on.
    async fn insert_endpoint(&self, endpoint: Endpoint) -> Result<()>;
    /// One endpoint.
    async fn endpoint(&self, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>>;
    /// Endpoints, newest first.
    async fn endpoints(&self, workspace: &str, page: Page) -> Result<Listed<Endpoint>>;
    /// Changes an endpoint. `None` if it does not exist.
    async fn update_endpoint(
        &self,
        workspace: &str,
        id: EndpointId,
        patch: EndpointPatch,
        now: Timestamp,
    ) -> Result<Option<Endpoint>>;
    /// Deletes an endpoint with its deliveries; returns false if it does not exist.
    async fn delete_endpoint(&self, workspace: &str, id: EndpointId) -> Result<bool>;
    /// Requests the recovery of an endpoint's missed deliveries of the events since `since`: those that failed or wait
    /// for another attempt, and those of the time when it was disabled. Requested twice, it is one recovery from the
    /// earlier moment on. Returns false if the endpoint does not exist.
    async fn begin_recovery(&self, workspace: &str, id: EndpointId, since: Timestamp, now: Timestamp) -> Result<bool>;
    /// Executes the next step of a recovery: reads [`weir_domain::limits::EVENTS_RECOVERED`] events, the oldest first.
    /// Until the last step nothing of the endpoint is leased.
    async fn recover_step(&self, workspace: &str, id: EndpointId, now: Timestamp) -> Result<RecoveryStep>;
    /// Endpoints of all workspaces, each with its workspace, whose recovery made its last step before then.
    async fn recoveries(&self, before: Timestamp) -> Result<Vec<(String, EndpointId)>>;
    /// Appends an event for each enabled endpoint of all workspaces whose deliveries have failed for
    /// [`weir_domain::limits::ENDPOINT_FAILING`], once each. Returns their number.
    async fn notify_failing(&self, now: Timestamp) -> Result<u32>;
}

#[async_trait]
impl<E: Engine> Endpoints for E {
    async fn insert_endpoint(&self, endpoint: Endpoint) -> Result<()> {
        self.write(move |db| endpoints::put(db, &endpoint)).await
    }
    async fn endpoint(&self, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>> {
        let workspace = workspace.to_owned();
        self.read(move |db| endpoints::one(db, &workspace, id)).await
    }
    async fn endpoints(&self, workspace: &str, page: Page) -> Result<Listed<Endpoint>> {
        let workspace = workspace.to_owned();
        self.read(move |db| endpoints::all(db, &workspace, &page)).await
    }
    async fn update_endpoint(
        &self,
        workspace: &str,
        id: EndpointId,
        patch: EndpointPatch,
        now: Timestamp,
    ) -> Result<Option<Endpoint>> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::endpoints::update(db, &workspace, id, patch.clone(), now))
            .await
    }
    async fn delete_endpoint(&self, workspace: &str, id: EndpointId) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| endpoints::delete(db, &workspace, id)).await
    }
    async fn begin_recovery(&self, workspace: &str, id: EndpointId, since: Timestamp, now: Timestamp) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| recovery::begin(db, &workspace, id, since, now))
            .await
    }
    async fn recover_step(&self, workspace: &str, id: EndpointId, now: Timestamp) -> Result<RecoveryStep> {
        let workspace = workspace.to_owned();
        self.write(move |db| recovery::step(db, &workspace, id, now)).await
    }
    async fn recoveries(&self, before: Timestamp) -> Result<Vec<(String, EndpointId)>> {
        self.lookup(move |db| recovery::before(db, before)).await
    }
    async fn notify_failing(&self, now: Timestamp) -> Result<u32> {
        if !self.lookup(move |db| endpoints::any_failing(db, now)).await? {
            return Ok(0);
        }
        self.write(move |db| acts::endpoints::notify_failing(db, now)).await
    }
}
