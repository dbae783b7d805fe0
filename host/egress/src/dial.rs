//! From a host name to a connection: resolve once, check every address, and dial exactly the addresses that passed.
//!
//! Host names and literal addresses take the same path, so that no spelling of a host avoids the check. One function
//! checks and dials one list: a name that resolves differently a moment later (DNS rebinding) changes nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;
use weir_domain::policy::Reach;
use weir_domain::policy::address::{self, AddressRefusal};

/// Resolves host names.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, best first, unchecked.
    ///
    /// # Errors
    /// The name does not exist, or no server responds.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((host, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Refused(#[from] AddressRefusal),
    #[error("{0}")]
    Failed(String),
}

/// How many addresses of a name are tried.
const ADDRESSES: usize = 4;

/// A connector that dials only addresses that `reach` permits.
pub(crate) fn dialer(
    reach: Reach,
    resolver: &Arc<dyn Resolve>,
    connect: Duration,
    tls: rustls::ClientConfig,
) -> Dialer {
    let tcp = Tcp {
        reach,
        connect,
        resolver: Arc::clone(resolver),
    };
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Dialer { https, connect }
}

/// TLS 1.2 and 1.3 with the built-in certificate authorities of the web: an empty container has none of its own.
pub(crate) fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_webpki_roots()
        .with_no_client_auth()
}

/// TCP and, for https, TLS, within the connect timeout.
#[derive(Clone)]
pub(crate) struct Dialer {
    https: HttpsConnector<Tcp>,
    connect: Duration,
}

type Dialing<S, E> = Pin<Box<dyn Future<Output = Result<S, E>> + Send>>;
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Dialer {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Dialing<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialing = self.https.call(uri);
        let connect = self.connect;
        Box::pin(async move {
            match timeout(connect, dialing).await {
                Ok(connected) => connected,
                Err(_) => Err(DialError::Failed(format!("no connection within {connect:?}")).into()),
            }
        })
    }
}

/// TCP to a checked address.
#[derive(Clone)]
pub(crate) struct Tcp {
    reach: Reach,
    connect: Duration,
    resolver: Arc<dyn Resolve>,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Dialing<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tcp = self.clone();
        Box::pin(async move { tcp.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Tcp {
    async fn dial(&self, uri: &Uri) -> Result<TcpStream, DialError> {
        let host = uri.host().unwrap_or_default();
        let port = match (uri.port_u16(), uri.scheme_str()) {
            (Some(port), _) => port,
            (None, Some("https")) => 443,
            (None, _) => 80,
        };
        let deadline = Instant::now() + self.connect;
        let addresses = self.judged(host).await?;
        let mut last = String::new();
        let count = addresses.len();
        for (i, address) in addresses.into_iter().enumerate() {
            // Each gets an equal share of the remaining time, so that one that drops packets does not use up that of
            // the next.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - i).unwrap_or(1);
            match timeout_at(
                Instant::now() + share,
                TcpStream::connect(SocketAddr::new(address, port)),
            )
            .await
            {
                Ok(Ok(stream)) => {
                    // Requests are small, and latency matters.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "it does not answer".to_owned(),
            }
        }
        Err(DialError::Failed(format!("no connection to {host}:{port}: {last}")))
    }

    /// The addresses of `host` that may be dialed: at least one.
    async fn judged(&self, host: &str) -> Result<Vec<IpAddr>, DialError> {
        let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let found = match literal {
            Some(address) => vec![address],
            None => self
                .resolver
                .resolve(host)
                .await
                .map_err(|error| DialError::Failed(format!("{host} cannot be resolved: {error}")))?,
        };
        let mut refusal = None;
        let mut judged = Vec::new();
        // The address that was checked, without its IPv4-mapped form, is the one that is dialed.
        for address in found.into_iter().map(|address| address.to_canonical()) {
            match address::admit(address, self.reach) {
                Ok(()) => judged.push(address),
                Err(no) => refusal = refusal.or(Some(no)),
            }
        }
        judged.truncate(ADDRESSES);
        match (judged.is_empty(), refusal) {
            (false, _) => Ok(judged),
            (true, Some(no)) => Err(no.into()),
            (true, None) => Err(DialError::Failed(format!("{host} has no address"))),
        }
    }
}
