//! Starts Weir's real programs and drives them in the product's terms: a customer writes, the operator answers, the
//! clock advances. Used by the tests under `tests/` and by `cargo xtask demo`, so that both observe what a user would.
//!
//! Nothing here is part of Weir: it starts the built `weir` and `tiktok-sandbox`, and uses only their public APIs.
#![forbid(unsafe_code)]

mod api;
mod browser;
mod chromium;
mod clock;
mod crash;
mod hangups;
mod nodes;
mod oci;
mod phone;
mod programs;
mod site;
mod skew;
mod soak;
mod stack;
mod steps;
mod subscriber;

pub use api::{Answer, Api, Events};
pub use browser::Browser;
pub use chromium::{Chromium, ENTER, ESCAPE, TAB, target};
pub use clock::SteppingClock;
pub use crash::{Crash, Figures, NodesPlan, Plan};
pub use hangups::{HangUpFigures, HangUpPlan, HangUps, unplayed_routes};
pub use nodes::Nodes;
pub use oci::{LOGIN, OciRegistry, digest, manifest};
pub use phone::Phone;
pub use programs::{Binaries, Program};
pub use site::{Page, Site};
pub use skew::{SKEWS_S, SkewFigures, skew};
pub use soak::{Sample, SoakPlan, Soaked, soak};
pub use stack::{APP, Options, Stack};
pub use steps::{ACTS, StepFigures, Steps};
pub use subscriber::{Delivered, Reply, Subscriber};

use std::time::Duration;

/// An hour, in milliseconds of the virtual clock.
pub const HOUR_MS: u64 = 3_600_000;

/// The timeout of every wait. No test measures it: either the awaited condition becomes true, or the test fails and
/// shows the last state. It is long because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The interval at which a condition is polled that sends no notification.
const RECHECK: Duration = Duration::from_millis(25);

/// Polls until `look` finds something.
///
/// # Errors
/// It was not found in time; the error names it.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < end,
            "waited {PATIENCE:?} in vain for {what}"
        );
        tokio::time::sleep(RECHECK).await;
    }
}
