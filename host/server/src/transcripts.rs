//! What crossed the boundary in calls: written down for the connectors' authors and operators, asked again of other versions,
//! and forgotten.
//!
//! Best effort, beside the calls: a call never waits for it. So many of each kind in a second are kept, and every one that
//! broke off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_domain::id::{ChannelId, TranscriptId};
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;
use weir_runtime::context::{Wanted, Written};
use weir_runtime::{End, Report, Transcript};
use weir_store::{StoreError, TranscriptFilter, TranscriptRecord};

use crate::host::Host;
use crate::registry::PromoteError;

/// A call that was written down, on its way into the record.
#[derive(Debug)]
pub(crate) struct Taken {
    connector: String,
    version: String,
    kind: CallKind,
    at: Timestamp,
    channel_id: Option<ChannelId>,
    broke_off: bool,
    json: String,
}

/// Which calls are written down.
#[derive(Debug)]
pub(crate) struct Transcripts {
    /// How many of a connector are kept; none are written down if this is none.
    ring: u32,
    /// How many of each kind were in the second that began then.
    taken: Mutex<HashMap<CallKind, (Instant, u32)>>,
    told: mpsc::Sender<Taken>,
}

impl Transcripts {
    pub(crate) fn new(ring: u32, told: mpsc::Sender<Taken>) -> Self {
        Self {
            ring,
            taken: Mutex::default(),
            told,
        }
    }

    /// Whether a call of this kind, that begins now, is written down.
    pub(crate) fn wants(&self, kind: CallKind) -> Wanted {
        if self.ring == 0 || kind == CallKind::Describe {
            return Wanted::Nothing;
        }
        let now = Instant::now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, count) = taken.entry(kind).or_insert((now, 0));
        if now.duration_since(*began) >= Duration::from_secs(1) {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        if *count <= limits::TRANSCRIPTS_PER_SECOND {
            Wanted::All
        } else {
            Wanted::Breaks
        }
    }

    /// A call was written down. One that is too large, or finds no room, is dropped.
    pub(crate) fn take(&self, written: &Written<'_>) {
        if written.json.len() > limits::TRANSCRIPT_BYTES {
            return;
        }
        let taken = Taken {
            connector: written.connector.to_owned(),
            version: written.version.to_owned(),
            kind: written.kind,
            at: written.at,
            channel_id: written.channel_id,
            broke_off: written.broke_off,
            json: written.json.clone(),
        };
        let _ = self.told.try_send(taken);
    }
}

/// Which calls are asked again.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The newest so many, at most [`limits::REPLAY_CALLS`].
    pub last: u32,
    /// Only those that this version answered.
    pub against: Option<String>,
}

impl Host {
    /// Keeps a call that was written down, and asks it of the version on trial, which so follows along.
    pub(crate) async fn keep_transcript(&self, taken: Taken) {
        let id: TranscriptId = self.0.mint.id(self.now());
        let line = self.0.connectors.line(&taken.connector);
        if let Some(line) = &line
            && line.active.number() == taken.version
            && let Some(trial) = &line.trial
            && let Ok(transcript) = Transcript::read(&taken.json)
        {
            let replayed = trial.loaded.connector.replay(&transcript).await;
            trial.shadowed(&id.to_string(), &transcript, replayed);
        }
        let record = TranscriptRecord {
            id,
            connector: taken.connector,
            version: taken.version,
            call: taken.kind.as_str().to_owned(),
            channel_id: taken.channel_id,
            broke_off: taken.broke_off,
            at: taken.at,
            json: taken.json,
        };
        if let Err(error) = self.store().keep_transcript(record, self.0.transcripts.ring).await {
            tracing::debug!("What was written down of a call is not kept: {error}");
        }
    }

    /// Asks the newest calls of a connector again, of another version: nothing leaves, nothing is written.
    ///
    /// # Errors
    /// [`PromoteError::NotFound`], [`PromoteError::Load`], and the record's own.
    pub async fn replay(&self, connector: &str, version: &str, replay: Replay) -> Result<Report, PromoteError> {
        let known = self.store().version(connector, version).await?;
        let known = known.ok_or_else(|| PromoteError::NotFound {
            connector: connector.to_owned(),
            version: version.to_owned(),
        })?;
        let candidate = self.load_version(&known).await?;
        let filter = TranscriptFilter {
            version: replay.against,
            limit: replay.last.min(limits::REPLAY_CALLS),
            whole: true,
            ..TranscriptFilter::default()
        };
        let mut report = Report::default();
        for record in self.store().transcripts(connector, filter).await? {
            // Written by a host that knew another form.
            let Ok(transcript) = Transcript::read(&record.json) else {
                continue;
            };
            let replayed = candidate.replay(&transcript).await;
            report.add(&record.id.to_string(), &transcript, replayed);
        }
        Ok(report)
    }

    /// A transcript without what people wrote and are called. What a version broke off over is read by the active one, to know
    /// what that is. None if nobody knows.
    pub async fn scrub(&self, transcript: &Transcript) -> Option<Transcript> {
        let read = match (&transcript.end, self.0.connectors.line(&transcript.connector)) {
            (End::Broke { .. }, Some(line)) => Some(line.active.connector.replay(transcript).await.end),
            _ => None,
        };
        transcript.scrubbed(read.as_ref())
    }

    /// Transcripts that are older than the operator wants them go.
    pub(crate) async fn forget_transcripts(&self, before: Timestamp) -> Result<(), StoreError> {
        self.store().drop_transcripts(before).await.map(drop)
    }
}

/// A way for calls to be written down, and where they come out.
pub(crate) fn begin(ring: u32) -> (Arc<Transcripts>, mpsc::Receiver<Taken>) {
    let (told, taken) = mpsc::channel(limits::TRANSCRIPTS_WAITING);
    (Arc::new(Transcripts::new(ring, told)), taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_of_each_kind_are_written_down_in_a_second_and_all_that_break_off() {
        let (transcripts, _taken) = begin(10);
        let wanted = |kind| {
            let wanted = std::iter::repeat_with(|| transcripts.wants(kind)).take(100);
            wanted.filter(|wanted| *wanted == Wanted::All).count()
        };
        let most = limits::TRANSCRIPTS_PER_SECOND as usize;
        assert_eq!(wanted(CallKind::Receive), most);
        assert_eq!(wanted(CallKind::Receive), 0);
        assert_eq!(transcripts.wants(CallKind::Receive), Wanted::Breaks);
        assert_eq!(wanted(CallKind::Send), most);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(wanted(CallKind::Receive), most);
        assert_eq!(begin(0).0.wants(CallKind::Send), Wanted::Nothing);
    }
}
