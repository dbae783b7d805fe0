//! Rules for requests: the URL, the headers, the body, and the matching route.

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use url::{Host, Url};

use super::{CallRefusal, PartContent, Reach, Request, RequestBody};
use crate::limits;
use crate::manifest::{BodyMember, Origin, Route, SecretPlace};

/// Admits URLs that may be requested on the public network.
pub(super) fn admit_url(url: &Url) -> Result<(), CallRefusal> {
    if url.scheme() != "https" {
        return refuse_url("its scheme is not https");
    }
    if url.fragment().is_some() {
        return refuse_url("it has a fragment");
    }
    // A trailing dot is the same name for a resolver, but another one for a certificate and for every rule that
    // compares names.
    if url.domain().is_some_and(|name| name.ends_with('.')) {
        return refuse_url("its host ends in a dot");
    }
    admit_any_url(url)
}

/// Admits URLs from an untrusted source: their hosts must be names, whose owner can be identified.
pub(super) fn admit_connector_url(url: &Url) -> Result<(), CallRefusal> {
    admit_url(url)?;
    match url.host() {
        Some(Host::Domain(_)) => Ok(()),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => refuse_url("it names an address instead of a host"),
        None => refuse_url("it has no host"),
    }
}

/// Admits URLs from the operator's configuration.
pub(super) fn admit_operator_url(url: &Url) -> Result<(), CallRefusal> {
    if !matches!(url.scheme(), "http" | "https") {
        return refuse_url("its scheme is neither http nor https");
    }
    admit_any_url(url)
}

fn admit_any_url(url: &Url) -> Result<(), CallRefusal> {
    if !url.username().is_empty() || url.password().is_some() {
        return refuse_url("it names a user");
    }
    if url.as_str().len() > limits::URL_BYTES {
        return refuse_url("it is too long");
    }
    Ok(())
}

/// Checks the actual destination of a checked URL: secrets are not sent unencrypted beyond this machine.
pub(super) fn admit_target(url: &Url, reach: Reach) -> Result<(), CallRefusal> {
    if reach == Reach::Public && url.scheme() != "https" {
        return refuse_url("its origin is mapped to plain http beyond this machine");
    }
    Ok(())
}

fn refuse_url(reason: &'static str) -> Result<(), CallRefusal> {
    Err(CallRefusal::BadUrl { reason })
}

/// Headers that determine a request's destination, effect, interpretation, or the party on whose behalf it is made.
/// Also forbidden: those that begin with `proxy-` or `x-forwarded-`.
const FORBIDDEN: &[&str] = &[
    // The connection's own (RFC 9110, 7.6.1; RFC 9112).
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // How bytes are interpreted: the server must see what was checked.
    "accept-encoding",
    "content-encoding",
    // Credentials, which only the host sets.
    "authorization",
    "cookie",
    // On whose behalf the request is made.
    "forwarded",
    "via",
    "x-real-ip",
    // Another method or path than the checked one, at servers that honor these.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

pub(super) fn admit_headers(headers: &[(HeaderName, HeaderValue)]) -> Result<(), CallRefusal> {
    let refuse = |name: &HeaderName, reason| {
        Err(CallRefusal::BadHeader {
            name: name.as_str().to_owned(),
            reason,
        })
    };
    for (i, (name, value)) in headers.iter().enumerate() {
        let text = name.as_str();
        if i >= limits::HEADERS {
            return refuse(name, "there are too many headers");
        }
        if text.len() + value.len() > limits::HEADER_BYTES {
            return refuse(name, "it is too long");
        }
        if FORBIDDEN.contains(&text) || text.starts_with("proxy-") || text.starts_with("x-forwarded-") {
            return refuse(name, "the host sets it or forbids it");
        }
    }
    Ok(())
}

/// Checks the size of a connector's body, and whether the request may have one.
pub(super) fn admit_body(request: &Request) -> Result<(), CallRefusal> {
    let refuse = |reason| Err(CallRefusal::BadBody { reason });
    let bytes = match &request.body {
        RequestBody::Bytes(bytes) => bytes.len(),
        RequestBody::Multipart(parts) if parts.len() > limits::PARTS => return refuse("it has too many parts"),
        RequestBody::Multipart(parts) => parts
            .iter()
            .map(|part| match &part.content {
                PartContent::Text(text) => part.name.len() + text.len(),
                PartContent::Stored(_) => part.name.len(),
            })
            .sum(),
        // Serialized by the host, or counted where the bytes are read.
        RequestBody::Empty | RequestBody::Json(_) | RequestBody::Stored(_) => 0,
    };
    if bytes > limits::REQUEST_BODY_BYTES {
        return refuse("it exceeds the limit for a body from a connector's memory");
    }
    // A body would have no meaning (RFC 9110, 9.3.1), and if a server assigns it one, that is not the route's.
    if request.method == Method::GET && !is_empty(&request.body) {
        return refuse("a GET request has none");
    }
    Ok(())
}

fn is_empty(body: &RequestBody) -> bool {
    match body {
        RequestBody::Empty => true,
        RequestBody::Bytes(bytes) => bytes.is_empty(),
        RequestBody::Json(_) | RequestBody::Stored(_) | RequestBody::Multipart(_) => false,
    }
}

/// The first route of the manifest that matches the request, sent to `url`; the destination; and the body, if it had to
/// be read.
///
/// If any route of this URL reads the body, the body must be JSON, even for the routes that do not: a server may accept
/// input that this parser rejects, and such a body must not evade the condition by matching a route without one.
pub(super) fn cover<'r>(
    routes: &'r [Route],
    request: &Request,
    url: &Url,
) -> Result<(&'r Route, Origin, Option<Value>), CallRefusal> {
    let origin = Origin::of(url).ok_or(CallRefusal::BadUrl {
        reason: "it has no host",
    })?;
    let candidates: Vec<&Route> = routes
        .iter()
        .filter(|route| {
            route.method == request.method.as_str() && route.origin.covers(&origin) && route.path.covers(url.path())
        })
        .collect();
    let no_route = || CallRefusal::NoRoute {
        method: request.method.to_string(),
        origin: origin.to_string(),
        path: url.path().to_owned(),
    };
    let document = if candidates.iter().any(|route| reads_body(route)) {
        Some(json(&request.body)?)
    } else {
        None
    };
    let has = |member: &BodyMember| {
        document
            .as_ref()
            .and_then(|document| document.pointer(&member.pointer))
            .is_some_and(|value| value.as_str() == Some(&member.value))
    };
    let route = candidates
        .into_iter()
        .find(|route| route.body_has.iter().all(has))
        .ok_or_else(no_route)?;
    Ok((route, origin, document))
}

fn reads_body(route: &Route) -> bool {
    let sets_member = |place: &SecretPlace| matches!(place, SecretPlace::BodyMember(_));
    !route.body_has.is_empty() || route.secrets.iter().any(|secret| sets_member(&secret.place))
}

/// The body as the host will serialize it: duplicate members are removed, and so is every other ambiguity.
fn json(body: &RequestBody) -> Result<Value, CallRefusal> {
    let no_json = CallRefusal::BadBody {
        reason: "the route reads it, and it is not JSON",
    };
    match body {
        RequestBody::Bytes(bytes) => serde_json::from_slice(bytes).map_err(|_| no_json),
        RequestBody::Json(document) => Ok(document.clone()),
        RequestBody::Empty | RequestBody::Stored(_) | RequestBody::Multipart(_) => Err(no_json),
    }
}
