//! Endpoints, as events tell of them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::EventData;
use crate::id::EndpointId;
use crate::time::Timestamp;

/// An endpoint, as events tell of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ToldEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Where.
    #[schema(value_type = Option<String>)]
    pub url: String,
    /// What it is for.
    #[schema(value_type = Option<String>)]
    pub description: String,
    /// Whether it gets any.
    #[schema(value_type = Option<bool>)]
    pub enabled: bool,
    /// Why not.
    pub disabled_reason: Option<String>,
    /// Since when nothing goes through.
    pub failing_since: Option<Timestamp>,
}

impl EventData for ToldEndpoint {}

/// What an endpoint is sent to try it out while the log is empty: it tells nothing that could be mistaken for a contact's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExampleEndpoint {
    /// The endpoint's id.
    pub id: EndpointId,
    /// Always true.
    pub example: bool,
}

impl EventData for ExampleEndpoint {}
