//! TikTok's Business Messaging API on loopback: virtual clock, faults, and a phone page for sending messages.
//!
//! The sandbox serves everything that TikTok's API reference documents about direct messages under the same paths, with
//! the same refusals, so that a connector can be built, tested and shown without an account at TikTok. The rules are in
//! [`world`], which is pure; [`http`] only transports. `docs/sandbox.md` documents how to drive it. It sends nothing
//! outside the machine.

#![forbid(unsafe_code)]

pub mod api;
pub mod clock;
pub mod deliver;
pub mod http;
pub mod limits;
pub mod load;
pub mod mint;
pub mod params;
pub mod refusal;
pub mod region;
pub mod ring;
pub mod signature;
pub mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use clock::{Clock, Timestamp};
use http::Shared;
use world::{Genesis, World};

/// The options of a sandbox.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its address; port 0 selects a free one.
    pub listen: SocketAddr,
    /// Generates every id; the same seed generates the same ids.
    pub seed: u64,
    /// The default app's secret.
    pub client_secret: String,
    /// The default app's redirect URI; without one, any loopback address.
    pub redirect_uri: Option<String>,
    /// The virtual time at the start; without one, the system's.
    pub start: Option<Timestamp>,
    /// Whether the virtual clock is stopped between advances.
    pub stopped: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            client_secret: "sandbox-client-secret".to_owned(),
            redirect_uri: None,
            start: None,
            stopped: false,
        }
    }
}

/// A running sandbox; dropping it stops it without waiting.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    server: JoinHandle<()>,
    sender: JoinHandle<()>,
}

impl Sandbox {
    /// Binds and serves in the background of the current tokio runtime.
    ///
    /// # Errors
    /// The address is in use, or is not one of this machine's loopback addresses: the control API has no password.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        anyhow::ensure!(
            config.listen.ip().is_loopback(),
            "{} is not a loopback address, and the sandbox has no password",
            config.listen.ip()
        );
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr().context("a bound socket has no address")?;
        let clock = Clock::new(config.start, !config.stopped);
        let genesis = Genesis {
            origin: format!("http://{address}"),
            seed: config.seed,
            client_secret: config.client_secret,
            redirect_uri: config.redirect_uri,
        };
        let world = World::new(genesis, clock.now());
        let shared = Arc::new(Shared::new(clock, world));
        let client = deliver::client().context("the webhook client cannot be created")?;
        Ok(Self {
            address,
            sender: tokio::spawn(deliver::run(Arc::clone(&shared), client)),
            server: tokio::spawn(http::serve(listener, http::router(shared))),
        })
    }

    /// Its base URL: `http://127.0.0.1:<port>`, without a trailing slash.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving and sending, and closes every connection.
    pub async fn shutdown(mut self) {
        self.server.abort();
        self.sender.abort();
        // Both end by the abort; their results are not needed.
        let _ = (&mut self.server).await;
        let _ = (&mut self.sender).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
        self.sender.abort();
    }
}
