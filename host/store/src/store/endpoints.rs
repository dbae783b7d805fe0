//! Endpoints: who is told of events.

use async_trait::async_trait;
use weir_domain::id::EndpointId;
use weir_domain::time::Timestamp;

use crate::acts::recovery;
use crate::engine::Engine;
use crate::tables::endpoints;
use crate::{Endpoint, EndpointPatch, Listed, Page, RecoveryStep, Result, acts};

/// Endpoints: who is told of events.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// Keeps an endpoint. It gets the events that come after.
    async fn insert_endpoint(&self, endpoint: Endpoint) -> Result<()>;
    /// One endpoint.
    async fn endpoint(&self, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>>;
    /// Endpoints, newest first.
    async fn endpoints(&self, workspace: &str, page: Page) -> Result<Listed<Endpoint>>;
    /// Changes an endpoint. None if there is none.
    async fn update_endpoint(
        &self,
        workspace: &str,
        id: EndpointId,
        patch: EndpointPatch,
        now: Timestamp,
    ) -> Result<Option<Endpoint>>;
    /// Removes an endpoint and what waits for it; false if there is none.
    async fn delete_endpoint(&self, workspace: &str, id: EndpointId) -> Result<bool>;
    /// Writes down that this endpoint is to be given what it did not take of the events since then: deliveries that failed or
    /// wait for another try, and what was told while it was switched off. Asked for twice, it is one recovery from the earlier
    /// moment on. False if there is no such endpoint.
    async fn begin_recovery(&self, workspace: &str, id: EndpointId, since: Timestamp, now: Timestamp) -> Result<bool>;
    /// Takes the next step of a recovery: looks at [`weir_domain::limits::EVENTS_RECOVERED`] events, the oldest first. Until the
    /// last step nothing of the endpoint is leased.
    async fn recover_step(&self, workspace: &str, id: EndpointId, now: Timestamp) -> Result<RecoveryStep>;
    /// Endpoints of all workspaces, with those, whose recovery took its last step before then.
    async fn recoveries(&self, before: Timestamp) -> Result<Vec<(String, EndpointId)>>;
    /// Tells of the enabled endpoints of all workspaces to which nothing has gone through for [`weir_domain::limits::ENDPOINT_FAILING`], once
    /// each. How many.
    async fn tell_failing(&self, now: Timestamp) -> Result<u32>;
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
        self.look(move |db| recovery::before(db, before)).await
    }
    async fn tell_failing(&self, now: Timestamp) -> Result<u32> {
        if !self.look(move |db| endpoints::any_failing(db, now)).await? {
            return Ok(0);
        }
        self.write(move |db| acts::endpoints::tell_failing(db, now)).await
    }
}
