//! Endpoints: where an operator receives events.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonBody};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde::{Deserialize, Serialize};
use url::{Host as UrlHost, Url};
use utoipa::ToSchema;
use weir_domain::credential::Secret;
use weir_domain::event::{Event, EventFilter, EventType, ExampleEndpoint};
use weir_domain::id::{ChannelId, DeliveryId, EndpointId};
use weir_domain::limits;
use weir_domain::policy::{Reach, Request, RequestBody, address, may_deliver};
use weir_domain::record::{About, NewEvent};
use weir_domain::time::Timestamp;
use weir_store::{Endpoint, EndpointPatch, Listed};

use super::audit::record;
use super::body::{Json, MaybeJson, Named, Params};
use super::caller::{EventsWrite, May, Read};
use super::codes;
use super::idempotency::KeepInstead;
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use crate::Host;

/// Longest description.
const DESCRIPTION_CHARS: usize = 500;
/// Channels that one endpoint may filter by.
const CHANNELS: usize = 1_000;
/// How long the old secret remains valid after a rotation.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// How far back in the log an example is searched.
const EXAMPLE_BACK: i64 = 10_000;

/// A new endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://crm.example/weir", "types": ["message.received"], "ordered": true}))]
pub(crate) struct NewEndpoint {
    /// The URL.
    url: String,
    /// A description of its purpose.
    #[serde(default)]
    description: String,
    /// Types of event; all if empty.
    #[serde(default)]
    types: BTreeSet<String>,
    /// Channels; all if empty.
    #[serde(default)]
    channel_ids: BTreeSet<ChannelId>,
    /// Whether events of one conversation keep their order; a failing delivery then delays the ones after it.
    #[serde(default = "yes")]
    ordered: bool,
    /// Deliveries in progress at once.
    #[serde(default = "default_concurrency")]
    #[schema(minimum = 1, maximum = 8)]
    max_in_flight: u32,
    /// Average limit of deliveries per second; default: no limit.
    #[schema(minimum = 1, maximum = 1000)]
    max_per_second: Option<u32>,
    /// Whether it is enabled.
    #[serde(default = "yes")]
    enabled: bool,
}

fn default_concurrency() -> u32 {
    limits::DELIVERIES_PER_ENDPOINT
}

fn yes() -> bool {
    true
}

/// Changes to an endpoint; omitted members stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchEndpoint {
    /// The URL.
    url: Option<String>,
    /// A description of its purpose.
    description: Option<String>,
    /// Types of event; all if empty.
    types: Option<BTreeSet<String>>,
    /// Channels; all if empty.
    channel_ids: Option<BTreeSet<ChannelId>>,
    /// Whether events of one conversation keep their order.
    ordered: Option<bool>,
    /// Deliveries in progress at once.
    #[schema(minimum = 1, maximum = 8)]
    max_in_flight: Option<u32>,
    /// Average limit of deliveries per second; 0 removes the limit.
    #[schema(minimum = 0, maximum = 1000)]
    max_per_second: Option<u32>,
    /// Whether it is enabled; enabling clears the reason.
    enabled: Option<bool>,
}

/// Start of the period.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recover {
    /// Start of the period: its failed deliveries become due again, and so do events that occurred while the endpoint
    /// was switched off.
    since: Timestamp,
}

/// The result of a recovery.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recovered {
    /// Their number.
    recovered: u32,
}

/// The event to send.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Example {
    /// The newest event of this type; default: of any type.
    #[serde(rename = "type")]
    kind: Option<EventType>,
}

/// A delivery that was queued.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queued {
    /// Follow it at `/v1/deliveries/{id}`.
    pub(crate) delivery_id: DeliveryId,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct EndpointView {
    /// Its id.
    id: EndpointId,
    /// The URL.
    url: String,
    /// A description of its purpose.
    description: String,
    /// Types of event; all if empty.
    types: BTreeSet<String>,
    /// Channels; all if empty.
    channel_ids: BTreeSet<ChannelId>,
    /// Whether events of one conversation keep their order.
    ordered: bool,
    /// Deliveries in progress at once.
    max_in_flight: u32,
    /// Average limit of deliveries per second; null for no limit.
    max_per_second: Option<u32>,
    /// Whether it is enabled.
    enabled: bool,
    /// The reason, if the host disabled it.
    disabled_reason: Option<String>,
    /// The time since which no delivery succeeded.
    failing_since: Option<Timestamp>,
    /// The number of its events that exceeded their retention before it accepted them.
    missed: u64,
    /// `whsec_…`, for any Standard Webhooks library. Shown once, at its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// When the previous secret expires.
    old_secret_until: Option<Timestamp>,
    /// When it was created.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
}

