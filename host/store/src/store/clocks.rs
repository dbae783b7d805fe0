//! What moves when a clock was set.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::clock::ClockOffset;
use weir_domain::time::Timestamp;

use crate::Result;
use crate::engine::Engine;
use crate::tables::clock;

/// What moves when a clock was set.
#[async_trait]
pub trait Clocks: Send + Sync {
    /// The clock was set back by so much and shows `now`: messages, deliveries and attachments wait for their next try, and leases
    /// for their end, only as long as they had still to wait. How many rows were touched.
    async fn clock_set_back(&self, by: Duration, now: Timestamp) -> Result<u32>;
    /// The clock was set forward by so much: the leases of this owner last as long as they had still to last, so that what is in
    /// its hands is not taken for lost. Others' run out. How many rows were touched.
    async fn clock_set_forward(&self, owner: &str, by: Duration) -> Result<u32>;
    /// The clock that all nodes go by was set by so many milliseconds, back if negative, and shows `now`, as `node` noticed: does the
    /// same for all nodes, once, whoever notices first; with `moves_nodes` their heartbeats and duties move too. How many rows were
    /// touched; none if another node noticed before.
    async fn clock_set_for_all(&self, node: &str, by: i64, now: Timestamp, moves_nodes: bool) -> Result<Option<u32>>;
    /// How far the clocks of platforms are from ours, by app, as noted; an app that is not named agrees with us.
    async fn platform_clocks(&self) -> Result<BTreeMap<String, ClockOffset>>;
    /// Notes how far the clock of an app's platform is from ours, and moves the ends of queued messages and the next looks at
    /// windows, which are moments of the platform. To be called before anything is judged by the offset. How many rows were
    /// touched.
    async fn note_platform_clock(&self, app: &str, offset: ClockOffset, now: Timestamp) -> Result<u32>;
    /// Moves the clock that ages are counted by on by what `passed` since the last time, toward `now`, and gives where it stands.
    /// It is kept over restarts.
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
