//! Endpoints and deliveries.

use serde::{Deserialize, Serialize};
use weir_domain::credential::Secret;
use weir_domain::event::{Event, EventFilter, EventType};
use weir_domain::id::{DeliveryId, EndpointId, EventId};
use weir_domain::time::Timestamp;

/// A URL of the operator that receives events.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The workspace that owns it.
    pub workspace_id: String,
    /// The URL.
    pub url: String,
    /// The operator's description.
    pub description: String,
    /// The events that it receives.
    pub filter: EventFilter,
    /// Whether events of one conversation keep their order.
    pub ordered: bool,
    /// Deliveries in flight at once; at most [`weir_domain::limits::DELIVERIES_PER_ENDPOINT`].
    pub max_in_flight: u32,
    /// Deliveries per second; `None` is unlimited.
    pub max_per_second: Option<u32>,
    /// Whether it receives events.
    pub enabled: bool,
    /// Why the host disabled it; `None` if it did not.
    pub disabled_reason: Option<String>,
    /// `whsec_…`, the newest first; the second works until `old_secret_until`. Encrypted at rest.
    pub secrets: Vec<Secret>,
    /// When the old secret stops working.
    pub old_secret_until: Option<Timestamp>,
    /// Since when deliveries have failed without a success.
    pub failing_since: Option<Timestamp>,
    /// Events that were past their retention before a disabled endpoint received them.
    pub missed: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A change of an endpoint; `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct EndpointPatch {
    /// The URL.
    pub url: Option<String>,
    /// The operator's description.
    pub description: Option<String>,
    /// The events that it receives.
    pub filter: Option<EventFilter>,
    /// Whether events of one conversation keep their order.
    pub ordered: Option<bool>,
    /// Deliveries in flight at once.
    pub max_in_flight: Option<u32>,
    /// Deliveries per second; `Some(None)` removes the bound.
    pub max_per_second: Option<Option<u32>>,
    /// Whether it receives events; enabling clears the reason.
    pub enabled: Option<bool>,
    /// Why the host disables it.
    pub disabled_reason: Option<String>,
    /// New secrets, and until when the second works.
    pub secrets: Option<(Vec<Secret>, Option<Timestamp>)>,
}

/// The result of one step of an endpoint's recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryStep {
    /// Deliveries that it created or made due again.
    pub recovered: u32,
    /// Whether it was the last one.
    pub done: bool,
}

/// The task of delivering one event to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// `pending`, `delivered`, `failed`.
    pub status: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is attempted again.
    pub due_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A delivery to attempt now.
#[derive(Clone, Debug)]
pub struct DeliveryLease {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The owner of the lease.
    pub owner: String,
    /// Rises with each lease.
    pub epoch: i64,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The event.
    pub event: Event,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

/// A filter of deliveries; all of them if empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesOf {
    /// To this endpoint only.
    pub endpoint: Option<EndpointId>,
    /// Of this event only.
    pub event: Option<EventId>,
}

/// One attempt of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// From 1.
    pub number: u32,
    /// When it was made.
    pub at: Timestamp,
    /// The response's status.
    pub status: Option<u16>,
    /// The beginning of the response's body.
    pub answer: Option<String>,
    /// Its duration, in milliseconds.
    pub elapsed_ms: u64,
    /// Why there was no response.
    pub error: Option<String>,
}

/// What happens next to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryNext {
    /// The endpoint accepted it.
    Delivered,
    /// It is attempted again at this time.
    RetryAt(Timestamp),
    /// It is given up.
    Failed,
    /// The endpoint is disabled: it responded 410, or failed for days. The delivery waits until it is enabled again.
    Disable {
        /// The reason.
        reason: String,
    },
}
