//! The accept loop. Our own, since `axum::serve` limits neither the time of a request's head or a response, nor the
//! number of connections.
//!
//! Guarantees: a client that is slow or silent, or does not read its response, occupies one of a bounded number of
//! slots for a bounded time; no address takes the slots of others; and at shutdown requests in progress are finished,
//! up to a deadline.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use stall::Stalls;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_domain::limits;

use crate::core::config::Limits;
use crate::http::{ClientAddress, network};

/// Delay after a failed `accept`: the usual cause, no free file descriptor, does not clear immediately.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `closing` is canceled, then finishes the requests in progress for at most `deadline`. At most
/// `bounds.connections` at once; one more waits in the kernel's queue. A connection beyond its address's limit is
/// closed unread.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Limits,
    closing: CancellationToken,
    deadline: Duration,
) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let limiter = ConnectionLimiter::default();
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = closing.cancelled() => break,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "A connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_addr() else { continue };
        let Some(place) = limiter.acquire(peer.ip(), bounds.connections_per_address) else {
            tracing::debug!(address = %peer.ip(), "A connection was closed: its address has reached its limit");
            continue;
        };
        let service = TowerToHyperService::new(Addressed {
            router: router.clone(),
            address: ClientAddress(peer.ip()),
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::REQUEST_HEAD)
            .max_headers(limits::HEADERS)
            .max_buf_size(limits::REQUEST_HEAD_BYTES)
            .serve_connection(TokioIo::new(Stalls::new(stream, limits::ANSWER_STALL)), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // Client disconnects are normal.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "A connection ended early");
            }
            drop((slot, place));
        });
    }
    drop(listener);
    if tokio::time::timeout(deadline, pin!(graceful.shutdown())).await.is_err() {
        tracing::warn!("Some requests were still open at the end");
    }
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, impl Drop + Send + use<>)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    Ok((stream, slot))
}

/// Limits the number of open connections of one network.
#[derive(Clone, Default)]
struct ConnectionLimiter(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One open connection of a network; dropping it frees the slot.
struct ConnectionSlot {
    limiter: ConnectionLimiter,
    network: IpAddr,
}

impl ConnectionLimiter {
    /// A slot for one more connection from `address`; `None` if its network has `most` already.
    fn acquire(&self, address: IpAddr, most: usize) -> Option<ConnectionSlot> {
        let network = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(ConnectionSlot {
            limiter: self.clone(),
            network,
        })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.limiter.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.network) {
            *count.get_mut() -= 1;
            // Addresses without a connection are removed.
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The router, with the client's address as an extension of each request.
#[derive(Clone)]
struct Addressed {
    router: Router,
    address: ClientAddress,
}

impl tower_service::Service<Request<Incoming>> for Addressed {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = <Router as tower_service::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.address);
        tower_service::Service::call(&mut self.router, request)
    }
}

mod stall;

#[cfg(test)]
mod tests;
