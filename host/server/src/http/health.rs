//! Liveness, readiness and metrics of the host.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonBody};
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::caller::{Caller, Denied, Scope};

use super::codes;
use super::problem::{ApiResult, COME_BACK, Problem};
use crate::Host;
use crate::host::NotReady;

/// The state of the host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded`: it serves, and a problem needs a person.
    status: &'static str,
    /// The degraded parts, one sentence each.
    degraded: Vec<String>,
    /// The version of Weir.
    version: &'static str,
    /// The host's clock, in milliseconds since 1970: the system's, or the sandbox's that it follows.
    now_ms: i64,
}

impl Health {
    fn of(host: &Host) -> Self {
        let mut degraded = host.core.clocks_apart();
        degraded.extend(host.connectors.registry.not_loaded());
        Self {
            status: if degraded.is_empty() { "ok" } else { "degraded" },
            degraded,
            version: env!("CARGO_PKG_VERSION"),
            now_ms: host.now().as_millis(),
        }
    }
}

/// Check that the process is alive
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn live(State(host): State<Host>) -> JsonBody<Health> {
    JsonBody(Health::of(&host))
}

/// Check that requests can be served
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn ready(State(host): State<Host>) -> ApiResult<JsonBody<Health>> {
    match host.ready().await {
        Ok(()) => Ok(JsonBody(Health::of(&host))),
        Err(reason) => {
            let code = match &reason {
                NotReady::Store(_) => &codes::STORE_UNAVAILABLE,
                NotReady::Fenced => &codes::NODE_FENCED,
                NotReady::Connector(_) => &codes::CONNECTOR_NOT_LOADED,
                NotReady::Stalled { .. } => &codes::LOOP_STALLED,
                NotReady::Unwritten { .. } => &codes::CREDENTIAL_UNWRITTEN,
            };
            Err(Problem::of(code).detail(reason).retry_after(COME_BACK))
        }
    }
}

/// Metrics in Prometheus format
///
/// No key is required, unless the configuration sets `metrics_require_key`: then a key of the workspace `default` with
/// `read`.
#[utoipa::path(get, path = "/metrics", tag = "health", security((), ("key" = [])), responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(State(host): State<Host>, caller: Option<Extension<Caller>>) -> ApiResult<Response> {
    if host.config().metrics_require_key {
        // The metrics cover the whole host.
        let Extension(caller) = caller.ok_or(Denied::Unknown)?;
        caller.may_on_host(Scope::Read)?;
    }
    Ok((
        [(
            CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        host.core.metrics.render(),
    )
        .into_response())
}