impl EndpointView {
    fn of(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url,
            description: endpoint.description,
            types: endpoint.filter.types,
            channel_ids: endpoint.filter.channels,
            ordered: endpoint.ordered,
            max_in_flight: endpoint.max_in_flight,
            max_per_second: endpoint.max_per_second,
            enabled: endpoint.enabled,
            disabled_reason: endpoint.disabled_reason,
            failing_since: endpoint.failing_since,
            missed: endpoint.missed,
            secret: None,
            old_secret_until: endpoint.old_secret_until,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }

    /// Contains the secret once; the response stored for an idempotency key omits it.
    fn once(self, secret: &Secret) -> Response {
        let kept = KeepInstead(serde_json::to_value(&self).unwrap_or_default());
        let shown = Self {
            secret: Some(secret.expose().to_owned()),
            ..self
        };
        (Extension(kept), JsonBody(shown)).into_response()
    }
}

/// List endpoints, newest first
#[utoipa::path(get, path = "/v1/endpoints", tag = "endpoints", params(Paging), responses((status = 200, body = List<EndpointView>)))]
pub(crate) async fn list(
    caller: May<Read>,
    State(host): State<Host>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<EndpointView>>> {
    let listed = host.store().endpoints(caller.workspace_id(), paging.page()?).await?;
    Ok(List::of(listed, EndpointView::of))
}

/// Create an endpoint
#[utoipa::path(post, path = "/v1/endpoints", tag = "endpoints", request_body = NewEndpoint, responses((status = 201, body = EndpointView)))]
pub(crate) async fn create(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Json(body): Json<NewEndpoint>,
) -> ApiResult<Response> {
    check_url(&host, &body.url)?;
    check_description(&body.description)?;
    check_pace(Some(body.max_in_flight), body.max_per_second, 1)?;
    let now = host.now();
    let secret = new_secret(&host);
    let endpoint = Endpoint {
        id: host.mint().id(now),
        workspace_id: caller.workspace_id().to_owned(),
        url: body.url,
        description: body.description,
        filter: filter(body.types, body.channel_ids)?,
        ordered: body.ordered,
        max_in_flight: body.max_in_flight,
        max_per_second: body.max_per_second,
        enabled: body.enabled,
        disabled_reason: None,
        secrets: vec![secret.clone()],
        old_secret_until: None,
        failing_since: None,
        missed: 0,
        created_at: now,
        updated_at: now,
    };
    host.store().insert_endpoint(endpoint.clone()).await?;
    let changed = serde_json::json!({ "url": endpoint.url });
    record(&host, &caller, "endpoint.create", &endpoint.id.to_string(), changed).await;
    Ok((StatusCode::CREATED, EndpointView::of(endpoint).once(&secret)).into_response())
}

/// Get an endpoint
#[utoipa::path(get, path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = EndpointId, Path)), responses((status = 200, body = EndpointView)))]
pub(crate) async fn get(
    caller: May<Read>,
    State(host): State<Host>,
    Named(id): Named<EndpointId>,
) -> ApiResult<JsonBody<EndpointView>> {
    Ok(JsonBody(EndpointView::of(
        find(&host, caller.workspace_id(), id).await?,
    )))
}

async fn find(host: &Host, workspace: &str, id: EndpointId) -> ApiResult<Endpoint> {
    host.store()
        .endpoint(workspace, id)
        .await?
        .ok_or_else(|| Problem::no_such("endpoint"))
}

/// Change an endpoint
#[utoipa::path(patch, path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = EndpointId, Path)), request_body = PatchEndpoint,
    responses((status = 200, body = EndpointView)))]
