//! Connections: a pool of idle ones, and a gate before the first byte of each request.
//!
//! A request has its connection exclusively, from the gate to the end of its response. If it is canceled in between,
//! the connection is closed, so that nothing of it leaves afterwards. A request is sent over another connection only if
//! nothing of it was written to the first, which had closed.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tower_service::Service;
use weir_domain::limits;

use crate::body::Outgoing;
use crate::dial::Dialer;
use crate::error::{EgressError, Refused};

/// How long a connection stays idle before it is closed. Shorter than the server's timeout: a request on a connection
/// that the server closes has left and gets no response. Common servers use 5 s (node) to 75 s (nginx).
const IDLE: Duration = Duration::from_secs(4);
/// The largest head of a response, in bytes.
const HEAD_BYTES: usize = 64 << 10;

/// Polled just before a request's first bytes are written to its connection, new or reused: resolving and handshakes,
/// which take an unknown time, are done by then.
pub trait Departure: Send {
    /// Why the request must not leave any more; none while it may. Asked just before [`Departure::poll_leave`].
    fn withheld(&self) -> Option<String> {
        None
    }
    /// Ready once the request may leave. Not polled again after that.
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<()>;
    /// The bytes were written. Not called for a request that never left.
    fn left(&mut self);
    /// The head of the response was read. Not called for a request that left and got no response: its departure is
    /// dropped.
    fn answered(&mut self) {}
}

/// Sends requests over connections to addresses of one reach.
#[derive(Clone)]
pub(crate) struct Client {
    dialer: Dialer,
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    of: HashMap<(Scheme, Authority), Vec<(Connection, Instant)>>,
    /// Whether the task that closes idle connections runs.
    is_swept: bool,
}

/// A connection for exclusive use.
struct Connection {
    sender: SendRequest<Outgoing>,
    gate: Arc<Gate>,
    _task: Task,
}

/// The task that drives a connection; aborted with it.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The connection of one request, until the end of its response.
pub(crate) struct Leased {
    client: Client,
    to: (Scheme, Authority),
    connection: Connection,
}

impl Leased {
    /// The response was read completely: the connection returns to the pool.
    pub(crate) fn give_back(self) {
        self.client.keep(self.to, self.connection);
    }
}

/// Whether a request passed the gate of its connection.
#[derive(Clone, Default)]
pub(crate) struct Passage(Arc<AtomicBool>);

impl Passage {
    /// Whether bytes of the request may have left.
    pub(crate) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Client {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            idle: Arc::default(),
        }
    }

    /// Sends a request and waits for the head of its response. Afterwards `passage` records whether it may have left,
    /// also if the caller stops waiting.
    pub(crate) async fn request(
        &self,
        mut request: Request<Outgoing>,
        mut departure: Option<Box<dyn Departure>>,
        passage: Passage,
    ) -> Result<(Response<Incoming>, Leased), EgressError> {
        let uri = request.uri().clone();
        let to = place(&uri)?;
        if !request.headers().contains_key(HOST) {
            let host = host(&uri, &to)?;
            request.headers_mut().insert(HOST, host);
        }
        *request.uri_mut() = origin_form(&uri);
        loop {
            let (mut connection, is_new) = match self.take(&to) {
                Some(connection) => (connection, false),
                None => (self.connect(&uri).await?, true),
            };
            if let Err(error) = connection.sender.ready().await {
                if is_new {
                    return Err(EgressError::Unreachable {
                        reason: message(&error),
                    });
                }
                continue;
            }
            connection.gate.begin(departure.take(), passage.clone());
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    connection.gate.answered();
                    let leased = Leased {
                        client: self.clone(),
                        to,
                        connection,
                    };
                    return Ok((response, leased));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new && !passage.has_left() => {
                        departure = connection.gate.end();
                        request = unsent;
                    }
                    _ => {
                        let reason = message(error.error());
                        return Err(if passage.has_left() {
                            EgressError::NoAnswer { reason }
                        } else {
                            EgressError::Unreachable { reason }
                        });
                    }
                },
            }
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Connection, EgressError> {
        let stream = self.dialer.clone().call(uri.clone()).await;
        let stream = stream.map_err(|error| EgressError::of_dial(&*error))?;
        let gate = Arc::new(Gate::default());
        let gated = Gated {
            stream,
            gate: Arc::clone(&gate),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .max_headers(2 * limits::HEADERS)
            .handshake(gated)
            .await
            .map_err(|error| EgressError::Unreachable {
                reason: message(&error),
            })?;
        // Its error is reported to the request that it carries.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection {
            sender,
            gate,
            _task: Task(task.abort_handle()),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recently used idle connection to there, if one is fresh.
    fn take(&self, to: &(Scheme, Authority)) -> Option<Connection> {
        let mut idle = self.idle();
        let there = idle.of.get_mut(to)?;
        while let Some((connection, since)) = there.pop() {
            if since.elapsed() < IDLE && !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, to: (Scheme, Authority), connection: Connection) {
        let mut idle = self.idle();
        let there = idle.of.entry(to).or_default();
        if connection.sender.is_closed() || there.len() >= limits::SENDS_IN_FLIGHT {
            return;
        }
        there.push((connection, Instant::now()));
        if !std::mem::replace(&mut idle.is_swept, true) {
            let weak = Arc::downgrade(&self.idle);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(IDLE).await;
                    let Some(idle) = weak.upgrade() else { return };
                    if !idle.lock().unwrap_or_else(PoisonError::into_inner).sweep() {
                        return;
                    }
                }
            });
        }
    }
}

