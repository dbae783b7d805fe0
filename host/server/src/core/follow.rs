//! Following clocks: adjusts work when our clock is stepped, and stores estimates of the platforms' clocks.

use std::time::Duration;

use tokio::sync::MutexGuard;
use weir_domain::clock::ClockOffset;
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::core::Core;
use crate::core::clock::{self, Reading, Step};
use crate::core::platform_clocks::describe_offset;

impl Core {
    /// Reads the clock, or takes `reading` from a followed one, and continues from it. If the clock was stepped,
    /// adjusts scheduled and leased work and wakes the sleepers. The returned guard blocks other readings: code that
    /// must not mistake a step of the clock for the end of a lease holds it.
    ///
    /// # Errors
    /// The database failed; the next reading detects the same step.
    pub(crate) async fn check_clock(&self, reading: Option<Reading>) -> Result<MutexGuard<'_, ()>, StoreError> {
        let guard = self.clock_lock.lock().await;
        if reading.is_none() && self.config.clock.is_some() {
            return Ok(guard);
        }
        let clock_check = self.clock.measure(reading.or_else(|| clock::of_record(self.store())));
        if let Some(step) = clock_check.step {
            self.adjust_to_step(step, clock_check.shown).await?;
        }
        self.clock.accept(clock_check);
        if clock_check.step.is_some() {
            self.wakes.all();
        }
        Ok(guard)
    }

    /// The clock was stepped and shows `now`: adjusts scheduled and leased work.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn adjust_to_step(&self, step: Step, now: Timestamp) -> Result<(), StoreError> {
        let millis = |by: Duration| i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let by = match step {
            Step::Back(by) => -millis(by),
            Step::Forward(by) => millis(by),
        };
        let touched = if self.node.is_shared() {
            // Heartbeats use the server's clock, even if another clock is followed.
            let moves_nodes = self.config.clock.is_none();
            self.store
                .clock_set_for_all(&self.node.id(), by, now, moves_nodes)
                .await?
        } else {
            Some(match step {
                Step::Back(by) => self.store.clock_set_back(by, now).await?,
                Step::Forward(by) => self.store.clock_set_forward(&self.node.id(), by).await?,
            })
        };
        // Only after that succeeds: after a failure the next reading detects the same step again.
        self.platform_clocks.ours_was_set(by);
        if let (Step::Back(by), Some(rows)) = (step, touched) {
            tracing::warn!(
                "The clock was set back by {} s; {rows} waits were adjusted",
                by.as_secs()
            );
        }
        Ok(())
    }

    /// Stores the estimates that moved; later decisions use them.
    ///
    /// # Errors
    /// The database failed; the next round retries.
    pub(crate) async fn platform_clocks_round(&self, now: Timestamp) -> Result<(), StoreError> {
        for (app, clock) in self.platform_clocks.all() {
            let Some(offset) = clock.moved() else {
                continue;
            };
            self.store.note_platform_clock(&app, offset, now).await?;
            clock.noted(offset);
            self.metrics.platform_clock(&app, offset);
            if offset.is_degraded() {
                tracing::warn!(
                    app,
                    "{} Synchronize this machine's clock (NTP)",
                    describe_offset(&app, offset)
                );
            } else {
                tracing::info!(app, "{}", describe_offset(&app, offset));
            }
            self.wakes.all();
        }
        Ok(())
    }

    /// The offset of the clock of an app's platform from ours.
    pub(crate) fn clock_offset(&self, app: &str) -> ClockOffset {
        self.platform_clocks.of(app).offset()
    }

    /// The platforms' clocks that differ too much from ours, as text; empty if all are within bounds.
    pub(crate) fn clocks_apart(&self) -> Vec<String> {
        let clocks = self.platform_clocks.all().into_iter();
        let offsets = clocks.map(|(app, clock)| (app, clock.offset()));
        let degraded = offsets.filter(|(_, offset)| offset.is_degraded());
        degraded.map(|(app, offset)| describe_offset(&app, offset)).collect()
    }
}
