//! The judge of what leaves: each request of the process becomes an [`EgressPermit`] here, or a [`CallRefusal`].

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::grant::Grants;
use crate::id::MediaId;
use crate::limits;
use crate::manifest::{Origin, Route, RouteClass, SecretPlace, SecretUse};

/// A request that nobody has judged.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute.
    pub url: Url,
    /// Without what the host sets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What it carries.
    pub body: RequestBody,
}

/// What a request carries.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// Bytes.
    Bytes(Bytes),
    /// A JSON document, written by the host: what was judged is what is sent.
    Json(serde_json::Value),
    /// Stored bytes, streamed.
    Stored(MediaId),
    /// `multipart/form-data`, RFC 7578.
    Multipart(Vec<Part>),
}

/// One part of a multipart body.
#[derive(Clone, Debug)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// What it holds.
    pub content: PartContent,
}

/// What a part holds.
#[derive(Clone, Debug)]
pub enum PartContent {
    /// Text.
    Text(String),
    /// Stored bytes, with their file name and type.
    Stored(MediaId),
}

/// For what a request leaves; decides who may answer for it, and what the log calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A connector's call of its platform.
    Connector {
        /// The route that covers it.
        route: String,
        /// What it does.
        class: RouteClass,
    },
    /// The host's own call of a token endpoint.
    Authorization,
    /// Bytes that a message names.
    Media,
    /// An event for an operator's endpoint.
    Endpoint,
    /// The operator's own: the command line, the clock that is followed.
    Operator,
}

/// Which addresses a request may be dialled at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses only.
    Public,
    /// This machine only: the operator mapped the origin to a sandbox here.
    Loopback,
    /// Any: the operator wrote the URL into the configuration.
    OperatorSet,
}

/// One judged request. Made only in this module, spent by the egress crate.
#[derive(Debug)]
pub struct EgressPermit {
    request: Request,
    purpose: Purpose,
    secrets: Vec<SecretUse>,
    reach: Reach,
}

impl EgressPermit {
    /// What may leave.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// For what.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The secrets to set, and where.
    pub fn secrets(&self) -> &[SecretUse] {
        &self.secrets
    }

    /// The addresses it may be dialled at.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Everything, for the one who sends it.
    pub fn into_parts(self) -> (Request, Purpose, Vec<SecretUse>, Reach) {
        (self.request, self.purpose, self.secrets, self.reach)
    }
}

/// Platform origins that the operator mapped to others: the way to a sandbox. Only this opens loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OriginMap(pub BTreeMap<Origin, Origin>);

impl OriginMap {
    /// Where a request to `url` really goes, and what it may reach there.
    pub fn target(&self, url: &Url) -> (Url, Reach) {
        match Origin::of(url).and_then(|origin| self.0.get(&origin)) {
            Some(mapped) if mapped.is_loopback() => (mapped.apply(url), Reach::Loopback),
            Some(mapped) => (mapped.apply(url), Reach::Public),
            None => (url.clone(), Reach::Public),
        }
    }

    /// The platform's own form of a URL that a mapped-to origin wrote, so that a sandbox's links are judged like the
    /// platform's.
    pub fn platform_form(&self, url: &Url) -> Url {
        let origin = Origin::of(url);
        match self.0.iter().find(|(_, mapped)| Some(*mapped) == origin.as_ref()) {
            Some((platform, _)) => platform.apply(url),
            None => url.clone(),
        }
    }

    /// Whether every mapping ends on this machine, so that a clock under test control can do no harm.
    pub fn is_all_loopback(&self) -> bool {
        self.0.values().all(Origin::is_loopback)
    }
}

/// The call of a connector that a request is made in. Carries what is left of its allowance.
#[derive(Clone, Debug)]
pub struct Call {
    kind: CallKind,
    requests_left: u32,
    sends_left: u32,
}

