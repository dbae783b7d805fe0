//! Endpoints, as events carry them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::EventData;
use crate::id::EndpointId;
use crate::time::Timestamp;

/// An endpoint, as events carry it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EndpointEventData {
    /// Its id.
    pub id: EndpointId,
    /// The URL.
    #[schema(value_type = Option<String>)]
    pub url: String,
    /// The operator's description.
    #[schema(value_type = Option<String>)]
    pub description: String,
    /// Whether it receives events.
    #[schema(value_type = Option<bool>)]
    pub enabled: bool,
    /// Why the host disabled it; null if it did not.
    pub disabled_reason: Option<String>,
    /// Since when deliveries have failed without a success.
    pub failing_since: Option<Timestamp>,
}

impl EventData for EndpointEventData {}

/// The data of an example event, sent to test an endpoint while the log is empty: nothing in it can be mistaken for a
/// contact's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExampleEndpoint {
    /// The endpoint's id.
    pub id: EndpointId,
    /// Always true.
    pub example: bool,
}

impl EventData for ExampleEndpoint {}
