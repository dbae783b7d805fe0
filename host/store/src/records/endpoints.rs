//! Where operators want events, and their handing-over.

use serde::{Deserialize, Serialize};
use weir_domain::credential::Secret;
use weir_domain::event::{Event, EventFilter, EventType};
use weir_domain::id::{DeliveryId, EndpointId, EventId};
use weir_domain::time::Timestamp;

/// Where an operator wants events.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The tenant it belongs to.
    pub workspace_id: String,
    /// Where.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which events.
    pub filter: EventFilter,
    /// Whether events of one conversation keep their order.
    pub ordered: bool,
    /// Events in hand for it at once; never more than [`weir_domain::limits::DELIVERIES_PER_ENDPOINT`].
    pub max_in_flight: u32,
    /// Events handed over to it in a second; none is as fast as it takes them.
    pub max_per_second: Option<u32>,
    /// Whether it gets any.
    pub enabled: bool,
    /// Why not, if the host switched it off.
    pub disabled_reason: Option<String>,
    /// `whsec_…`, the newest first; the second works until `old_secret_until`. Encrypted at rest.
    pub secrets: Vec<Secret>,
    /// When the old secret stops working.
    pub old_secret_until: Option<Timestamp>,
    /// Since when nothing went through.
    pub failing_since: Option<Timestamp>,
    /// Events that it was owed and that became too old to be kept before it took them.
    pub missed: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What changes of an endpoint; none leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct EndpointPatch {
    /// Where.
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Which events.
    pub filter: Option<EventFilter>,
    /// Whether order is kept.
    pub ordered: Option<bool>,
    /// Events in hand for it at once.
    pub max_in_flight: Option<u32>,
    /// Events handed over to it in a second; some(none) lifts the bound.
    pub max_per_second: Option<Option<u32>>,
    /// Whether it gets any; enabling clears the reason.
    pub enabled: Option<bool>,
    /// Why the host switches it off.
    pub disabled_reason: Option<String>,
    /// New secrets, and until when the second works.
    pub secrets: Option<(Vec<Secret>, Option<Timestamp>)>,
}

/// One step of an endpoint's recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryStep {
    /// Deliveries that are due again by it, or for the first time.
    pub recovered: u32,
    /// Whether it was the last one.
    pub done: bool,
}

/// The handing-over of one event to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where.
    pub endpoint_id: EndpointId,
    /// What.
    pub event_id: EventId,
    /// Of which type.
    pub event_type: EventType,
    /// `pending`, `delivered`, `failed`.
    pub status: String,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried again.
    pub due_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A delivery to be made now.
#[derive(Clone, Debug)]
pub struct DeliveryLease {
    /// Which.
    pub delivery: DeliveryId,
    /// Who holds the claim.
    pub owner: String,
    /// Rises with each lease.
    pub epoch: i64,
    /// Where.
    pub endpoint: Endpoint,
    /// What.
    pub event: Event,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// Which deliveries are looked for; all of them if nothing is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveriesOf {
    /// To this endpoint only.
    pub endpoint: Option<EndpointId>,
    /// Of this event only.
    pub event: Option<EventId>,
}

/// One try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// From 1.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// The answer's status.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// What happens next with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryNext {
    /// The endpoint took it.
    Delivered,
    /// Again then.
    RetryAt(Timestamp),
    /// Given up.
    Failed,
    /// The endpoint is switched off: it said 410, or failed for days. The delivery waits until it is enabled again.
    Disable {
        /// Why.
        reason: String,
    },
}
