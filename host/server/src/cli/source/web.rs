//! Bounded GET requests to where components are published, through egress.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Method};
use tokio::io::AsyncWrite;
use url::Url;
use weir_domain::credential::Secrets;
use weir_domain::limits;
use weir_domain::policy::{Request, RequestBody, may_obtain};
use weir_egress::{Config, Egress, EgressError};

use super::origin;
use crate::cli::output::Output;
use crate::cli::{Exit, Failure};

/// Fetches from a host that the operator named, and from where its redirects lead.
pub(super) struct Web<'a> {
    egress: Egress,
    named: Url,
    output: &'a Output,
}

/// A GET request.
#[derive(Clone, Copy)]
pub(super) struct Get<'a> {
    pub(super) url: &'a Url,
    pub(super) accept: &'static str,
    pub(super) authorization: Option<&'a HeaderValue>,
    /// Largest body that is accepted.
    pub(super) max_bytes: u64,
    /// The size of the body, if it is known.
    pub(super) size: Option<u64>,
}

/// A response; its body is read only for 2xx.
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Response {
    /// The values of a header, which may be repeated.
    pub(super) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(have, _)| have == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The target of a redirect.
    fn redirect(&self, from: &Url) -> Option<Result<Url, url::ParseError>> {
        let is_redirect = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        let location = self.headers("location").next().filter(|_| is_redirect)?;
        Some(from.join(location).map(|mut url| {
            url.set_fragment(None);
            url
        }))
    }
}

impl<'a> Web<'a> {
    /// Fetches from the host of `named`.
    pub(super) fn new(named: &Url, output: &'a Output) -> Result<Self, Failure> {
        let config = Config {
            user_agent: concat!("weir-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
            request: limits::COMPONENT_FETCH,
            ..Config::default()
        };
        let egress = Egress::new(config).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self {
            egress,
            named: named.clone(),
            output,
        })
    }

    /// Sends the request, and follows redirects.
    pub(super) async fn get(&self, get: Get<'_>) -> Result<Response, Failure> {
        let mut url = get.url.clone();
        for _ in 0..=limits::REDIRECTS {
            let response = self.once(&url, get).await?;
            match response.redirect(&url) {
                None => return Ok(response),
                Some(Ok(next)) => url = next,
                Some(Err(error)) => {
                    return Err(Failure::failed(format!(
                        "{} redirects to an invalid URL: {error}",
                        origin(&url)
                    )));
                }
            }
        }
        Err(Failure::failed(format!(
            "{} redirects more than {} times; check the URL",
            origin(get.url),
            limits::REDIRECTS
        )))
    }

    async fn once(&self, url: &Url, get: Get<'_>) -> Result<Response, Failure> {
        let mut headers = vec![(ACCEPT, HeaderValue::from_static(get.accept))];
        // Credentials are for the origin that required them, not for the target of a redirect.
        if url.origin() == get.url.origin() {
            headers.extend(get.authorization.map(|value| (AUTHORIZATION, value.clone())));
        }
        let request = Request {
            method: Method::GET,
            url: url.clone(),
            headers,
            body: RequestBody::Empty,
        };
        let permit = may_obtain(&self.named, request).map_err(|refusal| {
            Failure::new(
                Exit::Refused,
                format!("{} leads to {}, which is refused: {refusal}", self.named, origin(url)),
            )
        })?;
        let mut body = Body::new(self.output, get.size);
        let fetched = self
            .egress
            .fetch(permit, &Secrets::default(), get.max_bytes, &mut body)
            .await;
        let bytes = body.finish();
        let fetched = fetched.map_err(|error| failure(url, &error))?;
        Ok(Response {
            status: fetched.status,
            headers: fetched.headers,
            body: bytes,
        })
    }
}

fn failure(url: &Url, error: &EgressError) -> Failure {
    let origin = origin(url);
    match error {
        EgressError::TooLarge { limit } => Failure::new(
            Exit::Refused,
            format!("the response of {origin} is larger than the limit of {limit} bytes"),
        ),
        // The error that rustls reports if the response is not TLS at all.
        error if url.scheme() == "https" && error.to_string().contains("received corrupt message") => Failure::new(
            Exit::Unreachable,
            format!("{origin} does not support TLS; to use plain http, add --plain-http"),
        ),
        EgressError::Refused(refusal) => {
            Failure::new(Exit::Refused, format!("connections to {origin} are refused: {refusal}"))
        }
        error => Failure::new(Exit::Unreachable, format!("{origin}: {error}")),
    }
}

/// Collects a body, and shows progress.
struct Body<'a> {
    bytes: Vec<u8>,
    size: Option<u64>,
    /// Bytes at the last progress message.
    shown: usize,
    output: &'a Output,
}

/// Bytes between two progress messages.
const PROGRESS: usize = 256 << 10;

impl<'a> Body<'a> {
    fn new(output: &'a Output, size: Option<u64>) -> Self {
        Self {
            bytes: Vec::new(),
            size,
            shown: 0,
            output,
        }
    }

    fn finish(self) -> Bytes {
        if self.shown > 0 {
            self.output.progress("");
        }
        self.bytes.into()
    }
}

impl AsyncWrite for Body<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.bytes.extend_from_slice(bytes);
        if this.bytes.len() - this.shown >= PROGRESS {
            this.shown = this.bytes.len();
            let size = this
                .size
                .map_or_else(String::new, |size| format!(" of {}", kilobytes(size)));
            this.output
                .progress(&format!("Downloading … {}{size}", kilobytes(this.shown as u64)));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1_000))
}
