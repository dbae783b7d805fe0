//! Sends the webhooks in the outbox: one task, a bounded number in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::http::Shared;
use crate::world::World;
use crate::world::outbox::{Attempt, Due};
use crate::{limits, signature};

/// How long the task sleeps when nothing is due: only an upper bound, since every change wakes it.
const REST: Duration = Duration::from_secs(60);

/// A client for this machine only: no proxy, no redirect, no TLS.
///
/// # Errors
/// The client cannot be created.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(limits::WEBHOOK_TIMEOUT_SECS))
        .pool_max_idle_per_host(limits::WEBHOOKS_IN_FLIGHT)
        .build()
}

/// Sends until it is aborted.
pub async fn run(shared: Arc<Shared>, client: reqwest::Client) {
    let mut flights = JoinSet::new();
    loop {
        while flights.len() < limits::WEBHOOKS_IN_FLIGHT {
            let Some(due) = shared.peek(World::next_delivery) else {
                break;
            };
            flights.spawn(attempt(Arc::clone(&shared), client.clone(), due));
        }
        let room = flights.len() < limits::WEBHOOKS_IN_FLIGHT;
        let rest = shared
            .peek(|world, now| world.next_due().map(|at| at.ms() - now.ms()))
            .and_then(|ms| u64::try_from(ms).ok())
            .map_or(REST, |ms| Duration::from_millis(ms.max(1)).min(REST));
        tokio::select! {
            () = shared.wake.notified() => {}
            Some(_) = flights.join_next() => {}
            () = tokio::time::sleep(rest), if room => {}
        }
    }
}

async fn attempt(shared: Arc<Shared>, client: reqwest::Client, due: Due) {
    // Signed now and not when the event occurred, so that a retry carries a current time.
    let header = signature::sign(&due.secret, shared.clock.now(), &due.delivery.body);
    let answer = client
        .post(&due.url)
        .header(signature::HEADER, header)
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(due.delivery.body.clone())
        .send()
        .await;
    let attempt = match answer {
        Ok(response) => {
            let status = response.status().as_u16();
            // Read to the end (receivers send short responses), so that the connection can be reused.
            if response
                .content_length()
                .is_some_and(|length| length <= limits::BODY_BYTES as u64)
            {
                drop(response.bytes().await);
            }
            Attempt::Answered(status)
        }
        Err(_) => Attempt::Failed,
    };
    shared.with(|world, now| world.settle(due, attempt, now));
    shared.tried.notify_waiters();
}
