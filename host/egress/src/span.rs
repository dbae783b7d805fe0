//! A tracing span for each request.
//!
//! It has the request's origin and outcome, but no path, query, headers or body: they hold ids of people, tokens, and
//! what people wrote.

use tracing::field::{Empty, display};
use tracing::{Span, trace_span};
use weir_domain::manifest::Origin;
use weir_domain::policy::{EgressPermit, Purpose};

use crate::error::EgressError;

/// The span of a request.
pub(crate) fn of(permit: &EgressPermit) -> Span {
    let (purpose, route) = match permit.purpose() {
        Purpose::Connector { route, .. } => ("connector", Some(route.as_str())),
        Purpose::Authorization => ("authorization", None),
        Purpose::Media => ("media", None),
        Purpose::Endpoint => ("endpoint", None),
        // Spans are exported through it: each would cause another.
        Purpose::Operator => return Span::none(),
    };
    let request = permit.request();
    trace_span!(
        "request",
        otel.kind = "client",
        otel.status_code = Empty,
        purpose,
        route,
        http.request.method = %request.method,
        server.origin = Origin::of(&request.url).map(display),
        http.response.status_code = Empty,
        error = Empty,
    )
}

/// Records how the request ended.
pub(crate) fn ended(span: &Span, answer: Result<u16, &EgressError>) {
    match answer {
        Ok(status) => {
            span.record("http.response.status_code", status);
        }
        Err(error) => {
            span.record("otel.status_code", "ERROR");
            span.record("error", display(error));
        }
    }
}
