//! Outbound requests: the only crate of Weir that opens a connection.
//!
//! It takes an [`EgressPermit`], which only the policy in `weir-domain` can create, and returns a bounded response. In
//! this order: the secrets are set at the places that the route declares; the host name is resolved once; every address
//! is checked, and only checked ones are dialed ([`dial`]); the request's [`Departure`] is polled just before its first
//! byte is written. Proxies of the environment, redirects, cookies and retries of what has left are not implemented.
//! The protocol is HTTP/1.1, with TLS for every https URL; plain http is allowed to this machine, or where the operator
//! permits it.
//!
//! A response is bounded in bytes and time. Compression is neither requested nor accepted, so that the bytes counted
//! are the bytes read. Secret values are removed from it.
//!
//! Whether and how often a request may leave, and what its response means, is decided elsewhere. For a failure this
//! crate reports whether the platform can have seen the request: [`EgressError::may_have_been_seen`].
#![forbid(unsafe_code)]

mod body;
mod config;
mod connection;
mod dial;
mod error;
mod place;
mod scrub;
mod span;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use weir_domain::credential::Secrets;
use weir_domain::limits;
use weir_domain::policy::{EgressPermit, Purpose, Reach};

pub use body::{Bodies, BodyError, NoBodies, StoredBody};
pub use config::{Config, ConfigError};
pub use connection::Departure;
pub use dial::{Resolve, SystemResolver};
pub use error::{EgressError, Refused};

use body::Outgoing;
use connection::{Client, Leased, Passage};
use scrub::Scrubber;

/// Sends requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    config: Config,
    user_agent: HeaderValue,
    /// One client for each reach, so that a kept connection is used only by requests with the reach that its address
    /// was checked for.
    public: Client,
    loopback: Client,
    operator: Client,
}

/// A complete response.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Without hop-by-hop headers and `set-cookie`; names in lower case; secrets removed.
    pub headers: Vec<(String, String)>,
    /// Secrets removed. For an endpoint, only its beginning.
    pub body: Bytes,
    /// From resolving to the last byte.
    pub elapsed_ms: u64,
}

/// Without header values and body, which may hold tokens and what people wrote.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("elapsed_ms", &self.elapsed_ms)
            .finish_non_exhaustive()
    }
}

/// The result of a fetch.
#[derive(Clone)]
pub struct Fetched {
    /// HTTP status; the body was written if it is 2xx, and not read otherwise.
    pub status: u16,
    /// As in [`Answer::headers`].
    pub headers: Vec<(String, String)>,
    /// Bytes written.
    pub bytes: u64,
    /// From resolving to the last byte.
    pub elapsed_ms: u64,
}

/// A response that is read as it arrives, until one side ends it.
pub struct AnswerStream {
    /// HTTP status.
    pub status: u16,
    /// As in [`Answer::headers`].
    pub headers: Vec<(String, String)>,
    body: Reading,
}

impl AnswerStream {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`EgressError::NoAnswer`] if the stream is interrupted or times out.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EgressError> {
        self.body.next().await
    }
}

