//! Transcripts: selects which calls are recorded, for the connectors' authors and operators.
//!
//! Best effort: a call never waits for it. A limited number of each kind is kept per second, and every crash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;
use weir_runtime::context::{RecordedTranscript, Recording};

/// A recorded call, to be stored.
#[derive(Debug)]
pub(crate) struct PendingTranscript {
    pub(super) connector: String,
    pub(super) version: String,
    pub(super) kind: CallKind,
    pub(super) at: Timestamp,
    pub(super) channel_id: Option<ChannelId>,
    pub(super) crashed: bool,
    pub(super) json: String,
}

/// Selects which calls are recorded.
#[derive(Debug)]
pub(crate) struct Transcripts {
    /// Number of calls kept for each connector; 0 records none.
    pub(super) ring: u32,
    /// Number of each kind in the second that began then.
    sampled: Mutex<HashMap<CallKind, (Instant, u32)>>,
    sender: mpsc::Sender<PendingTranscript>,
}

impl Transcripts {
    pub(crate) fn new(ring: u32, sender: mpsc::Sender<PendingTranscript>) -> Self {
        Self {
            ring,
            sampled: Mutex::default(),
            sender,
        }
    }

    /// Whether a call of this kind that starts now is recorded.
    pub(crate) fn recording(&self, kind: CallKind) -> Recording {
        if self.ring == 0 || kind == CallKind::Describe {
            return Recording::Off;
        }
        let now = Instant::now();
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, count) = sampled.entry(kind).or_insert((now, 0));
        if now.duration_since(*began) >= Duration::from_secs(1) {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        if *count <= limits::TRANSCRIPTS_PER_SECOND {
            Recording::All
        } else {
            Recording::Crashes
        }
    }

    /// A call was recorded. It is dropped if it is too large, or the queue is full.
    pub(crate) fn take(&self, recorded: &RecordedTranscript<'_>) {
        if recorded.json.len() > limits::TRANSCRIPT_BYTES {
            return;
        }
        let sampled = PendingTranscript {
            connector: recorded.connector.to_owned(),
            version: recorded.version.to_owned(),
            kind: recorded.kind,
            at: recorded.at,
            channel_id: recorded.channel_id,
            crashed: recorded.crashed,
            json: recorded.json.clone(),
        };
        let _ = self.sender.try_send(sampled);
    }
}

/// A channel for recorded calls: its sender and its receiver.
pub(crate) fn begin(ring: u32) -> (Arc<Transcripts>, mpsc::Receiver<PendingTranscript>) {
    let (sender, sampled) = mpsc::channel(limits::TRANSCRIPTS_WAITING);
    (Arc::new(Transcripts::new(ring, sender)), sampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sampling_is_bounded_and_keeps_crashes() {
        let (transcripts, _taken) = begin(10);
        let wanted = |kind| {
            let wanted = std::iter::repeat_with(|| transcripts.recording(kind)).take(100);
            wanted.filter(|wanted| *wanted == Recording::All).count()
        };
        let most = limits::TRANSCRIPTS_PER_SECOND as usize;
        assert_eq!(wanted(CallKind::Receive), most);
        assert_eq!(wanted(CallKind::Receive), 0);
        assert_eq!(transcripts.recording(CallKind::Receive), Recording::Crashes);
        assert_eq!(wanted(CallKind::Send), most);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(wanted(CallKind::Receive), most);
        assert_eq!(begin(0).0.recording(CallKind::Send), Recording::Off);
    }
}
