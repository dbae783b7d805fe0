//! The HTTP API: all routes in this file, one file per resource behind it.
//!
//! Guarantees: every request gets a response of the documented type or a problem document with a documented code
//! ([`codes`]); an operation that was started completes, whether or not its caller waits; below `/v1`, only the API
//! description is served without a key; and a request with an `Idempotency-Key` takes effect once. The domain decides
//! what is allowed, and the host's services act.

mod acts;
mod apps;
mod audit;
mod authenticate;
mod automations;
mod body;
mod broadcasts;
mod caller;
mod channels;
mod connect_sessions;
mod connectors;
mod contacts;
mod conversations;
mod dead_letters;
mod deliveries;
mod endpoints;
mod event_types;
mod events;
mod failures;
mod finish;
mod health;
mod hooks;
mod idempotency;
mod identify;
mod keys;
mod list;
mod media;
mod messages;
mod nodes;
mod openapi;
mod pages;
mod parameters;
mod problem;
mod qr;
mod referrals;
mod refusals;
mod rollout;
mod session;
mod share;
mod standing;
mod types;
mod workspaces;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use weir_domain::id::KeyId;
use weir_domain::limits;

use crate::core::codes;

pub use caller::ClientAddress;
pub(crate) use failures::network;

use crate::http::share::Shares;
use crate::{Host, console};

/// The longest that a caller waits for its request: a connector's call, and the same again for everything else. A
/// stream sends its headers long before. An operation that changes state continues after that.
const WORK: Duration = Duration::from_secs(120);

/// State that the handlers share in addition to the host.
#[derive(Clone)]
pub(crate) struct Api {
    host: Host,
    failures: Arc<failures::Failures>,
    hooks: Arc<hooks::Gate>,
    streams: Shares<Option<KeyId>>,
    acts: Arc<Semaphore>,
    callbacks: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Api {
    fn new(host: Host, closing: CancellationToken) -> Self {
        Self {
            host,
            failures: Arc::default(),
            hooks: Arc::default(),
            streams: Shares::default(),
            acts: Arc::new(Semaphore::new(limits::ACTS)),
            callbacks: Arc::new(Semaphore::new(limits::CALLBACKS)),
            closing,
        }
    }
}

impl FromRef<Api> for Host {
    fn from_ref(api: &Api) -> Self {
        api.host.clone()
    }
}

/// Routes that require a key.
fn v1() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(apps::list))
        .routes(routes!(apps::get, apps::put))
        .routes(routes!(apps::rotate))
        .routes(routes!(connect_sessions::create))
        .routes(routes!(connect_sessions::get))
        .routes(routes!(channels::list))
        .routes(routes!(channels::get, channels::patch, channels::delete))
        .routes(routes!(connect_sessions::reauthorize))
        .routes(routes!(channels::refresh))
        .routes(routes!(channels::diagnostics))
        .routes(routes!(channels::catch_up))
        .routes(routes!(channels::entry_points))
        .routes(routes!(automations::list, automations::put))
        .routes(routes!(automations::remove))
        .routes(routes!(qr::svg))
        .routes(routes!(qr::png))
        .routes(routes!(channels::queue))
        .routes(routes!(channels::features))
        .routes(routes!(channels::begin_test, channels::read_test))
        .routes(routes!(contacts::list))
        .routes(routes!(contacts::get))
        .routes(routes!(contacts::erase))
        .routes(routes!(contacts::refresh))
        .routes(routes!(referrals::list))
        .routes(routes!(referrals::ad))
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::get))
        .routes(routes!(conversations::messages, conversations::send))
        .routes(routes!(conversations::activity))
        .routes(routes!(conversations::features))
        .routes(routes!(broadcasts::create))
        .routes(routes!(messages::search))
        .routes(routes!(messages::get, messages::cancel))
        .routes(routes!(messages::retry))
        .routes(routes!(messages::attempts))
        .routes(routes!(media::upload))
        .routes(routes!(media::get))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(event_types::list))
        .routes(routes!(event_types::get))
        .routes(routes!(endpoints::list, endpoints::create))
        .routes(routes!(endpoints::get, endpoints::patch, endpoints::delete))
        .routes(routes!(endpoints::rotate))
        .routes(routes!(endpoints::recover))
        .routes(routes!(endpoints::send_example))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::get))
        .routes(routes!(deliveries::resend))
        .routes(routes!(connectors::list, connectors::install))
        .routes(routes!(connectors::get))
        .routes(routes!(connectors::version))
        .routes(routes!(connectors::put_grants))
        .routes(routes!(connectors::promote))
        .routes(routes!(rollout::canary))
        .routes(routes!(rollout::rollback))
        .routes(routes!(rollout::retire))
        .routes(routes!(rollout::replay))
        .routes(routes!(rollout::trial))
        .routes(routes!(rollout::changes))
        .routes(routes!(rollout::timeline))
        .routes(routes!(rollout::transcripts))
        .routes(routes!(rollout::transcript))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::get, dead_letters::delete))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(refusals::list))
        .routes(routes!(refusals::counts))
        .routes(routes!(refusals::get))
        .routes(routes!(session::get, session::begin, session::end))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(workspaces::list, workspaces::create))
        .routes(routes!(workspaces::get, workspaces::remove))
        .routes(routes!(nodes::list))
        .routes(routes!(audit::list))
}

