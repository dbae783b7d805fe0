//! The judge of what leaves: each request of the process becomes an [`EgressPermit`] here, or a [`CallRefusal`].
//!
//! A connector's request is judged in the platform's own form, whatever the operator mapped its origin to, and what was
//! judged is what is sent: where a rule reads the body, the host writes it anew. Addresses are judged when a name has
//! resolved, by [`super::address::admit`]; the permit says which may be reached.

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

/// A request that nobody has judged.
#[derive(Clone)]
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

/// Only where it goes: path and query may hold ids of people, the rest tokens, and what people wrote.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.origin().ascii_serialization())
    }
}

/// What a request carries.
#[derive(Clone)]
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// Bytes.
    Bytes(Bytes),
    /// A JSON document, written by the host: what was judged is what is sent.
    Json(Value),
    /// Stored bytes, streamed.
    Stored(MediaId),
    /// `multipart/form-data`, RFC 7578.
    Multipart(Vec<Part>),
}

/// One part of a multipart body.
#[derive(Clone)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// What it holds.
    pub content: PartContent,
}

/// What a part holds.
#[derive(Clone)]
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

/// Which addresses a request may be dialed at.
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

    /// The addresses it may be dialed at.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Everything, for the one who sends it.
    pub fn into_parts(self) -> (Request, Purpose, Vec<SecretUse>, Reach) {
        (self.request, self.purpose, self.secrets, self.reach)
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
    /// The operator was not asked for the route, or it was changed since.
    #[error("the operator has not granted the route {route}")]
    NotGranted {
        /// The route.
        route: String,
    },
    /// The operator was asked, and said no.
    #[error("the operator withholds the route {route} from this connector")]
    Withheld {
        /// The route.
        route: String,
    },
    /// The operator gave fewer hosts than were asked for.
    #[error("the operator grants the route {route} for {} only, and this request is for {origin}", granted.join(", "))]
    Narrowed {
        /// The route.
        route: String,
        /// Where the request would go.
        origin: String,
        /// Where it may.
        granted: Vec<String>,
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
            Self::Withheld { .. } => "withheld",
            Self::Narrowed { .. } => "narrowed",
            Self::WrongCall { .. } => "wrong_call",
            Self::NoPermitLeft { .. } => "no_permit",
            Self::TooManyRequests { .. } => "too_many_requests",
        }
    }
}

/// Whether a connector may make this request in this call. A message-send request that is let through spends the call's
/// permit at once, whatever becomes of it: what left cannot be called back.
///
/// Of several routes that cover a request, the first of the manifest is meant, and it alone: its grant, its class, its
/// secrets. Where a URL serves two uses, told apart by the body, the one without a condition stands last, or it takes all.
///
/// # Errors
/// The first rule that says no: the call, the headers, the URL, the route, the body, the grant, the class, the permit.
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
    call.take_turn(route)?;
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

/// What a route covers of a request.
struct Covered<'r> {
    route: &'r Route,
    /// In the platform's own form.
    url: Url,
    origin: Origin,
    /// The body, where a rule reads it.
    document: Option<Value>,
}

/// The route of the first of the platform's forms of the URL that one covers.
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

/// The permit for the host's own call of a token endpoint that the manifest names. The values are already in the body.
///
/// # Errors
/// The URL is not one that may leave.
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

/// The permit to fetch bytes that a caller of the API named by URL.
///
/// # Errors
/// The URL is not one that may leave, or names a port: a picture is served where the web is.
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

/// The permit to hand an event to an operator's endpoint, at whatever port it listens. `reach` is what the configuration
/// allows such URLs; plain http is only for those beyond the public.
///
/// # Errors
/// The URL is not one that may leave, or is neither http nor https, or carries a user.
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

/// The permit to fetch a component, or what leads to it, for the command line. `named` is what the operator wrote: its host may
/// be anywhere, and is spoken to in the clear only if they wrote that. Whoever else an answer names (where to go on, who gives
/// out tokens) is a stranger's word, and is public or nowhere.
///
/// # Errors
/// The URL is not one that may leave.
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

/// The permit of the operator's own programs: the command line's calls of the API, and the sandbox's clock.
pub fn may_follow_clock(request: Request) -> EgressPermit {
    EgressPermit {
        request,
        purpose: Purpose::Operator,
        secrets: Vec::new(),
        reach: Reach::OperatorSet,
    }
}