impl Idle {
    /// Closes connections that are idle for too long; whether any is left.
    fn sweep(&mut self) -> bool {
        self.of.retain(|_, there| {
            there.retain(|(connection, since)| since.elapsed() < IDLE && !connection.sender.is_closed());
            !there.is_empty()
        });
        self.is_swept = !self.of.is_empty();
        self.is_swept
    }
}

/// The origin of a request.
fn place(uri: &Uri) -> Result<(Scheme, Authority), EgressError> {
    match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) => Ok((scheme.clone(), authority.clone())),
        _ => Err(Refused::NotAUri.into()),
    }
}

/// The `Host` header: without the scheme's own port (RFC 9110, 4.2.3).
fn host(uri: &Uri, (scheme, authority): &(Scheme, Authority)) -> Result<HeaderValue, EgressError> {
    let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = match uri.port_u16().filter(|port| *port != default) {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    HeaderValue::from_str(&host).map_err(|_| Refused::NotAUri.into())
}

/// The request target in origin form (RFC 9112, 3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

fn message(error: &hyper::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

// ---- the gate ------------------------------------------------------------------------------------------------------

/// Holds back the first bytes of a request on a connection until its departure is ready.
#[derive(Default)]
struct Gate(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Of the request on the connection, until its response begins.
    departure: Option<Box<dyn Departure>>,
    /// Of a request that has not left.
    passage: Option<Passage>,
}

impl Gate {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, departure: Option<Box<dyn Departure>>, passage: Passage) {
        *self.waiting() = Waiting {
            departure,
            passage: Some(passage),
        };
    }

    /// The response to the request that left has started.
    fn answered(&self) {
        let departure = self.waiting().departure.take();
        if let Some(mut departure) = departure {
            departure.answered();
        }
    }

    /// The departure of a request that never reached the gate.
    fn end(&self) -> Option<Box<dyn Departure>> {
        std::mem::take(&mut *self.waiting()).departure
    }
}

/// A stream whose writes pass the gate.
struct Gated<S> {
    stream: S,
    gate: Arc<Gate>,
}

impl<S: Write + Unpin> Gated<S> {
    /// Writes once the gate is open. The lock is held over one write, which does not block.
    fn poll_through<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Waiting { departure, passage } = &mut *self.gate.waiting();
        if passage.is_none() {
            return write(Pin::new(&mut self.stream), context);
        }
        if let Some(departure) = departure {
            if let Some(reason) = departure.withheld() {
                return Poll::Ready(Err(io::Error::other(reason)));
            }
            ready!(departure.poll_leave(context));
        }
        // Before the write: if it fails halfway, bytes may have left.
        if let Some(passage) = passage.take() {
            passage.0.store(true, Ordering::Release);
        }
        let written = write(Pin::new(&mut self.stream), context);
        if let Some(departure) = departure {
            departure.left();
        }
        written
    }
}

impl<S: Read + Unpin> Read for Gated<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: Write + Unpin> Write for Gated<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_through(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_through(context, |stream, context| stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