impl Egress {
    /// Creates the clients.
    ///
    /// # Errors
    /// The user agent is not a valid header value.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_tls(config, dial::tls())
    }

    fn with_tls(config: Config, tls: rustls::ClientConfig) -> Result<Self, ConfigError> {
        let user_agent =
            HeaderValue::from_str(&config.user_agent).map_err(|_| ConfigError::UserAgent(config.user_agent.clone()))?;
        let client = |reach| Client::new(dial::dialer(reach, &config.resolver, config.connect, tls.clone()));
        Ok(Self(Arc::new(Inner {
            user_agent,
            public: client(Reach::Public),
            loopback: client(Reach::Loopback),
            operator: client(Reach::OperatorSet),
            config,
        })))
    }

    /// Consumes a permit and waits for the complete response, whatever its status. `secrets` are set where the permit
    /// names; stored media that the request references comes from `bodies`.
    ///
    /// The response of a [`Purpose::Endpoint`] is its status: only the beginning of the body is kept, and a failure
    /// after the status is ignored. From the response of a [`Purpose::Authorization`] secrets are not removed: only the
    /// host reads it, and a renewed token may equal the old one.
    ///
    /// # Errors
    /// Each reports whether the platform can have seen the request.
    pub async fn send(
        &self,
        permit: EgressPermit,
        secrets: &Secrets,
        bodies: &dyn Bodies,
    ) -> Result<Answer, EgressError> {
        self.send_at(None, permit, secrets, bodies).await
    }

    /// The same, for a request that leaves once `departure` is ready.
    ///
    /// # Errors
    /// As [`Egress::send`].
    pub async fn send_at(
        &self,
        departure: Option<Box<dyn Departure>>,
        permit: EgressPermit,
        secrets: &Secrets,
        bodies: &dyn Bodies,
    ) -> Result<Answer, EgressError> {
        let span = span::of(&permit);
        let answer = self.answer(departure, permit, secrets, bodies);
        let answer = answer.instrument(span.clone()).await;
        span::ended(&span, answer.as_ref().map(|answer| answer.status));
        answer
    }

    async fn answer(
        &self,
        departure: Option<Box<dyn Departure>>,
        permit: EgressPermit,
        secrets: &Secrets,
        bodies: &dyn Bodies,
    ) -> Result<Answer, EgressError> {
        let started = Instant::now();
        let is_endpoint = *permit.purpose() == Purpose::Endpoint;
        let total = if is_endpoint {
            self.0.config.endpoint
        } else {
            self.0.config.request
        };
        let scrubber = match permit.purpose() {
            Purpose::Authorization => Scrubber::default(),
            _ => Scrubber::new(secrets),
        };
        let (head, mut reading) = self
            .exchange(departure, permit, secrets, bodies, started + total)
            .await?;
        let headers = passed_on(&head.headers, &scrubber);
        let body = if is_endpoint {
            reading.beginning(limits::ENDPOINT_ANSWER_BYTES).await
        } else {
            reading.whole(limits::ANSWER_BYTES).await?
        };
        Ok(Answer {
            status: head.status.as_u16(),
            headers: headers?,
            body: scrubber.bytes(body),
            elapsed_ms: elapsed_ms(started),
        })
    }

    /// Consumes a permit and writes the response's body to `into`, at most `max_bytes` of it. Secrets are not removed:
    /// it is a file for the media store, and no connector reads it.
    ///
    /// # Errors
    /// As [`Egress::send`], and [`EgressError::Sink`] if `into` cannot be written. After a failure, discard what was
    /// written.
    pub async fn fetch(
        &self,
        permit: EgressPermit,
        secrets: &Secrets,
        max_bytes: u64,
        into: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Fetched, EgressError> {
        self.fetch_at(None, permit, secrets, max_bytes, into).await
    }

    /// The same, for a request that leaves once `departure` is ready.
    ///
    /// # Errors
    /// As [`Egress::fetch`].
    pub async fn fetch_at(
        &self,
        departure: Option<Box<dyn Departure>>,
        permit: EgressPermit,
        secrets: &Secrets,
        max_bytes: u64,
        into: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Fetched, EgressError> {
        let span = span::of(&permit);
        let fetched = self.fetched(departure, permit, secrets, max_bytes, into);
        let fetched = fetched.instrument(span.clone()).await;
        span::ended(&span, fetched.as_ref().map(|fetched| fetched.status));
        fetched
    }

    async fn fetched(
        &self,
        departure: Option<Box<dyn Departure>>,
        permit: EgressPermit,
        secrets: &Secrets,
        max_bytes: u64,
        into: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<Fetched, EgressError> {
        let started = Instant::now();
        let deadline = started + self.0.config.request;
        let (head, mut reading) = self.exchange(departure, permit, secrets, &NoBodies, deadline).await?;
        let headers = passed_on(&head.headers, &Scrubber::new(secrets))?;
        let mut bytes = 0;
        if head.status.is_success() {
            while let Some(chunk) = reading.next().await? {
                bytes += chunk.len() as u64;
                if bytes > max_bytes {
                    return Err(EgressError::TooLarge { limit: max_bytes });
                }
                into.write_all(&chunk).await.map_err(EgressError::Sink)?;
            }
            into.flush().await.map_err(EgressError::Sink)?;
        }
        Ok(Fetched {
            status: head.status.as_u16(),
            headers,
            bytes,
            elapsed_ms: elapsed_ms(started),
        })
    }

    /// Consumes a permit of the operator's own programs and returns the response as a stream.
    ///
    /// # Errors
    /// As [`Egress::send`]; refused for every purpose other than [`Purpose::Operator`], since a stream has no timeout
    /// as a whole.
    pub async fn stream(&self, permit: EgressPermit) -> Result<AnswerStream, EgressError> {
        if *permit.purpose() != Purpose::Operator {
            return Err(Refused::NotAStream.into());
        }
        let nothing = Secrets::default();
        let deadline = Instant::now() + self.0.config.request;
        let (head, reading) = self.exchange(None, permit, &nothing, &NoBodies, deadline).await?;
        Ok(AnswerStream {
            status: head.status.as_u16(),
            headers: passed_on(&head.headers, &Scrubber::default())?,
            body: Reading {
                idle: self.0.config.stream_idle,
                deadline: None,
                ..reading
            },
        })
    }

    /// From a permit to the head of the response.
    async fn exchange(
        &self,
        departure: Option<Box<dyn Departure>>,
        permit: EgressPermit,
        secrets: &Secrets,
        bodies: &dyn Bodies,
        deadline: Instant,
    ) -> Result<(http::response::Parts, Reading), EgressError> {
        let (request, purpose, uses, reach) = permit.into_parts();
        let request = place::set(request, &uses, secrets)?;
        let uri: http::Uri = request.url.as_str().parse().map_err(|_| Refused::NotAUri)?;
        // The policy checks this too; since secrets are at stake, it is checked twice.
        if uri.scheme_str() != Some("https") && reach == Reach::Public {
            return Err(Refused::PlainText.into());
        }
        let (body, content_type) = Outgoing::of(request.body, bodies).await.map_err(EgressError::Body)?;
        let mut head = HeaderMap::with_capacity(request.headers.len() + 3);
        head.insert(USER_AGENT, self.0.user_agent.clone());
        for (name, value) in request.headers {
            // A repeated header is sent repeatedly, but a request's user agent replaces the host's.
            if name == USER_AGENT {
                head.insert(name, value);
            } else {
                head.append(name, value);
            }
        }
        // Without the header, any coding would be acceptable (RFC 9110, 12.5.3).
        head.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(content_type) = content_type {
            head.insert(CONTENT_TYPE, content_type);
        }
        let mut outgoing = http::Request::new(body);
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = head;
        let client = match reach {
            Reach::Public => &self.0.public,
            Reach::Loopback => &self.0.loopback,
            Reach::OperatorSet => &self.0.operator,
        };
        let passage = Passage::default();
        let exchanged = timeout_at(deadline, client.request(outgoing, departure, passage.clone())).await;
        let (answer, connection) = exchanged.unwrap_or_else(|_| {
            let reason = "no response began within the timeout".to_owned();
            Err(if passage.has_left() {
                EgressError::NoAnswer { reason }
            } else {
                EgressError::Unreachable { reason }
            })
        })?;
        let (head, body) = answer.into_parts();
        let is_encoded = head
            .headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        if is_encoded && purpose != Purpose::Endpoint {
            return Err(EgressError::NoAnswer {
                reason: "the response is compressed, although that was not requested".to_owned(),
            });
        }
        let reading = Reading {
            body,
            connection: Some(connection),
            idle: self.0.config.read,
            deadline: Some(deadline),
        };
        Ok((head, reading))
    }
}

/// The body of a response.
struct Reading {
    body: Incoming,
    /// Returned to the pool at the end of the body; closed if the body is not read completely.
    connection: Option<Leased>,
    idle: Duration,
    deadline: Option<Instant>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, EgressError> {
        loop {
            let idle = Instant::now() + self.idle;
            let until = self.deadline.map_or(idle, |deadline| deadline.min(idle));
            let frame = timeout_at(until, self.body.frame())
                .await
                .map_err(|_| EgressError::NoAnswer {
                    reason: "the response did not end within the timeout".to_owned(),
                })?;
            match frame {
                None => {
                    if let Some(connection) = self.connection.take() {
                        connection.give_back();
                    }
                    return Ok(None);
                }
                Some(Err(_)) => {
                    return Err(EgressError::NoAnswer {
                        reason: "the response was interrupted".to_owned(),
                    });
                }
                // Trailers are dropped.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn whole(&mut self, limit: usize) -> Result<Bytes, EgressError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.next().await? {
            if whole.len() + chunk.len() > limit {
                return Err(EgressError::TooLarge { limit: limit as u64 });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// The beginning of the body, up to `limit` bytes.
    async fn beginning(&mut self, limit: usize) -> Bytes {
        let mut beginning = BytesMut::new();
        while beginning.len() < limit {
            let Ok(Some(chunk)) = self.next().await else { break };
            let room = limit - beginning.len();
            beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        beginning.freeze()
    }
}

/// Headers that are not returned: those of the connection (RFC 9110, 7.6.1), those about bytes that the host already
/// counted, and credentials.
const NOT_PASSED_ON: &[&str] = &[
    "alt-svc",
    "authorization",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn passed_on(headers: &HeaderMap, scrubber: &Scrubber) -> Result<Vec<(String, String)>, EgressError> {
    let named_by_connection: Vec<String> = headers
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut passed = Vec::new();
    for (name, value) in headers {
        let name = name.as_str();
        if NOT_PASSED_ON.contains(&name) || named_by_connection.iter().any(|hop| hop == name) {
            continue;
        }
        if passed.len() >= limits::HEADERS || value.len() > limits::HEADER_BYTES {
            return Err(EgressError::NoAnswer {
                reason: "the response's headers are too many or too long".to_owned(),
            });
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        passed.push((name.to_owned(), scrubber.text(&value)));
    }
    Ok(passed)
}

fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