/// Routes with another authentication, or without secrets.
fn open() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(hooks::post, hooks::get))
        .routes(routes!(media::bytes))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .route("/style.css", get(pages::style))
        .route("/docs/errors", get(pages::errors))
        .route("/docs/errors.md", get(pages::errors_as_text))
        .route("/docs/errors.json", get(pages::errors_as_json))
        .route("/connect/{id}", get(pages::open_connect))
        .route("/oauth/callback", get(pages::callback))
}

/// The host's metrics; the configuration decides whether they require a key.
fn metrics() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(health::metrics))
}

/// The whole API. `closing` is canceled when the host is about to stop, so that streams do not delay it.
pub fn router(host: Host, closing: CancellationToken) -> Router {
    let api = Api::new(host, closing);
    let (v1, _) = v1().split_for_parts();
    let (open, _) = open().split_for_parts();
    let (mut metrics, _) = metrics().split_for_parts();
    if api.host.config().metrics_require_key {
        metrics = metrics.route_layer(from_fn_with_state(api.clone(), authenticate::authenticate));
    }
    let open = open.merge(metrics).merge(console::router());
    let description = openapi::document(&description());
    let described = parameters::Described::of(&description);
    let catalog = event_types::Catalog::of(&description);
    let description = Bytes::from(description.to_string());
    let guarded = v1
        .route_layer(from_fn_with_state(api.clone(), idempotency::once))
        .route_layer(from_fn_with_state(api.clone(), acts::detach))
        .route_layer(from_fn_with_state(described, parameters::refuse_unknown))
        .route_layer(from_fn_with_state(api.clone(), authenticate::authenticate));
    Router::new()
        .merge(guarded)
        .merge(open)
        .route(
            "/v1/openapi.json",
            get(move || async move { ([(CONTENT_TYPE, "application/json")], description) }),
        )
        .layer(Extension(catalog))
        .layer(from_fn(finish::note_route))
        .fallback(|| async { StatusCode::NOT_FOUND })
        // Each body is bounded where it is read, and uploads while they are streamed.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyTimeoutLayer::new(limits::REQUEST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, WORK))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(api.clone(), finish::finish))
        .with_state(api)
}

/// Request and response handling common to all these routes.
fn description() -> OpenApi {
    let mut api = openapi::head();
    api.merge(v1().into_openapi());
    api.merge(open().into_openapi());
    api.merge(metrics().into_openapi());
    openapi::finish(api)
}

/// A panic fails one request, not the process.
fn panicked(payload: Box<dyn std::any::Any + Send>) -> Response {
    let words = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = words, "A handler panicked");
    axum::response::IntoResponse::into_response(problem::Problem::of(&codes::INTERNAL_ERROR))
}
