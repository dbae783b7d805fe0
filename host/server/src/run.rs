//! The loops of a running host, and their end.

use std::time::Duration;

use crate::host::Host;

/// The loops of a running host.
#[must_use = "the loops stop when this is dropped"]
pub struct Loops(());

impl Loops {
    /// Stops taking work, and waits up to `deadline` for what is in hand. What is left then is settled at the next start.
    pub async fn stop(self, deadline: Duration) {
        let _ = deadline;
    }
}

impl Host {
    /// Starts everything that goes on by itself: deliverer, publisher, fetcher, refresher, reconciler, sweeper, and the
    /// followed clock.
    pub fn start(&self) -> Loops {
        Loops(())
    }
}
