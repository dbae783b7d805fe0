//! Adjusting stored moments when a clock was set.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::clock::ClockOffset;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::engine::Engine;
use crate::tables::clock;

/// Adjusting stored moments when a clock was set.
#[async_trait]
pub trait Clocks: Send + Sync {
    /// The clock was set back by `by` and shows `now`: next attempts of messages, deliveries and attachments, and the
    /// ends of leases, keep their remaining duration. Returns the number of rows touched.
    async fn clock_set_back(&self, by: Duration, now: Timestamp) -> Result<u32>;
    /// The clock was set forward by `by`: the leases of this owner keep their remaining duration, so that they do not
    /// count as expired. Others' expire. Returns the number of rows touched.
    async fn clock_set_forward(&self, owner: &str, by: Duration) -> Result<u32>;
    /// The clock that all nodes follow was set by `by` milliseconds, back if negative, and shows `now`, as `node`
    /// noticed: does the same for all nodes, once, whichever notices first; with `moves_nodes` their heartbeats and
    /// duties move too. Returns the number of rows touched; `None` if another node noticed before.
    async fn clock_set_for_all(&self, node: &str, by: i64, now: Timestamp, moves_nodes: bool) -> Result<Option<u32>>;
    /// The stored offsets of platforms' clocks from the host's, by app; an app without one agrees with the host's
    /// clock.
    async fn platform_clocks(&self) -> Result<BTreeMap<String, ClockOffset>>;
    /// Stores the offset of a platform's clock from the host's, and moves the ends of queued messages and the times of
    /// window events, which are moments of the platform. Must be called before a decision uses the offset. Returns the
    /// number of rows touched.
    async fn note_platform_clock(&self, app: &str, offset: ClockOffset, now: Timestamp) -> Result<u32>;
    /// Advances the clock by which ages are counted, by the time that `passed` since the last call, toward `now`, and
    /// returns its time. It is kept over restarts.
    async fn age(&self, passed: Duration, now: Timestamp) -> Result<Timestamp>;
}

#[async_trait]
impl<E: Engine> Clocks for E {
    async fn clock_set_back(&self, by: Duration, now: Timestamp) -> Result<u32> {
        self.write(move |db| clock::set_back(db, by, now)).await
    }
    async fn clock_set_forward(&self, owner: &str, by: Duration) -> Result<u32> {
        let owner = owner.to_owned();
        self.write(move |db| clock::set_forward(db, &owner, by)).await
    }
    async fn clock_set_for_all(&self, node: &str, by: i64, now: Timestamp, moves_nodes: bool) -> Result<Option<u32>> {
        let node = node.to_owned();
        self.write(move |db| clock::set_for_all(db, &node, by, now, moves_nodes))
            .await
    }
    async fn platform_clocks(&self) -> Result<BTreeMap<String, ClockOffset>> {
        self.read(clock::platforms).await
    }
    async fn note_platform_clock(&self, app: &str, offset: ClockOffset, now: Timestamp) -> Result<u32> {
        let app = app.to_owned();
        self.write(move |db| clock::platform(db, &app, offset, now)).await
    }
    async fn age(&self, passed: Duration, now: Timestamp) -> Result<Timestamp> {
        self.write(move |db| clock::age(db, passed, now)).await
    }
}
