//! Deletes data past its retention period: messages with their attempts and events, files, dead letters, refusals, and
//! audit log entries; and the keys of events that no platform redelivers.
//!
//! In small steps with pauses between them, so that receiving and sending never wait for more than one step.

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

/// Rows of a kind in one step: some milliseconds of the database's writer.
const STEP: u32 = 200;
/// Steps of one round; the rest waits for the next, so that a first round over years does not last for hours.
const STEPS: u32 = 500;
/// Pause between two steps: leaves the writer to others for most of the time.
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

    /// Deletes data past its retention at `now`. Returns the numbers of messages, events, dead letters and files.
    ///
    /// # Errors
    /// The database failed.
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
        // A message's text is also in the transcript of its call.
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
                "{count} events exceeded their retention before the disabled endpoint {endpoint} accepted them"
            );
        }
        if deleted > 0 {
            tracing::info!("{deleted} messages, events, dead letters and files past their retention were deleted");
        }
        Ok(deleted)
    }

    /// Removes orphaned files.
    pub(crate) async fn remove_leftovers(&self) -> Result<(), StoreError> {
        let removed = self.media.remove_leftovers().await? + self.connectors.remove_components().await?;
        if removed > 0 {
            tracing::info!("{removed} orphaned files were removed");
        }
        Ok(())
    }

    /// The moment from which ages are counted: `now`, unless the clock jumped ahead. A followed clock may be advanced
    /// on purpose.
    pub(crate) async fn aged(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        if self.core.config.clock.is_some() {
            return Ok(now);
        }
        let checked = Instant::now();
        let last = self
            .aged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(checked);
        let passed = last.map_or(Duration::ZERO, |last| checked.saturating_duration_since(last));
        self.core.store().age(passed, now).await
    }

    /// Deletes refusals and audit log entries that are past their retention period, or beyond the maximum number.
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
