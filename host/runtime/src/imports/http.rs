//! Requests to the network: each is checked by policy, waits for the rate limit, leaves through the egress crate, and
//! is recorded.

use std::sync::Arc;
use std::time::Duration;

use url::Url;
use weir_domain::id::MediaId;
use weir_domain::limits;
use weir_domain::manifest::RouteClass;
use weir_domain::policy::{CallRefusal, EgressPermit, Part, PartContent, Purpose, Request, RequestBody};
use weir_egress::{Departure, EgressError};

use crate::call::data::CallData;
use crate::context::{Act, Refused, RequestOutcome, RequestRecord, TooLong};
pub(crate) use crate::interface::bindings::weir::connector::http as wit;
use crate::interface::bindings::weir::connector::http::Host;
use crate::interface::bindings::weir::connector::types::Header;
use crate::text;
use crate::trace::recorder::CallTrace;

/// A request as records and refusals show it.
struct Shown {
    method: String,
    url: String,
}

impl Shown {
    fn of(method: &str, url: &str) -> Self {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        Self {
            method: text::line(method, limits::TOKEN_BYTES),
            url: text::line(url, limits::URL_BYTES),
        }
    }
}

impl CallData {
    /// Checks a request by policy, and reports a refusal.
    fn judge(&mut self, shown: &Shown, request: Result<Request, CallRefusal>) -> Result<EgressPermit, CallRefusal> {
        let judged = match &mut self.network {
            None => Err(CallRefusal::NoNetwork {
                call: self.kind.as_str(),
            }),
            Some(network) => request.and_then(|request| network.judge(request)),
        };
        if let Err(refusal) = &judged {
            self.refused(shown, refusal.rule(), &refusal.to_string());
        }
        judged
    }

    /// Parses a connector's request and checks it by policy.
    fn admit(&mut self, shown: &Shown, request: wit::Request) -> Result<EgressPermit, CallRefusal> {
        let attachments = self.network.as_ref().map_or(&[][..], |network| &network.attachments);
        let request = read(request, attachments);
        self.judge(shown, request)
    }

    fn refused(&mut self, shown: &Shown, rule: &'static str, detail: &str) {
        if !self.reports_refusal() {
            return;
        }
        if let Some(network) = &self.network {
            let record = shown.record(None, None);
            network.ledger.begin(record).end(refused(rule, detail), false);
        }
        if let CallTrace::Replaying(source) = &mut self.trace {
            source.refused(format!("{} {}", shown.method, shown.url), rule, detail);
        }
        self.report_refusal(shown, rule, detail);
    }

    fn report_refusal(&self, shown: &Shown, rule: &'static str, detail: &str) {
        self.host.observer.on_refusal(&Refused {
            connector: &self.version.name,
            version: &self.version.number,
            kind: self.kind,
            channel_id: self.channel_id,
            act: Act::Request {
                method: &shown.method,
                url: &shown.url,
            },
            rule,
            detail,
        });
    }

    async fn send(&mut self, request: wit::Request) -> Result<wit::Response, wit::Error> {
        let shown = Shown::of(&request.method, &request.url);
        if self.leaks_honeytoken(&request) {
            let message = "it holds the honeytoken that the host planted to detect leaks";
            self.refused(&shown.without_url(), "canary", message);
            return Err(wit::Error::Refused(message.to_owned()));
        }
        let permit = self
            .admit(&shown, request)
            .map_err(|refusal| wit::Error::Refused(refusal.to_string()))?;
        let network = self.network.as_ref().ok_or_else(|| {
            // The policy permits nothing without one.
            wit::Error::Refused(String::new())
        })?;
        let (route, class) = purpose(&permit);
        let entry = network.ledger.begin(shown.record(route, class));
        let turn = match class {
            None => Ok(None),
            Some(class) => network.pacer.turn(class).await,
        };
        let turn = match turn {
            Ok(turn) => turn,
            Err(too_long) => {
                entry.end(RequestOutcome::NoTurn { wait: too_long.wait }, false);
                return Err(wit::Error::Unreachable(too_long.to_string()));
            }
        };
        let departure = entry.departure(Arc::clone(&network.fence), turn);
        let sent_at = self.host.clock.now();
        let answer = self
            .host
            .egress
            .send_at(Some(departure), permit, &network.secrets, &*self.host.bodies)
            .await;
        match answer {
            Ok(answer) => {
                entry.end(RequestOutcome::Answered(answer.status), true);
                if let Some(date) = response_date(&answer.headers) {
                    network.dates.answered(date, sent_at, self.host.clock.now());
                }
                let headers = answer.headers.into_iter();
                Ok(wit::Response {
                    status: answer.status,
                    headers: headers.map(|(name, value)| Header { name, value }).collect(),
                    body: answer.body.into(),
                })
            }
            Err(error) => {
                let may_have_left = error.may_have_been_seen();
                let message = error.to_string();
                let (outcome, returned) = match error {
                    EgressError::Refused(no) => {
                        self.report_refusal(&shown, no.rule(), &message);
                        (refused(no.rule(), &message), wit::Error::Refused(message))
                    }
                    EgressError::Body(_) => (refused("body", &message), wit::Error::Refused(message)),
                    EgressError::Unreachable { .. } => (
                        RequestOutcome::Unreachable(message.clone()),
                        wit::Error::Unreachable(message),
                    ),
                    EgressError::TooLarge { limit } => (RequestOutcome::TooLarge, wit::Error::TooLarge(limit)),
                    EgressError::NoAnswer { .. } | EgressError::Sink(_) => {
                        (RequestOutcome::NoAnswer(message.clone()), wit::Error::NoAnswer(message))
                    }
                };
                entry.end(outcome, may_have_left);
                Err(returned)
            }
        }
    }

