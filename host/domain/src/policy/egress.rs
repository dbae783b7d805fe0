//! The policy check of outgoing requests: each request of the process becomes an [`EgressPermit`] here, or a
//! [`CallRefusal`].
//!
//! A connector's request is checked in the platform's own form, whatever the operator mapped its origin to, and exactly
//! the checked request is sent: if a rule reads the body, the host serializes it again. Addresses are checked when a
//! name has resolved, by [`super::address::admit`]; the permit states which may be reached.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use url::Url;

use crate::grant::Grants;
use crate::id::MediaId;
use crate::manifest::{Origin, Route, RouteClass, SecretUse};

mod call;
mod origins;
mod rules;
#[cfg(test)]
mod tests;

pub use call::{Call, CallKind};
pub use origins::OriginMap;

/// A request that has not been checked.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Absolute.
    pub url: Url,
    /// Without those that the host sets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: RequestBody,
}

/// Shows the destination only: path and query may contain ids of people, the rest tokens and messages.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.origin().ascii_serialization())
    }
}

/// The body of a request.
#[derive(Clone)]
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// Bytes.
    Bytes(Bytes),
    /// A JSON document, serialized by the host: exactly the checked document is sent.
    Json(Value),
    /// Stored media, streamed.
    Stored(MediaId),
    /// `multipart/form-data`, RFC 7578.
    Multipart(Vec<Part>),
}

/// One part of a multipart body.
#[derive(Clone)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// The part's content.
    pub content: PartContent,
}

/// The content of a part.
#[derive(Clone)]
pub enum PartContent {
    /// Text.
    Text(String),
    /// Stored media, with their file name and type.
    Stored(MediaId),
}

/// The purpose of a request; decides who is responsible for it, and its name in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A connector's call of its platform.
    Connector {
        /// The route that covers it.
        route: String,
        /// The route's class.
        class: RouteClass,
    },
    /// The host's own call of a token endpoint.
    Authorization,
    /// Fetching media that a message references.
    Media,
    /// Delivering an event to an operator's endpoint.
    Endpoint,
    /// The operator's own: the command line, a followed clock.
    Operator,
}

/// The addresses at which a request may be dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses only.
    Public,
    /// This machine only: the operator mapped the origin to a sandbox here.
    Loopback,
    /// Any: the operator wrote the URL into the configuration.
    OperatorSet,
}

/// A checked request. Constructed only in this module, consumed by the egress crate.
#[derive(Debug)]
pub struct EgressPermit {
    request: Request,
    purpose: Purpose,
    secrets: Vec<SecretUse>,
    reach: Reach,
}

impl EgressPermit {
    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The purpose.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The secrets to set, and where.
    pub fn secrets(&self) -> &[SecretUse] {
        &self.secrets
    }

    /// The addresses that may be dialed.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Everything, for the sender.
    pub fn into_parts(self) -> (Request, Purpose, Vec<SecretUse>, Reach) {
        (self.request, self.purpose, self.secrets, self.reach)
    }
}

/// Why a request may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    /// A pure call.
    #[error("`{call}` has no network")]
    NoNetwork {
        /// The call.
        call: &'static str,
    },
    /// The URL is not allowed.
    #[error("the URL is refused: {reason}")]
    BadUrl {
        /// The rule.
        reason: &'static str,
    },
    /// A header that the host sets, or that is forbidden.
    #[error("the header {name} may not be set: {reason}")]
    BadHeader {
        /// The header.
        name: String,
        /// The rule.
        reason: &'static str,
    },
    /// The body cannot be checked.
    #[error("the body is refused: {reason}")]
    BadBody {
        /// The rule.
        reason: &'static str,
    },
    /// No declared route matches it.
    #[error("no route of the manifest covers {method} {origin}{path}")]
    NoRoute {
        /// The method.
        method: String,
        /// The origin.
        origin: String,
        /// The path.
        path: String,
    },
    /// The operator was not asked for the route, or it was changed since.
    #[error("the operator has not granted the route {route}")]
    NotGranted {
        /// The route.
        route: String,
    },
    /// The operator refused the route.
    #[error("the operator withholds the route {route} from this connector")]
    Withheld {
        /// The route.
        route: String,
    },
    /// The operator granted fewer origins than were requested.
    #[error("the operator grants the route {route} for {} only, and this request is for {origin}", granted.join(", "))]
    Narrowed {
        /// The route.
        route: String,
        /// The request's origin.
        origin: String,
        /// The granted origins.
        granted: Vec<String>,
    },
    /// The route's class is not allowed in this call.
    #[error("`{call}` may make no {class} request (route {route})")]
    WrongCall {
        /// The call.
        call: &'static str,
        /// The class.
        class: RouteClass,
        /// The route.
        route: String,
    },
    /// The permit is used, or did not exist.
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
    /// The rule's name, for metrics and the database.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NoNetwork { .. } => "no_network",
            Self::BadUrl { .. } => "url",
            Self::BadHeader { .. } => "header",
            Self::BadBody { .. } => "body",
            Self::NoRoute { .. } => "no_route",
            Self::NotGranted { .. } => "not_granted",
            Self::Withheld { .. } => "withheld",
            Self::Narrowed { .. } => "narrowed",
            Self::WrongCall { .. } => "wrong_call",
            Self::NoPermitLeft { .. } => "no_permit",
            Self::TooManyRequests { .. } => "too_many_requests",
        }
    }
}

