//! Rates of platforms that several hosts count together.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::Engine;
use crate::tables::rates;
use crate::{Leave, Result, SharedRate};

/// Rates of platforms that several hosts count together. Moments are durations since the Unix epoch, by the database's
/// clock.
#[async_trait]
pub trait Rates: Send + Sync {
    /// The database's clock, to less than a millisecond; `None` if one host uses the database, which counts alone.
    /// Makes no request to the server.
    fn server_time(&self) -> Option<Duration>;
    /// Admits a request that all these rates count, or returns when to try again. It is counted as arriving within the
    /// span of its rule, until [`Rates::arrived`] reports its arrival.
    async fn leave(&self, rates: Vec<SharedRate>, now: Duration) -> Result<Leave>;
    /// A request that was admitted under these numbers arrived no later than `by`.
    async fn arrived(&self, departures: Vec<(SharedRate, u64)>, by: Duration) -> Result<()>;
    /// No request is admitted under these rates before `until`: the platform requested a pause.
    async fn hold(&self, rates: Vec<SharedRate>, until: Duration) -> Result<()>;
}

#[async_trait]
impl<E: Engine> Rates for E {
    fn server_time(&self) -> Option<Duration> {
        Engine::server_time(self)
    }
    async fn leave(&self, rates: Vec<SharedRate>, now: Duration) -> Result<Leave> {
        self.transact(move |db| rates::leave(db, &rates, now)).await
    }
    async fn arrived(&self, departures: Vec<(SharedRate, u64)>, by: Duration) -> Result<()> {
        self.transact(move |db| rates::arrived(db, &departures, by)).await
    }
    async fn hold(&self, rates: Vec<SharedRate>, until: Duration) -> Result<()> {
        self.transact(move |db| rates::hold(db, &rates, until)).await
    }
}