pub(crate) async fn patch(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<EndpointId>,
    Json(body): Json<PatchEndpoint>,
) -> ApiResult<JsonBody<EndpointView>> {
    let endpoint = find(&host, caller.workspace_id(), id).await?;
    if let Some(url) = &body.url {
        check_url(&host, url)?;
    }
    if let Some(description) = &body.description {
        check_description(description)?;
    }
    check_pace(body.max_in_flight, body.max_per_second, 0)?;
    let narrowed = body.types.is_some() || body.channel_ids.is_some();
    let filter = filter(
        body.types.unwrap_or(endpoint.filter.types),
        body.channel_ids.unwrap_or(endpoint.filter.channels),
    )?;
    let changed =
        serde_json::json!({ "url": body.url, "enabled": body.enabled, "filter": narrowed.then_some(&filter) });
    let patch = EndpointPatch {
        url: body.url,
        description: body.description,
        filter: narrowed.then_some(filter),
        ordered: body.ordered,
        max_in_flight: body.max_in_flight,
        max_per_second: body.max_per_second.map(|rate| Some(rate).filter(|rate| *rate > 0)),
        enabled: body.enabled,
        ..EndpointPatch::default()
    };
    let endpoint = change(&host, caller.workspace_id(), id, patch).await?;
    record(&host, &caller, "endpoint.update", &id.to_string(), changed).await;
    Ok(JsonBody(EndpointView::of(endpoint)))
}

async fn change(host: &Host, workspace: &str, id: EndpointId, patch: EndpointPatch) -> ApiResult<Endpoint> {
    let endpoint = host.store().update_endpoint(workspace, id, patch, host.now()).await?;
    host.core.wakes.deliveries.notify_one();
    endpoint.ok_or_else(|| Problem::no_such("endpoint"))
}

/// Delete an endpoint and its waiting deliveries
#[utoipa::path(delete, path = "/v1/endpoints/{id}", tag = "endpoints", params(("id" = EndpointId, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<EndpointId>,
) -> ApiResult<StatusCode> {
    if !host.store().delete_endpoint(caller.workspace_id(), id).await? {
        return Err(Problem::no_such("endpoint"));
    }
    record(
        &host,
        &caller,
        "endpoint.delete",
        &id.to_string(),
        serde_json::json!({}),
    )
    .await;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate an endpoint's secret
///
/// The old secret remains valid for a day: each delivery carries both signatures until then.
#[utoipa::path(post, path = "/v1/endpoints/{id}/secret/rotate", tag = "endpoints", params(("id" = EndpointId, Path)),
    responses((status = 200, body = EndpointView)))]
pub(crate) async fn rotate(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<EndpointId>,
) -> ApiResult<Response> {
    let endpoint = find(&host, caller.workspace_id(), id).await?;
    let secret = new_secret(&host);
    let secrets = std::iter::once(secret.clone())
        .chain(endpoint.secrets.into_iter().take(1))
        .collect();
    let patch = EndpointPatch {
        secrets: Some((secrets, Some(host.now().after(OVERLAP)))),
        ..EndpointPatch::default()
    };
    let endpoint = change(&host, caller.workspace_id(), id, patch).await?;
    record(
        &host,
        &caller,
        "endpoint.rotate_secret",
        &id.to_string(),
        serde_json::json!({}),
    )
    .await;
    Ok(EndpointView::of(endpoint).once(&secret))
}

/// Recover the events that an endpoint missed
///
/// Failed deliveries become due again, and events that occurred while it was switched off are delivered; those of a
/// conversation oldest first. No delivery starts until all of them are in order. The recovery continues if the caller
/// disconnects, and after a restart.
#[utoipa::path(post, path = "/v1/endpoints/{id}/recover", tag = "endpoints", params(("id" = EndpointId, Path)), request_body = Recover,
    responses((status = 202, body = Recovered)))]
pub(crate) async fn recover(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<EndpointId>,
    Json(body): Json<Recover>,
) -> ApiResult<(StatusCode, JsonBody<Recovered>)> {
    let started = host
        .store()
        .begin_recovery(caller.workspace_id(), id, body.since, host.now())
        .await?;
    if !started {
        return Err(Problem::no_such("endpoint"));
    }
    let recovered = host.events.recover_to_the_end(caller.workspace_id(), id).await?;
    record(
        &host,
        &caller,
        "endpoint.recover",
        &id.to_string(),
        serde_json::json!({ "since": body.since }),
    )
    .await;
    Ok((StatusCode::ACCEPTED, JsonBody(Recovered { recovered })))
}

/// Send one event to an endpoint, whatever its filter
///
/// The newest real event of the type, so that the receiver sees a realistic payload.
#[utoipa::path(post, path = "/v1/endpoints/{id}/send-example", tag = "endpoints", params(("id" = EndpointId, Path)),
    request_body = Option<Example>, responses((status = 202, body = Queued)))]