/// What a connector was asked to do; decides which classes of request it may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// Say what it is.
    Describe,
    /// Translate a webhook.
    Receive,
    /// Judge a draft.
    Prepare,
    /// Migrate a channel's state.
    Migrate,
    /// Send one message, under a permit.
    Send,
    /// Say who an account is, set it up, check it.
    Identify,
    /// Show typing or a read mark.
    Signal,
    /// Say where an attachment's bytes are.
    Locate,
    /// Say what a conversation can carry.
    Probe,
    /// Read the platform's record.
    History,
    /// Manage automatic messages.
    Automate,
    /// Show an ad.
    Ads,
    /// Ask for news.
    Poll,
}

impl CallKind {
    /// Whether the call is pure: no network, no state.
    pub fn is_pure(self) -> bool {
        matches!(self, Self::Describe | Self::Receive | Self::Prepare | Self::Migrate)
    }

    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Receive => "receive",
            Self::Prepare => "prepare",
            Self::Migrate => "migrate",
            Self::Send => "send",
            Self::Identify => "identify",
            Self::Signal => "signal",
            Self::Locate => "locate",
            Self::Probe => "probe",
            Self::History => "history",
            Self::Automate => "automate",
            Self::Ads => "ads",
            Self::Poll => "poll",
        }
    }

    fn may(self, class: RouteClass) -> bool {
        match self {
            Self::Describe | Self::Receive | Self::Prepare | Self::Migrate => false,
            Self::Send => matches!(class, RouteClass::MessageSend | RouteClass::Media | RouteClass::Read),
            Self::Signal => matches!(class, RouteClass::Signal | RouteClass::Read),
            Self::Locate => matches!(class, RouteClass::Media | RouteClass::Read),
            Self::Identify | Self::Automate => {
                matches!(class, RouteClass::Setup | RouteClass::Read)
            }
            Self::Probe | Self::History | Self::Ads | Self::Poll => {
                matches!(class, RouteClass::Read)
            }
        }
    }
}

impl Call {
    /// The allowance of one call: a number of requests, and one message-send if it is a send.
    pub fn new(kind: CallKind) -> Self {
        let sends_left = u32::from(kind == CallKind::Send);
        Self {
            kind,
            requests_left: if kind.is_pure() { 0 } else { limits::REQUESTS_PER_CALL },
            sends_left,
        }
    }

    /// What the connector was asked to do.
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// Whether the permit of this call was spent: a message-send request was let through.
    pub fn has_sent(&self) -> bool {
        self.kind == CallKind::Send && self.sends_left == 0
    }
}

/// Why a request may not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    /// A pure call.
    #[error("`{call}` has no network")]
    NoNetwork {
        /// The call.
        call: &'static str,
    },
    /// The URL is not one that may leave.
    #[error("the URL is refused: {reason}")]
    BadUrl {
        /// Which rule.
        reason: &'static str,
    },
    /// A header that the host sets, or that nobody may.
    #[error("the header {name} may not be set: {reason}")]
    BadHeader {
        /// The header.
        name: String,
        /// Which rule.
        reason: &'static str,
    },
    /// The body cannot be judged.
    #[error("the body is refused: {reason}")]
    BadBody {
        /// Which rule.
        reason: &'static str,
    },
    /// No declared route covers it.
    #[error("no route of the manifest covers {method} {origin}{path}")]
    NoRoute {
        /// The method.
        method: String,
        /// The origin.
        origin: String,
        /// The path.
        path: String,
    },
    /// The operator did not say yes to the route.
    #[error("the operator has not granted the route {route}")]
    NotGranted {
        /// The route.
        route: String,
    },
    /// The route's class does not belong to this call.
    #[error("`{call}` may make no {class} request (route {route})")]
    WrongCall {
        /// The call.
        call: &'static str,
        /// The class.
        class: RouteClass,
        /// The route.
        route: String,
    },
    /// The permit is spent, or there never was one.
    #[error("the permit of this call is spent: one message-send request was already made (route {route})")]
    NoPermitLeft {
        /// The route.
        route: String,
    },
    /// Too many requests in one call.
    #[error("one call may make {limit} requests")]
    TooManyRequests {
        /// The bound.
        limit: u32,
    },
}