    /// Whether the honeytoken appears anywhere in a request.
    fn leaks_honeytoken(&mut self, request: &wit::Request) -> bool {
        let mut inspect = |part: &[u8]| self.honeytoken.inspect("a request", part);
        inspect(request.url.as_bytes())
            || inspect(request.method.as_bytes())
            || request
                .headers
                .iter()
                .any(|header| inspect(header.name.as_bytes()) || inspect(header.value.as_bytes()))
            || match &request.body {
                wit::Body::None => false,
                wit::Body::Bytes(bytes) => inspect(bytes),
                wit::Body::Stored(id) => inspect(id.as_bytes()),
                wit::Body::Multipart(parts) => parts.iter().any(|part| {
                    inspect(part.name.as_bytes())
                        || match &part.content {
                            wit::PartContent::Text(text) | wit::PartContent::Stored(text) => inspect(text.as_bytes()),
                        }
                }),
            }
    }

    /// The permit to fetch located media, checked like a request of the connector in the same call.
    pub(crate) fn permit_fetch(&mut self, url: &str, headers: Vec<Header>) -> Result<EgressPermit, CallRefusal> {
        let method = http::Method::GET;
        let shown = Shown::of(method.as_str(), url);
        let request = parse_url(url).and_then(|url| {
            Ok(Request {
                method,
                url,
                headers: read_headers(headers)?,
                body: RequestBody::Empty,
            })
        });
        let permit = self.judge(&shown, request)?;
        let (route, class) = purpose(&permit);
        if class == Some(RouteClass::Media) {
            return Ok(permit);
        }
        let refusal = CallRefusal::WrongCall {
            call: "fetch of located media",
            class: class.unwrap_or(RouteClass::Read),
            route: route.unwrap_or_default(),
        };
        self.refused(&shown, refusal.rule(), &refusal.to_string());
        Err(refusal)
    }

    /// Waits until the rate limit allows a request of class `media`.
    pub(crate) async fn media_turn(&self) -> Result<Option<Box<dyn Departure>>, TooLong> {
        match &self.network {
            Some(network) => network.pacer.turn(RouteClass::Media).await,
            None => Ok(None),
        }
    }
}

impl Shown {
    /// For a request whose URL holds a secret.
    fn without_url(&self) -> Self {
        Self {
            method: String::new(),
            url: String::new(),
        }
    }

    fn record(&self, route: Option<String>, class: Option<RouteClass>) -> RequestRecord {
        RequestRecord {
            route,
            class,
            method: self.method.clone(),
            url: self.url.clone(),
            outcome: RequestOutcome::Abandoned,
            elapsed: Duration::ZERO,
        }
    }
}

/// The `Date` of a response; none if a cache served it (`Age`, RFC 9111, 5.1).
fn response_date(headers: &[(String, String)]) -> Option<&str> {
    let value = |name: &str| {
        headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    };
    value("date").filter(|_| value("age").is_none())
}

fn refused(rule: &'static str, detail: &str) -> RequestOutcome {
    RequestOutcome::Refused {
        rule,
        detail: detail.to_owned(),
    }
}

