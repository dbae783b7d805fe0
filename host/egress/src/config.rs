//! Settings of outbound requests.

use std::sync::Arc;
use std::time::Duration;

use weir_domain::limits;

use crate::dial::{Resolve, SystemResolver};

/// Timeouts, user agent and resolver. The default is for production; tests use shorter timeouts and a resolver of their
/// own.
#[derive(Clone)]
pub struct Config {
    /// The `User-Agent` of requests that do not set it.
    pub user_agent: String,
    /// Timeout for resolving, connecting and the TLS handshake.
    pub connect: Duration,
    /// Timeout between two reads of a response's body.
    pub read: Duration,
    /// Timeout of a request, from resolving to the last byte.
    pub request: Duration,
    /// The same, for an operator's endpoint.
    pub endpoint: Duration,
    /// Timeout between two reads of a stream, which has no timeout as a whole.
    pub stream_idle: Duration,
    /// Resolves host names.
    pub resolver: Arc<dyn Resolve>,
}

/// A stream without data for this long is dead: the host's own event stream sends a comment every 15 s.
const STREAM_IDLE: Duration = Duration::from_secs(60);

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("Weir/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect: limits::CONNECT,
            read: limits::READ,
            request: limits::REQUEST,
            endpoint: limits::ENDPOINT,
            stream_idle: STREAM_IDLE,
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a header value.
    #[error("the user agent {0:?} is not a valid header value")]
    UserAgent(String),
}
