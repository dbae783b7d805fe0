//! Deliveries of events to endpoints.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::{DeliveryId, EndpointId, EventId};
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::deliveries;
use crate::{DeliveriesOf, Delivery, DeliveryAttempt, DeliveryLease, DeliveryNext, Listed, Page, Result, acts};

/// Deliveries of events to endpoints.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Queues one event for one endpoint, whatever its filter: an example, or a resend.
    async fn insert_delivery(
        &self,
        workspace: &str,
        endpoint: EndpointId,
        event: EventId,
        now: Timestamp,
    ) -> Result<DeliveryId>;
    /// Leases up to `limit` due deliveries of all workspaces, in turns of the endpoints; for an endpoint that keeps
    /// order, at most one of a conversation, the oldest, so that a failing event blocks only its conversation.
    async fn lease_deliveries(&self, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>>;
    /// Makes due what `owner` leased and does not have in flight: a lease whose response was lost. Returns their
    /// number.
    async fn free_deliveries(&self, owner: &str, in_flight: BTreeSet<DeliveryId>, now: Timestamp) -> Result<u32>;
    /// Stores the result of an attempt; the lease identifies the delivery, in any workspace. Returns false, and writes
    /// nothing, if the lease was lost meanwhile.
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        attempt: DeliveryAttempt,
        next: DeliveryNext,
        now: Timestamp,
    ) -> Result<bool>;
    /// When the next delivery is due; `None` if none waits.
    async fn next_delivery_due(&self) -> Result<Option<Timestamp>>;
    /// Deliveries, newest first.
    async fn deliveries(&self, workspace: &str, of: DeliveriesOf, page: Page) -> Result<Listed<Delivery>>;
    /// One delivery, with its attempts.
    async fn delivery(&self, workspace: &str, id: DeliveryId) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>>;
}

#[async_trait]
impl<E: Engine> Deliveries for E {
    async fn insert_delivery(
        &self,
        workspace: &str,
        endpoint: EndpointId,
        event: EventId,
        now: Timestamp,
    ) -> Result<DeliveryId> {
        let workspace = workspace.to_owned();
        self.write(move |db| deliveries::add(db, &workspace, endpoint, event, now))
            .await
    }
    async fn lease_deliveries(&self, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>> {
        let owner = owner.to_owned();
        self.transact_serially(move |db| deliveries::lease(db, &owner, limit, now))
            .await
    }
    async fn free_deliveries(&self, owner: &str, in_flight: BTreeSet<DeliveryId>, now: Timestamp) -> Result<u32> {
        let owner = owner.to_owned();
        // In order, so that it runs after a lease whose response was lost and whose commit is not visible yet.
        self.transact_serially(move |db| deliveries::free(db, &owner, &in_flight, now))
            .await
    }
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        attempt: DeliveryAttempt,
        next: DeliveryNext,
        now: Timestamp,
    ) -> Result<bool> {
        let lease = lease.clone();
        self.transact_serially(move |db| acts::deliveries::settle(db, &lease, attempt.clone(), &next, now))
            .await
    }
    async fn next_delivery_due(&self) -> Result<Option<Timestamp>> {
        self.lookup(deliveries::next_due).await
    }
    async fn deliveries(&self, workspace: &str, of: DeliveriesOf, page: Page) -> Result<Listed<Delivery>> {
        let workspace = workspace.to_owned();
        self.read(move |db| deliveries::all(db, &workspace, of, &page)).await
    }
    async fn delivery(&self, workspace: &str, id: DeliveryId) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>> {
        let workspace = workspace.to_owned();
        self.read(move |db| deliveries::one(db, &workspace, id)).await
    }
}
