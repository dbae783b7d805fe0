//! Processing of ended calls: updates metrics, applies the rules for quarantines and canaries, and stores transcripts
//! and refusals.

use std::sync::Arc;

use tokio::sync::mpsc;
use weir_domain::policy::CallKind;
use weir_runtime::context::{CallEnd, CallObserver, RecordedTranscript, Recording, Refused};

use crate::connectors::canary::CanaryRuns;
use crate::connectors::quarantine::Quarantine;
use crate::connectors::transcripts::Transcripts;
use crate::core::clock::HostClock;
use crate::core::metrics::Metrics;
use crate::core::refusals::ActRefused;

/// Refusals waiting to be stored; beyond this they are counted but not stored.
pub(crate) const REFUSALS_WAITING: usize = 256;

/// Updates the metrics of calls, and queues refusals for storage.
pub(crate) struct HostObserver {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) canary_runs: Arc<CanaryRuns>,
    pub(crate) transcripts: Arc<Transcripts>,
    pub(crate) clock: Arc<HostClock>,
    pub(crate) refusals: mpsc::Sender<ActRefused>,
}

impl CallObserver for HostObserver {
    fn on_call_end(&self, end: &CallEnd<'_>) {
        self.metrics
            .call(end.connector, end.kind.as_str(), end.outcome, end.elapsed);
        let now = self.clock.now();
        if self.quarantine.note(end, now) {
            self.canary_runs.end(end.connector, end.version);
        }
        self.canary_runs.note(end, now);
    }

    fn recording(&self, kind: CallKind) -> Recording {
        self.transcripts.recording(kind)
    }

    fn on_transcript(&self, transcript: &RecordedTranscript<'_>) {
        self.transcripts.take(transcript);
    }

    fn on_refusal(&self, refused: &Refused<'_>) {
        self.metrics.request_refused(refused.connector, refused.rule);
        // A full queue means a flood of refusals: the metric above counts them, and the first ones are stored.
        let _ = self.refusals.try_send(ActRefused::of(refused));
    }
}