/// Whether a connector may make this request in this call. An admitted message-send request uses the call's permit
/// immediately, whatever its result: a request that was sent cannot be recalled.
///
/// If several routes match a request, only the manifest's first applies: its grant, its class, its secrets. If a URL
/// has two uses that the body distinguishes, the route without a condition must be last, or it matches all.
///
/// # Errors
/// The first rule that refuses: the call, the headers, the URL, the route, the body, the grant, the class, the permit.
pub fn may_call(
    call: &mut Call,
    routes: &[Route],
    grants: &Grants,
    origins: &OriginMap,
    request: Request,
) -> Result<EgressPermit, CallRefusal> {
    call.take_request()?;
    rules::admit_headers(&request.headers)?;
    rules::admit_body(&request)?;
    let covered = find_route(routes, origins, &request)?;
    let route = covered.route;
    let before = routes.iter().position(|known| std::ptr::eq(known, route)).unwrap_or(0);
    grants.admit(route, &routes[..before], &covered.origin)?;
    let (url, reach) = origins.target(&covered.url);
    rules::admit_target(&url, reach)?;
    call.check_limit(route)?;
    Ok(EgressPermit {
        request: Request {
            url,
            body: covered.document.map_or(request.body, RequestBody::Json),
            ..request
        },
        purpose: Purpose::Connector {
            route: route.id.clone(),
            class: route.class,
        },
        secrets: route.secrets.clone(),
        reach,
    })
}

/// A request as its route matches it.
struct Covered<'r> {
    route: &'r Route,
    /// In the platform's own form.
    url: Url,
    origin: Origin,
    /// The body, if a rule reads it.
    document: Option<Value>,
}

/// The route of the first of the URL's platform forms that a route matches.
fn find_route<'r>(routes: &'r [Route], origins: &OriginMap, request: &Request) -> Result<Covered<'r>, CallRefusal> {
    let mut first_no = None;
    for url in origins.platform_forms(&request.url) {
        match rules::admit_connector_url(&url).and_then(|()| rules::cover(routes, request, &url)) {
            Ok((route, origin, document)) => {
                return Ok(Covered {
                    route,
                    url,
                    origin,
                    document,
                });
            }
            Err(no) => first_no = first_no.or(Some(no)),
        }
    }
    Err(first_no.unwrap_or(CallRefusal::BadUrl {
        reason: "it has no host",
    }))
}

/// The permit for the host's own call of a token endpoint in the manifest. The values are already in the body.
///
/// # Errors
/// The URL is not allowed.
pub fn may_authorize(origins: &OriginMap, request: Request) -> Result<EgressPermit, CallRefusal> {
    rules::admit_connector_url(&request.url)?;
    let (url, reach) = origins.target(&request.url);
    rules::admit_target(&url, reach)?;
    Ok(EgressPermit {
        request: Request { url, ..request },
        purpose: Purpose::Authorization,
        secrets: Vec::new(),
        reach,
    })
}

/// The permit to fetch media from a URL that a caller of the API provided.
///
/// # Errors
/// The URL is not allowed, or has a port: media are served on the default port.
pub fn may_fetch(url: Url) -> Result<EgressPermit, CallRefusal> {
    rules::admit_url(&url)?;
    if url.port().is_some() {
        return Err(CallRefusal::BadUrl {
            reason: "its port is not 443",
        });
    }
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

/// The permit to deliver an event to an operator's endpoint, at any port. `reach` is what the configuration allows for
/// such URLs; plain http is only for non-public ones.
///
/// # Errors
/// The URL is not allowed, or is neither http nor https, or contains a user.
pub fn may_deliver(request: Request, reach: Reach) -> Result<EgressPermit, CallRefusal> {
    match reach {
        Reach::Public => rules::admit_url(&request.url)?,
        Reach::Loopback | Reach::OperatorSet => rules::admit_operator_url(&request.url)?,
    }
    Ok(EgressPermit {
        request,
        purpose: Purpose::Endpoint,
        secrets: Vec::new(),
        reach,
    })
}

/// The permit to fetch a component, or a document that leads to it, for the command line. `named` is the URL that the
/// operator entered: its host may have any address, and is contacted without TLS only if the URL is http. Other hosts
/// come from responses (redirects, token endpoints): they are untrusted and must be public.
///
/// # Errors
/// The URL is not allowed.
pub fn may_obtain(named: &Url, request: Request) -> Result<EgressPermit, CallRefusal> {
    let url = &request.url;
    let reach = if url.host() == named.host() && (url.scheme() == named.scheme() || url.scheme() == "https") {
        rules::admit_operator_url(url)?;
        Reach::OperatorSet
    } else {
        rules::admit_url(url)?;
        Reach::Public
    };
    Ok(EgressPermit {
        request,
        purpose: Purpose::Operator,
        secrets: Vec::new(),
        reach,
    })
}

/// The permit of the operator's own programs: the command line's API calls, and the sandbox's clock.
pub fn may_follow_clock(request: Request) -> EgressPermit {
    EgressPermit {
        request,
        purpose: Purpose::Operator,
        secrets: Vec::new(),
        reach: Reach::OperatorSet,
    }
}
