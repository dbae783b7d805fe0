//! The database as the counter of rates that several hosts share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_store::{self as store, SharedRate, Store};

use super::{Bucket, Rate};

/// The database, which counts requests of several hosts.
pub(super) struct SharedCounter(pub(super) Arc<dyn Store>);

impl fmt::Debug for SharedCounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SharedCounter")
    }
}

/// The longest wait of a request before it queries the database again.
const RECHECK: Duration = Duration::from_secs(1);

/// Delay before a request retries an unreachable database.
const QUERY_DELAY: Duration = Duration::from_millis(500);

impl SharedCounter {
    pub(super) fn shared(rates: &[(Bucket, Rate)]) -> Vec<SharedRate> {
        let together = rates.iter().filter(|(bucket, _)| !bucket.is_divided);
        together
            .map(|(bucket, rate)| SharedRate::of(bucket.to_string(), rate))
            .collect()
    }

    /// Waits until a request may leave. Returns its numbers. Waits as long as the database is unreachable: the request
    /// has a deadline.
    pub(super) async fn leave(store: Arc<dyn Store>, rates: Vec<SharedRate>) -> Vec<u64> {
        loop {
            let now = store.server_time().unwrap_or_default();
            let wait = match store.leave(rates.clone(), now).await {
                Ok(store::Leave::Now(numbers)) => {
                    let ago = store.server_time().unwrap_or_default().saturating_sub(now);
                    if !rates.iter().any(|rate| rate.is_missed(ago)) {
                        return numbers;
                    }
                    // The database was busy for so long. The departure stays counted, though the request was not sent.
                    tracing::debug!(
                        "A request reserves another departure: the database took {} ms to assign one",
                        ago.as_millis()
                    );
                    Duration::ZERO
                }
                // The server's clock may be set meanwhile.
                Ok(store::Leave::At(at)) => at.saturating_sub(now).min(RECHECK),
                Err(error) => {
                    tracing::debug!(%error, "A request waits for the database, which counts it");
                    QUERY_DELAY
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Reports that a request arrived at the platform at least `ago` ago. An unreported request counts for the rule's
    /// whole span.
    pub(super) fn arrived(&self, rates: &[(Bucket, Rate)], numbers: Vec<u64>, ago: Duration) {
        let (store, departures) = (
            Arc::clone(&self.0),
            Self::shared(rates).into_iter().zip(numbers).collect(),
        );
        let by = store.server_time().unwrap_or_default().saturating_sub(ago);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = store.arrived(departures, by).await {
                    tracing::debug!(%error, "A request's arrival time was not stored");
                }
            });
        }
    }

    /// Publishes a pause to the other hosts.
    pub(super) fn hold(&self, rates: &[(Bucket, Rate)], pause: Duration) {
        let (store, rates) = (Arc::clone(&self.0), Self::shared(rates));
        let until = store.server_time().unwrap_or_default() + pause;
        tokio::spawn(async move {
            if let Err(error) = store.hold(rates, until).await {
                tracing::warn!(%error, "A platform's pause could not be published to other hosts");
            }
        });
    }
}