impl CallRefusal {
    /// The rule's name, for metrics and the record.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NoNetwork { .. } => "no_network",
            Self::BadUrl { .. } => "url",
            Self::BadHeader { .. } => "header",
            Self::BadBody { .. } => "body",
            Self::NoRoute { .. } => "no_route",
            Self::NotGranted { .. } => "not_granted",
            Self::WrongCall { .. } => "wrong_call",
            Self::NoPermitLeft { .. } => "no_permit",
            Self::TooManyRequests { .. } => "too_many_requests",
        }
    }
}

/// Whether a connector may make this request in this call. A message-send request that is let through spends the call's
/// permit at once, whatever becomes of it: what left cannot be called back.
///
/// # Errors
/// The first rule that says no: the call, the URL, the headers, the route, the grant, the class, the permit.
pub fn may_call(
    call: &mut Call,
    routes: &[Route],
    grants: &Grants,
    origins: &OriginMap,
    request: Request,
) -> Result<EgressPermit, CallRefusal> {
    if call.kind.is_pure() {
        return Err(CallRefusal::NoNetwork {
            call: call.kind.as_str(),
        });
    }
    if call.requests_left == 0 {
        return Err(CallRefusal::TooManyRequests {
            limit: limits::REQUESTS_PER_CALL,
        });
    }
    // Counted before it is judged, so that refusals are bounded too.
    call.requests_left -= 1;
    let mut request = request;
    request.url = origins.platform_form(&request.url);
    admit_url(&request.url)?;
    admit_headers(&request.headers)?;
    let (route, body) = cover(routes, &request)?;
    if !grants.allow(route) {
        return Err(CallRefusal::NotGranted {
            route: route.id.clone(),
        });
    }
    if !call.kind.may(route.class) {
        return Err(CallRefusal::WrongCall {
            call: call.kind.as_str(),
            class: route.class,
            route: route.id.clone(),
        });
    }
    if route.class == RouteClass::MessageSend {
        call.sends_left = call
            .sends_left
            .checked_sub(1)
            .ok_or_else(|| CallRefusal::NoPermitLeft {
                route: route.id.clone(),
            })?;
    }
    let (url, reach) = origins.target(&request.url);
    let request = Request { url, body, ..request };
    let purpose = Purpose::Connector {
        route: route.id.clone(),
        class: route.class,
    };
    Ok(EgressPermit {
        request,
        purpose,
        secrets: route.secrets.clone(),
        reach,
    })
}

/// The permit for the host's own call of a token endpoint that the manifest names. The values are already in the body.
///
/// # Errors
/// The URL is not one that may leave.
pub fn may_authorize(origins: &OriginMap, request: Request) -> Result<EgressPermit, CallRefusal> {
    admit_url(&request.url)?;
    let (url, reach) = origins.target(&request.url);
    Ok(EgressPermit {
        request: Request { url, ..request },
        purpose: Purpose::Authorization,
        secrets: Vec::new(),
        reach,
    })
}

/// The permit to fetch bytes that a caller of the API named by URL.
///
/// # Errors
/// The URL is not one that may leave.
pub fn may_fetch(url: Url) -> Result<EgressPermit, CallRefusal> {
    admit_url(&url)?;
    let request = Request {
        method: Method::GET,
        url,
        headers: Vec::new(),
        body: RequestBody::Empty,
    };
    Ok(EgressPermit {
        request,
        purpose: Purpose::Media,
        secrets: Vec::new(),
        reach: Reach::Public,
    })
}

