//! Rates of platforms, counted by several hosts together.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::Engine;
use crate::tables::rates;
use crate::{Leave, Result, SharedRate};

/// Rates of platforms, counted by several hosts together. Moments are durations since the Unix epoch, by the clock of the record.
#[async_trait]
pub trait Rates: Send + Sync {
    /// What the clock of the record shows, to less than a millisecond; none if the record is used by one host, which counts alone.
    /// Asks nothing of the server.
    fn server_time(&self) -> Option<Duration>;
    /// Lets a request go that all these rates count, or says when to ask again. It is counted as arriving within the span of its
    /// rule, until [`Rates::arrived`] says better.
    async fn leave(&self, rates: Vec<SharedRate>, now: Duration) -> Result<Leave>;
    /// A request that was let go under these numbers arrived at `by` at the latest.
    async fn arrived(&self, departures: Vec<(SharedRate, u64)>, by: Duration) -> Result<()>;
    /// Nothing leaves under these rates before `until`: the platform asked for a pause.
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