fn purpose(permit: &EgressPermit) -> (Option<String>, Option<RouteClass>) {
    match permit.purpose() {
        Purpose::Connector { route, class } => (Some(route.clone()), Some(*class)),
        _ => (None, None),
    }
}

impl Host for CallData {
    async fn fetch(&mut self, request: wit::Request) -> Result<wit::Response, wit::Error> {
        if matches!(self.trace, CallTrace::Replaying(_)) {
            // Nothing leaves, but a refusal is found out all the same.
            let judged = self.admit(&Shown::of(&request.method, &request.url), request.clone());
            if let CallTrace::Replaying(source) = &mut self.trace {
                return source.fetch(&request, judged.err().map(|refusal| refusal.to_string()));
            }
        }
        let written = self.trace.request(&request);
        // Boxed: it runs on the call's small stack.
        let answer = Box::pin(self.send(request)).await;
        if let Some(request) = written {
            self.trace.responded(request, &answer);
        }
        answer
    }
}

fn parse_url(url: &str) -> Result<Url, CallRefusal> {
    if url.len() > limits::URL_BYTES {
        return Err(CallRefusal::BadUrl {
            reason: "it is too long",
        });
    }
    Url::parse(url).map_err(|_| CallRefusal::BadUrl {
        reason: "it cannot be read; write it absolute, as https://host/path",
    })
}

fn read_headers(headers: Vec<Header>) -> Result<Vec<(http::HeaderName, http::HeaderValue)>, CallRefusal> {
    let bad = |name: &str, reason| CallRefusal::BadHeader {
        name: text::line(name, limits::TOKEN_BYTES),
        reason,
    };
    if headers.len() > limits::HEADERS {
        return Err(bad("", "there are too many"));
    }
    headers
        .into_iter()
        .map(|Header { name, value }| {
            if name.len() + value.len() > limits::HEADER_BYTES {
                return Err(bad(&name, "it is too long"));
            }
            let parsed: http::HeaderName = name.parse().map_err(|_| bad(&name, "its name is not one of HTTP"))?;
            let value = http::HeaderValue::from_str(&value)
                .map_err(|_| bad(&name, "its value holds characters that no header may"))?;
            Ok((parsed, value))
        })
        .collect()
}

/// Parses an untrusted request.
fn read(request: wit::Request, attachments: &[MediaId]) -> Result<Request, CallRefusal> {
    let url = parse_url(&request.url)?;
    let method = request.method.parse().map_err(|_| CallRefusal::NoRoute {
        method: text::line(&request.method, limits::TOKEN_BYTES),
        origin: url.origin().ascii_serialization(),
        path: url.path().to_owned(),
    })?;
    Ok(Request {
        method,
        headers: read_headers(request.headers)?,
        body: read_body(request.body, attachments)?,
        url,
    })
}

fn read_body(body: wit::Body, attachments: &[MediaId]) -> Result<RequestBody, CallRefusal> {
    let too_large = CallRefusal::BadBody {
        reason: "it exceeds the limit for a body from a connector's memory",
    };
    let stored = |id: &str| {
        id.parse()
            .ok()
            .filter(|id| attachments.contains(id))
            .ok_or(CallRefusal::BadBody {
                reason: "it names stored bytes that are not those of the draft",
            })
    };
    match body {
        wit::Body::None => Ok(RequestBody::Empty),
        wit::Body::Bytes(bytes) if bytes.len() > limits::REQUEST_BODY_BYTES => Err(too_large),
        wit::Body::Bytes(bytes) => Ok(RequestBody::Bytes(bytes.into())),
        wit::Body::Stored(id) => stored(&id).map(RequestBody::Stored),
        wit::Body::Multipart(parts) => {
            let mut bytes = 0;
            let parts: Result<Vec<Part>, _> = parts
                .into_iter()
                .map(|part| {
                    bytes += part.name.len();
                    let content = match part.content {
                        wit::PartContent::Text(text) => {
                            bytes += text.len();
                            PartContent::Text(text)
                        }
                        wit::PartContent::Stored(id) => PartContent::Stored(stored(&id)?),
                    };
                    Ok(Part {
                        name: part.name,
                        content,
                    })
                })
                .collect();
            let parts = parts?;
            if bytes > limits::REQUEST_BODY_BYTES {
                return Err(too_large);
            }
            Ok(RequestBody::Multipart(parts))
        }
    }
}