/// The permit to hand an event to an operator's endpoint. `reach` is what the configuration allows such URLs.
///
/// # Errors
/// The URL is neither http nor https, or carries a user.
pub fn may_deliver(request: Request, reach: Reach) -> Result<EgressPermit, CallRefusal> {
    if reach == Reach::Public {
        admit_url(&request.url)?;
    } else if !matches!(request.url.scheme(), "http" | "https") {
        return Err(CallRefusal::BadUrl {
            reason: "its scheme is neither http nor https",
        });
    }
    Ok(EgressPermit {
        request,
        purpose: Purpose::Endpoint,
        secrets: Vec::new(),
        reach,
    })
}

/// The permit of the operator's own programs: the command line's calls of the API, and the sandbox's clock.
pub fn may_follow_clock(request: Request) -> EgressPermit {
    EgressPermit {
        request,
        purpose: Purpose::Operator,
        secrets: Vec::new(),
        reach: Reach::OperatorSet,
    }
}

fn admit_url(url: &Url) -> Result<(), CallRefusal> {
    let refuse = |reason| Err(CallRefusal::BadUrl { reason });
    if url.scheme() != "https" {
        return refuse("its scheme is not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it names a user");
    }
    if url.fragment().is_some() {
        return refuse("it has a fragment");
    }
    if url.as_str().len() > limits::URL_BYTES {
        return refuse("it is too long");
    }
    Ok(())
}

/// Headers that decide where a request goes, how long it is, or on whose behalf it speaks.
const HOST_SETS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "forwarded",
    "cookie",
    "via",
    "accept-encoding",
];

fn admit_headers(headers: &[(HeaderName, HeaderValue)]) -> Result<(), CallRefusal> {
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
        if value.len() > limits::HEADER_BYTES {
            return refuse(name, "it is too long");
        }
        if HOST_SETS.contains(&text) || text.starts_with("proxy-") || text.starts_with("x-forwarded-") {
            return refuse(name, "the host sets it or forbids it");
        }
    }
    Ok(())
}

/// The first route that covers the request, and the body as it will be sent.
fn cover<'r>(routes: &'r [Route], request: &Request) -> Result<(&'r Route, RequestBody), CallRefusal> {
    let origin = Origin::of(&request.url).ok_or(CallRefusal::BadUrl {
        reason: "it has no host",
    })?;
    let candidates: Vec<&Route> = routes
        .iter()
        .filter(|route| {
            route.method == request.method.as_str()
                && route.origin.covers(&origin)
                && route.path.covers(request.url.path())
        })
        .collect();
    let no_route = || CallRefusal::NoRoute {
        method: request.method.to_string(),
        origin: origin.to_string(),
        path: request.url.path().to_owned(),
    };
    let looks_inside = candidates.iter().any(|route| {
        !route.body_has.is_empty()
            || route
                .secrets
                .iter()
                .any(|secret| matches!(secret.place, SecretPlace::BodyMember(_)))
    });
    if !looks_inside {
        let route = candidates.first().ok_or_else(no_route)?;
        return Ok((route, request.body.clone()));
    }
    let document: serde_json::Value = match &request.body {
        RequestBody::Bytes(bytes) => serde_json::from_slice(bytes).map_err(|_| CallRefusal::BadBody {
            reason: "the route reads it, and it is no JSON",
        })?,
        RequestBody::Json(document) => document.clone(),
        RequestBody::Empty | RequestBody::Stored(_) | RequestBody::Multipart(_) => {
            return Err(CallRefusal::BadBody {
                reason: "the route reads it, and it is no JSON",
            });
        }
    };
    let has = |member: &crate::manifest::BodyMember| {
        document
            .pointer(&member.pointer)
            .is_some_and(|value| value.as_str() == Some(&member.value))
    };
    let route = candidates
        .iter()
        .find(|route| route.body_has.iter().all(has))
        .ok_or_else(no_route)?;
    Ok((route, RequestBody::Json(document)))
}
