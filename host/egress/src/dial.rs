//! From a name to a connection: resolve once, judge every address, dial exactly what was judged.
//!
//! Names and addresses written as such take the same way, so there is no spelling of a host that goes around the rule. The
//! check and the dialling are of one list in one function: a name that resolves differently a moment later changes nothing.

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

use crate::Config;

/// Where names become addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, best first. They are not judged yet.
    ///
    /// # Errors
    /// The name is unknown, or nobody answers for it.
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

/// Addresses of one name that are tried; the best come first.
const ADDRESSES: usize = 4;

/// What dials only addresses that `reach` admits.
pub(crate) fn dialer(reach: Reach, config: &Config, tls: rustls::ClientConfig) -> Dialer {
    let tcp = Tcp {
        reach,
        connect: config.connect,
        resolver: Arc::clone(&config.resolver),
    };
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Dialer {
        https,
        connect: config.connect,
    }
}

/// TLS 1.2 and 1.3 against the web's certificate authorities, which are built in: a host in an empty container has them too.
pub(crate) fn tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_webpki_roots()
        .with_no_client_auth()
}

/// TCP and, for https, TLS, within the time to connect.
#[derive(Clone)]
pub(crate) struct Dialer {
    https: HttpsConnector<Tcp>,
    connect: Duration,
}

type Dialled<S, E> = Pin<Box<dyn Future<Output = Result<S, E>> + Send>>;
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Dialer {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Dialled<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialling = self.https.call(uri);
        let connect = self.connect;
        Box::pin(async move {
            match timeout(connect, dialling).await {
                Ok(dialled) => dialled,
                Err(_) => Err(DialError::Failed(format!("no connection within {connect:?}")).into()),
            }
        })
    }
}

/// TCP to a judged address.
#[derive(Clone)]
pub(crate) struct Tcp {
    reach: Reach,
    connect: Duration,
    resolver: Arc<dyn Resolve>,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Dialled<Self::Response, Self::Error>;

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
            // Each gets an even share of what is left, so that one that swallows packets does not starve the next.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - i).unwrap_or(1);
            match timeout_at(
                Instant::now() + share,
                TcpStream::connect(SocketAddr::new(address, port)),
            )
            .await
            {
                Ok(Ok(stream)) => {
                    // Requests are small and waited for.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "it does not answer".to_owned(),
            }
        }
        Err(DialError::Failed(format!("no connection to {host}:{port}: {last}")))
    }

    /// The addresses of `host` that may be dialled: at least one.
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
        // What the rule sees behind a mapped address is what is dialled.
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
