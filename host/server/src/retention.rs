//! Deletes what is older than the operator keeps it: messages with their attempts and events, files, dead letters, refusals, and
//! changes in the audit log; and the keys of facts that no platform tells again.
//!
//! In small steps with pauses between them, so that what comes in and goes out never waits for more than one step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_domain::id::EndpointId;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::{ForgetPlace, KeptSince, StoreError};

use crate::connectors::Connectors;
use crate::core::Core;
use crate::messages::media::Media;
use crate::workspaces::Workspaces;

/// Rows of a kind in one step: some milliseconds of the record's writer.
const STEP: u32 = 200;
/// Steps of one round; the rest waits for the next, so that a first round over years does not go on for hours.
const STEPS: u32 = 500;
/// Between two steps: the writer is left to others for most of the time.
const PAUSE: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Deletes by age.
pub(crate) struct Retention {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    media: Arc<Media>,
    workspaces: Arc<Workspaces>,
    /// When ages were last counted.
    aged: Mutex<Option<Instant>>,
}

impl Retention {
    pub(crate) fn new(
        core: Arc<Core>,
        connectors: Arc<Connectors>,
        media: Arc<Media>,
        workspaces: Arc<Workspaces>,
    ) -> Self {
        Self {
            core,
            connectors,
            media,
            workspaces,
            aged: Mutex::default(),
        }
    }

    /// Deletes what is too old at `now`. How many messages, events, dead letters and files.
    ///
    /// # Errors
    /// The record.
    pub(crate) async fn retention_round(&self, now: Timestamp) -> Result<u64, StoreError> {
        let retention = self.core.config.retention;
        let since = |days: Option<u32>| days.or(retention.messages_days).map(|days| now.before(DAY * days));
        let mut since = KeptSince {
            messages: since(None),
            media: since(retention.media_days),
            dead_letters: since(retention.dead_letters_days),
            seen: Some(now.before(limits::SEEN)),
            now: Some(self.core.now()),
            place: ForgetPlace::default(),
        };
        self.remove_leftovers().await?;
        self.workspaces.clear().await?;
        self.forget_ledgers(now).await?;
        // What a message says stands in the transcript of its call too.
        let days = retention
            .transcripts_days
            .min(retention.messages_days.unwrap_or(u32::MAX));
        self.connectors.forget_transcripts(now.before(DAY * days)).await?;
        let mut deleted = 0;
        let mut missed: BTreeMap<EndpointId, u64> = BTreeMap::new();
        for _ in 0..STEPS {
            let forgotten = self.core.store().forget(since, STEP).await?;
            since.place = forgotten.place;
            for (endpoint, count) in &forgotten.missed {
                *missed.entry(*endpoint).or_default() += u64::from(*count);
            }
            deleted += u64::from(forgotten.messages)
                + u64::from(forgotten.events)
                + u64::from(forgotten.dead_letters)
                + u64::from(forgotten.media);
            self.media.remove_files().await?;
            if !forgotten.more {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        for (endpoint, count) in missed {
            tracing::warn!(
                endpoint.id = %endpoint,
                "{count} events became too old to be kept before the disabled endpoint {endpoint} took them"
            );
        }
        if deleted > 0 {
            tracing::info!("{deleted} messages, events, dead letters and files were deleted by their age");
        }
        Ok(deleted)
    }

    /// Removes the files that nobody knows.
    pub(crate) async fn remove_leftovers(&self) -> Result<(), StoreError> {
        let removed = self.media.remove_leftovers().await? + self.connectors.remove_components().await?;
        if removed > 0 {
            tracing::info!("{removed} files were removed that nothing in the record names");
        }
        Ok(())
    }

    /// The moment that ages are counted at: `now`, unless the clock jumped ahead. A followed clock jumps as it is told to.
    pub(crate) async fn aged(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        if self.core.config.clock.is_some() {
            return Ok(now);
        }
        let looked = Instant::now();
        let last = self.aged.lock().unwrap_or_else(PoisonError::into_inner).replace(looked);
        let passed = last.map_or(Duration::ZERO, |last| looked.saturating_duration_since(last));
        self.core.store().age(passed, now).await
    }

    /// Refusals and changes that are older than the operator wants them, or more than are kept, go.
    async fn forget_ledgers(&self, now: Timestamp) -> Result<(), StoreError> {
        let retention = self.core.config.retention;
        let (refusals, changes) = (
            now.before(DAY * retention.refusals_days),
            now.before(DAY * retention.audit_days),
        );
        for _ in 0..STEPS {
            if self.core.store().forget_ledgers(refusals, changes).await? == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
