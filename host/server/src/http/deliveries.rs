//! Deliveries of events to endpoints.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_domain::event::EventType;
use weir_domain::id::{DeliveryId, EndpointId, EventId};
use weir_domain::time::Timestamp;
use weir_store::{DeliveriesOf, Delivery, DeliveryAttempt};

use super::audit::record;
use super::body::{Named, Params};
use super::caller::{EventsWrite, May, Read};
use super::endpoints::Queued;
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use crate::Host;

/// A filter of deliveries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Of {
    /// To this endpoint only.
    endpoint_id: Option<EndpointId>,
    /// Of this event only.
    event_id: Option<EventId>,
}

/// The delivery of one event to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Its id.
    id: DeliveryId,
    /// The endpoint.
    endpoint_id: EndpointId,
    /// The event.
    event_id: EventId,
    /// The type of the event.
    event_type: EventType,
    /// `pending`, `delivered`, `failed`.
    status: String,
    /// Attempts so far.
    attempt_count: u32,
    /// When it is retried.
    due_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// Each attempt, oldest first; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<TryView>>,
}

/// One attempt of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TryView {
    /// From 1.
    number: u32,
    /// The time.
    at: Timestamp,
    /// The response's status.
    status: Option<u16>,
    /// The beginning of the response.
    answer: Option<String>,
    /// The duration.
    elapsed_ms: u64,
    /// Why there was no response.
    error: Option<String>,
}

impl DeliveryView {
    fn of(delivery: Delivery, attempts: Option<Vec<DeliveryAttempt>>) -> Self {
        Self {
            id: delivery.id,
            endpoint_id: delivery.endpoint_id,
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            status: delivery.status,
            attempt_count: delivery.attempts,
            due_at: delivery.due_at,
            created_at: delivery.created_at,
            attempts: attempts.map(|attempts| attempts.into_iter().map(TryView::from).collect()),
        }
    }
}

impl From<DeliveryAttempt> for TryView {
    fn from(attempt: DeliveryAttempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.at,
            status: attempt.status,
            answer: attempt.answer,
            elapsed_ms: attempt.elapsed_ms,
            error: attempt.error,
        }
    }
}

/// List deliveries, newest first
#[utoipa::path(get, path = "/v1/deliveries", tag = "endpoints", params(Of, Paging), responses((status = 200, body = List<DeliveryView>)))]
pub(crate) async fn list(
    caller: May<Read>,
    State(host): State<Host>,
    Params(of): Params<Of>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<DeliveryView>>> {
    let of = DeliveriesOf {
        endpoint: of.endpoint_id,
        event: of.event_id,
    };
    let listed = host
        .store()
        .deliveries(caller.workspace_id(), of, paging.page()?)
        .await?;
    Ok(List::of(listed, |delivery| DeliveryView::of(delivery, None)))
}

/// Get a delivery with its attempts
#[utoipa::path(get, path = "/v1/deliveries/{id}", tag = "endpoints", params(("id" = DeliveryId, Path)), responses((status = 200, body = DeliveryView)))]
pub(crate) async fn get(
    caller: May<Read>,
    State(host): State<Host>,
    Named(id): Named<DeliveryId>,
) -> ApiResult<JsonBody<DeliveryView>> {
    let found = host.store().delivery(caller.workspace_id(), id).await?;
    let (delivery, attempts) = found.ok_or_else(|| Problem::no_such("delivery"))?;
    Ok(JsonBody(DeliveryView::of(delivery, Some(attempts))))
}

/// Retry a delivery
#[utoipa::path(post, path = "/v1/deliveries/{id}/resend", tag = "endpoints", params(("id" = DeliveryId, Path)), responses((status = 202, body = Queued)))]
pub(crate) async fn resend(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<DeliveryId>,
) -> ApiResult<(StatusCode, JsonBody<Queued>)> {
    let found = host.store().delivery(caller.workspace_id(), id).await?;
    let (delivery, _) = found.ok_or_else(|| Problem::no_such("delivery"))?;
    let delivery_id = host
        .store()
        .insert_delivery(
            caller.workspace_id(),
            delivery.endpoint_id,
            delivery.event_id,
            host.now(),
        )
        .await?;
    host.core.wakes.deliveries.notify_one();
    let changed = serde_json::json!({ "delivery_id": delivery_id });
    record(&host, &caller, "delivery.resend", &id.to_string(), changed).await;
    Ok((StatusCode::ACCEPTED, JsonBody(Queued { delivery_id })))
}
