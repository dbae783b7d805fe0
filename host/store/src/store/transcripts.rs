//! Transcripts of connectors' calls.

use async_trait::async_trait;
use weir_domain::id::TranscriptId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::transcripts;
use crate::{Result, TranscriptFilter, TranscriptRecord};

/// Transcripts of connectors' calls.
#[async_trait]
pub trait Transcripts: Send + Sync {
    /// Stores the transcript of a call; deletes the connector's oldest beyond `ring`.
    async fn keep_transcript(&self, record: TranscriptRecord, ring: u32) -> Result<()>;
    /// Transcripts of a connector, newest first.
    async fn transcripts(&self, connector: &str, filter: TranscriptFilter) -> Result<Vec<TranscriptRecord>>;
    /// One transcript.
    async fn transcript(&self, connector: &str, id: TranscriptId) -> Result<Option<TranscriptRecord>>;
    /// Deletes the transcripts before a moment; returns their number.
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