pub(crate) async fn send_example(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<EndpointId>,
    MaybeJson(body): MaybeJson<Example>,
) -> ApiResult<(StatusCode, JsonBody<Queued>)> {
    let workspace = caller.workspace_id();
    find(&host, workspace, id).await?;
    let event = match newest(&host, workspace, body.kind).await? {
        Some(event) => event.id,
        // An empty log has no example.
        None if body.kind.is_none() => {
            let example = ExampleEndpoint { id, example: true };
            let about = About::workspace(workspace);
            let event = NewEvent::of(about, EventType::EndpointRecovered, &example);
            host.store().append_event(event, host.now()).await?
        }
        None => {
            return Err(Problem::member(
                "/type",
                "no event of this type has occurred recently; omit it",
            ));
        }
    };
    let delivery_id = host.store().insert_delivery(workspace, id, event, host.now()).await?;
    host.core.wakes.deliveries.notify_one();
    let changed = serde_json::json!({ "event_id": event });
    record(&host, &caller, "endpoint.send_example", &id.to_string(), changed).await;
    Ok((StatusCode::ACCEPTED, JsonBody(Queued { delivery_id })))
}

async fn newest(host: &Host, workspace: &str, kind: Option<EventType>) -> ApiResult<Option<Event>> {
    let filter = EventFilter {
        types: kind.into_iter().map(|kind| kind.as_str().to_owned()).collect(),
        ..EventFilter::default()
    };
    let mut after = (host.store().last_sequence().await? - EXAMPLE_BACK).max(0);
    let mut newest = None;
    loop {
        let Listed { rows, next } = host.store().events(workspace, after, &filter, 1_000).await?;
        newest = rows.into_iter().next_back().or(newest);
        match next.and_then(|place| place.parse().ok()) {
            Some(place) => after = place,
            None => return Ok(newest),
        }
    }
}

fn check_pace(in_flight: Option<u32>, per_second: Option<u32>, least: u32) -> ApiResult<()> {
    let bounds = [
        ("/max_in_flight", in_flight, 1, limits::DELIVERIES_PER_ENDPOINT),
        ("/max_per_second", per_second, least, limits::DELIVERIES_PER_SECOND),
    ];
    for (pointer, value, least, most) in bounds {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            return Err(Problem::member(pointer, format_args!("it must be {least} to {most}")));
        }
    }
    Ok(())
}

fn new_secret(host: &Host) -> Secret {
    // 24 to 64 bytes (Standard Webhooks, Signature scheme).
    let mut bytes = [0; 32];
    host.mint().fill(&mut bytes);
    Secret::new(format!("whsec_{}", BASE64_STANDARD.encode(bytes)))
}

/// Whether events may be delivered to this URL; the addresses of its host name are checked when a connection is opened.
fn check_url(host: &Host, text: &str) -> ApiResult<()> {
    let refused = |words: &dyn std::fmt::Display| {
        Problem::of(&codes::URL_REFUSED)
            .at("/url", "refused", words)
            .detail(words)
    };
    let url = Url::parse(text).map_err(|error| refused(&error))?;
    let reach = if host.config().delivery.allow_private {
        Reach::OperatorSet
    } else {
        Reach::Public
    };
    let literal = match url.host() {
        Some(UrlHost::Ipv4(literal)) => Some(literal.into()),
        Some(UrlHost::Ipv6(literal)) => Some(literal.into()),
        Some(UrlHost::Domain(_)) | None => None,
    };
    if let Some(literal) = literal {
        address::admit(literal, reach).map_err(|refusal| refused(&refusal))?;
    }
    let request = Request {
        method: Method::POST,
        url,
        headers: Vec::new(),
        body: RequestBody::Empty,
    };
    may_deliver(request, reach)
        .map(drop)
        .map_err(|refusal| refused(&refusal))
}

fn check_description(text: &str) -> ApiResult<()> {
    if text.chars().count() > DESCRIPTION_CHARS {
        return Err(Problem::member(
            "/description",
            format_args!("write at most {DESCRIPTION_CHARS} characters"),
        ));
    }
    Ok(())
}

fn filter(types: BTreeSet<String>, channels: BTreeSet<ChannelId>) -> ApiResult<EventFilter> {
    for (at, name) in types.iter().enumerate() {
        if EventType::from_name(name).is_none() {
            return Err(Problem::member(
                &format!("/types/{at}"),
                format_args!("there is no event type {name:?}"),
            ));
        }
    }
    if channels.len() > CHANNELS {
        return Err(Problem::member("/channel_ids", format_args!("name at most {CHANNELS}")));
    }
    Ok(EventFilter {
        types,
        channels,
        conversation: None,
    })
}
