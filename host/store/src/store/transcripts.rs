//! What crossed the boundary in calls of connectors.

use async_trait::async_trait;
use weir_domain::id::TranscriptId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::transcripts;
use crate::{Result, TranscriptFilter, TranscriptRecord};

/// What crossed the boundary in calls of connectors.
#[async_trait]
pub trait Transcripts: Send + Sync {
    /// Keeps what was written down of a call; beyond `ring` of its connector the oldest go.
    async fn keep_transcript(&self, record: TranscriptRecord, ring: u32) -> Result<()>;
    /// Transcripts of a connector, newest first.
    async fn transcripts(&self, connector: &str, filter: TranscriptFilter) -> Result<Vec<TranscriptRecord>>;
    /// One transcript.
    async fn transcript(&self, connector: &str, id: TranscriptId) -> Result<Option<TranscriptRecord>>;
    /// Drops the transcripts that are older; how many.
    async fn drop_transcripts(&self, before: Timestamp) -> Result<u64>;
}

#[async_trait]
impl<E: Engine> Transcripts for E {
    async fn keep_transcript(&self, record: TranscriptRecord, ring: u32) -> Result<()> {
        self.transact_serially(move |db| transcripts::keep(db, &record, ring))
            .await
    }
    async fn transcripts(&self, connector: &str, filter: TranscriptFilter) -> Result<Vec<TranscriptRecord>> {
        let connector = connector.to_owned();
        self.read(move |db| transcripts::list(db, &connector, &filter)).await
    }
    async fn transcript(&self, connector: &str, id: TranscriptId) -> Result<Option<TranscriptRecord>> {
        let connector = connector.to_owned();
        self.read(move |db| transcripts::one(db, &connector, id)).await
    }
    async fn drop_transcripts(&self, before: Timestamp) -> Result<u64> {
        self.write(move |db| transcripts::drop_before(db, before)).await
    }
}
