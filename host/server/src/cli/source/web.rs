//! Bounded answers from where components are published, through the host's own way out.

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

/// The way to a host that the operator named, and to where it sends us.
pub(super) struct Web<'a> {
    egress: Egress,
    named: Url,
    output: &'a Output,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    pub(super) accept: &'static str,
    pub(super) authorization: Option<&'a HeaderValue>,
    /// The answer's bound.
    pub(super) max_bytes: u64,
    /// How much will come, where that is known.
    pub(super) size: Option<u64>,
}

/// A whole answer; the body of one that is not 2xx is left unread.
pub(super) struct Got {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Got {
    /// The values of a header, which may stand there more than once.
    pub(super) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(have, _)| have == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Where it says to go on.
    fn goes_on_at(&self, from: &Url) -> Option<Result<Url, url::ParseError>> {
        let goes_on = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        let location = self.headers("location").next().filter(|_| goes_on)?;
        Some(from.join(location).map(|mut url| {
            url.set_fragment(None);
            url
        }))
    }
}

impl<'a> Web<'a> {
    /// The way to the host of `named`.
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

    /// Asks, and goes on where the answer says so.
    pub(super) async fn get(&self, ask: Ask<'_>) -> Result<Got, Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=limits::REDIRECTS {
            let got = self.once(&url, ask).await?;
            match got.goes_on_at(&url) {
                None => return Ok(got),
                Some(Ok(next)) => url = next,
                Some(Err(error)) => {
                    return Err(Failure::failed(format!(
                        "{} sends us on to what is no URL: {error}",
                        origin(&url)
                    )));
                }
            }
        }
        Err(Failure::failed(format!(
            "{} sends us on more than {} times",
            origin(ask.url),
            limits::REDIRECTS
        )))
    }

    async fn once(&self, url: &Url, ask: Ask<'_>) -> Result<Got, Failure> {
        let mut headers = vec![(ACCEPT, HeaderValue::from_static(ask.accept))];
        // What proves who asks is for whom it was made for, and not for where they send us.
        if url.origin() == ask.url.origin() {
            headers.extend(ask.authorization.map(|value| (AUTHORIZATION, value.clone())));
        }
        let request = Request {
            method: Method::GET,
            url: url.clone(),
            headers,
            body: RequestBody::Empty,
        };
        let permit = may_obtain(&self.named, request).map_err(|no| {
            Failure::new(
                Exit::Refused,
                format!("{} sends us to {}: {no}", self.named, origin(url)),
            )
        })?;
        let mut body = Body::new(self.output, ask.size);
        let fetched = self
            .egress
            .fetch(permit, &Secrets::default(), ask.max_bytes, &mut body)
            .await;
        let bytes = body.finish();
        let fetched = fetched.map_err(|error| failure(url, &error))?;
        Ok(Got {
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
            format!("what {origin} sends is larger than the {limit} bytes that are taken"),
        ),
        // As rustls says that what came is no TLS at all.
        error if url.scheme() == "https" && error.to_string().contains("received corrupt message") => Failure::new(
            Exit::Unreachable,
            format!("{origin} does not speak TLS; if it is meant to speak plain http, say --plain-http"),
        ),
        EgressError::Refused(no) => Failure::new(Exit::Refused, format!("{origin} is not spoken to: {no}")),
        error => Failure::new(Exit::Unreachable, format!("{origin}: {error}")),
    }
}

/// An answer's body on its way into memory, and told of.
struct Body<'a> {
    bytes: Vec<u8>,
    size: Option<u64>,
    /// At how many bytes somebody was told.
    told: usize,
    output: &'a Output,
}

/// How often somebody who looks is told, in bytes.
const TELL: usize = 256 << 10;

impl<'a> Body<'a> {
    fn new(output: &'a Output, size: Option<u64>) -> Self {
        Self {
            bytes: Vec::new(),
            size,
            told: 0,
            output,
        }
    }

    fn finish(self) -> Bytes {
        if self.told > 0 {
            self.output.progress("");
        }
        self.bytes.into()
    }
}

impl AsyncWrite for Body<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.bytes.extend_from_slice(bytes);
        if this.bytes.len() - this.told >= TELL {
            this.told = this.bytes.len();
            let size = this
                .size
                .map_or_else(String::new, |size| format!(" of {}", kilobytes(size)));
            this.output
                .progress(&format!("Fetching … {}{size}", kilobytes(this.told as u64)));
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

/// A size, for a person.
fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1_000))
}
