//! A canary run: its failure rate compared with the active version's, and the automatic rollback.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_domain::rollout::{Canary, CanaryVerdict, Figures, judge};
use weir_domain::time::Timestamp;
use weir_runtime::context::CallEnd;
use weir_runtime::{Replayed, Report, Transcript};
use weir_store::{CanaryFigures, CanaryRunEnd, CanaryRunRecord};

use crate::connectors::loaded::Loaded;
use crate::connectors::version_failures::{Cause, Failed, Lost, VersionFailures};

/// A canary, and its metrics.
#[derive(Debug)]
pub(crate) struct CanaryRun {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) canary: Canary,
    tally: Mutex<Tally>,
    /// Counts of other nodes, and of this one before its start.
    others: Mutex<Tally>,
    /// The canary is rolled back: calls in progress complete, and no new ones start.
    over: AtomicBool,
    /// Some counts are not in the database yet.
    has_new_counts: AtomicBool,
}

/// The counts since the canary run began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tally {
    on_trial: Figures,
    active: Figures,
    shadow: Report,
}

/// A canary run, in the API's format.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CanaryRunView {
    /// Its share and its rule.
    #[schema(value_type = Object)]
    pub canary: Canary,
    /// The canary's own calls.
    pub on_trial: FiguresView,
    /// The active version's calls in the same period.
    pub active: FiguresView,
    /// Calls of the active version that were replayed against this one, and the number of differences. The differences
    /// themselves contain message content, and are shown only until the host stops.
    #[schema(value_type = Object)]
    pub shadow: Report,
    /// How it ended; null while it is running.
    pub end: Option<CanaryRunEndView>,
}

/// The end of a canary run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CanaryRunEndView {
    /// The reason as text.
    pub reason: String,
    /// The time.
    pub at: Timestamp,
}

/// Metrics, in the API's format.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FiguresView {
    /// Completed calls.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Calls in which the connector crashed.
    pub broke_off: u64,
    /// The median duration, in milliseconds.
    pub p50_ms: Option<f64>,
    /// The 99th percentile of the duration, in milliseconds.
    pub p99_ms: Option<f64>,
}

impl From<&Figures> for FiguresView {
    fn from(figures: &Figures) -> Self {
        let ms = |share| figures.within(share).map(|took: Duration| took.as_secs_f64() * 1e3);
        Self {
            calls: figures.calls,
            failed: figures.failed,
            broke_off: figures.crashed,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
        }
    }
}

impl CanaryRun {
    pub(crate) fn new(loaded: Arc<Loaded>, canary: Canary) -> Self {
        Self {
            loaded,
            canary,
            tally: Mutex::default(),
            others: Mutex::default(),
            over: AtomicBool::new(false),
            has_new_counts: AtomicBool::new(false),
        }
    }

    /// A canary from the database, with its counts.
    pub(crate) fn resumed(loaded: Arc<Loaded>, canary: Canary, known: Option<CanaryRunRecord>, node: &str) -> Self {
        let resumed = Self::new(loaded, canary);
        if let Some(known) = known {
            resumed.learn(known, node);
        }
        resumed
    }

    /// Loads the counts of other nodes than this one.
    pub(crate) fn learn(&self, mut known: CanaryRunRecord, node: &str) {
        // It may belong to an earlier run.
        if known.canary == self.canary {
            known.figures.remove(node);
            *self.others() = Tally::sum(known.figures);
        }
    }

    fn others(&self) -> MutexGuard<'_, Tally> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of all nodes.
    fn counted(&self) -> Tally {
        let mut sum = self.tally(|tally| tally.clone());
        sum.add(&self.others());
        sum
    }

    /// The counts to be stored; `None` if they are stored already.
    pub(crate) fn take_counted(&self) -> Option<CanaryFigures> {
        let is_new = self.has_new_counts.swap(false, Ordering::Relaxed);
        is_new.then(|| CanaryFigures {
            canary: self.canary.clone(),
            figures: self.tally(|tally| tally.written()),
        })
    }

    /// The database did not accept the counts: they are to be stored again.
    pub(crate) fn recount(&self) {
        self.has_new_counts.store(true, Ordering::Relaxed);
    }

    /// Why the counts require a rollback; `None` if they do not.
    pub(crate) fn failed(&self, now: Timestamp) -> Option<String> {
        match self.judge(now) {
            CanaryVerdict::RollBack(reason) if self.canary.percent > 0 => Some(reason),
            _ => None,
        }
    }

    /// The same canary run, with the operator's current grants.
    pub(crate) fn with(&self, loaded: Arc<Loaded>) -> Self {
        Self {
            loaded,
            canary: self.canary.clone(),
            tally: Mutex::new(self.tally(|tally| tally.clone())),
            others: Mutex::new(self.others().clone()),
            over: AtomicBool::new(self.over.load(Ordering::Relaxed)),
            has_new_counts: AtomicBool::new(self.has_new_counts.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn serves_somebody(&self) -> bool {
        self.canary.percent > 0 && !self.over.load(Ordering::Relaxed)
    }

    fn tally<T>(&self, change: impl FnOnce(&mut Tally) -> T) -> T {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn judge(&self, now: Timestamp) -> CanaryVerdict {
        let counted = self.counted();
        judge(&self.canary, &counted.on_trial, &counted.active, now)
    }

    /// A call of the active version was replayed against this one.
    pub(crate) fn shadowed(&self, name: &str, transcript: &Transcript, replayed: Replayed) {
        self.tally(|tally| tally.shadow.add(name, transcript, replayed));
        self.has_new_counts.store(true, Ordering::Relaxed);
    }

    pub(crate) fn view(&self) -> CanaryRunView {
        self.counted().view(self.canary.clone(), None)
    }
}

impl Tally {
    /// All of these, as [`Tally::written`] wrote them; without those that cannot be parsed.
    fn sum(figures: BTreeMap<String, serde_json::Value>) -> Self {
        let mut sum = Self::default();
        for tally in figures
            .into_values()
            .filter_map(|figures| serde_json::from_value(figures).ok())
        {
            sum.add(&tally);
        }
        sum
    }

    fn add(&mut self, other: &Self) {
        self.on_trial.add(&other.on_trial);
        self.active.add(&other.active);
        self.shadow.add_counts(&other.shadow);
    }

    /// Without the differences: they contain message content, and the database would keep it beyond its retention.
    fn written(&self) -> serde_json::Value {
        let mut tally = self.clone();
        tally.shadow.groups.clear();
        serde_json::to_value(tally).unwrap_or_default()
    }

    fn view(&self, canary: Canary, end: Option<CanaryRunEndView>) -> CanaryRunView {
        CanaryRunView {
            canary,
            on_trial: (&self.on_trial).into(),
            active: (&self.active).into(),
            shadow: self.shadow.clone(),
            end,
        }
    }
}

impl From<CanaryRunRecord> for CanaryRunView {
    fn from(record: CanaryRunRecord) -> Self {
        let end = record
            .end
            .map(|CanaryRunEnd { reason, at }| CanaryRunEndView { reason, at });
        Tally::sum(record.figures).view(record.canary, end)
    }
}

/// The canary runs in progress, for counting calls.
#[derive(Debug)]
pub(crate) struct CanaryRuns {
    by_connector: Mutex<HashMap<String, Arc<CanaryRun>>>,
    failures: Arc<VersionFailures>,
}

impl CanaryRuns {
    pub(crate) fn new(failures: Arc<VersionFailures>) -> Self {
        Self {
            by_connector: Mutex::default(),
            failures,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Arc<CanaryRun>>) -> T) -> T {
        act(&mut self.by_connector.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn put(&self, connector: &str, canary_run: Option<Arc<CanaryRun>>) {
        self.with(|canary_runs| match canary_run {
            Some(canary_run) => canary_runs.insert(connector.to_owned(), canary_run),
            None => canary_runs.remove(connector),
        });
    }

    /// A version was quarantined: if it is the canary, it serves no account from now on.
    pub(crate) fn end(&self, connector: &str, version: &str) {
        let canary_run = self.with(|canary_runs| canary_runs.get(connector).cloned());
        if let Some(canary_run) = canary_run.filter(|canary_run| canary_run.loaded.number() == version) {
            canary_run.over.store(true, Ordering::Relaxed);
        }
    }

    /// A call ended: its outcome may roll the canary back immediately.
    pub(crate) fn note(&self, end: &CallEnd<'_>, now: Timestamp) {
        let Some(canary_run) = self.with(|canary_runs| canary_runs.get(end.connector).cloned()) else {
            return;
        };
        // Excluded: a call that never started, or that a slow host or platform delayed too long, is no evidence about a
        // version.
        if matches!(end.outcome, "busy" | "no_turn" | "timed_out") {
            return;
        }
        let is_canary = canary_run.loaded.number() == end.version;
        canary_run.tally(|tally| {
            let figures = if is_canary {
                &mut tally.on_trial
            } else {
                &mut tally.active
            };
            figures.note(end.outcome != "ok", end.crashed, end.elapsed);
        });
        canary_run.has_new_counts.store(true, Ordering::Relaxed);
        if is_canary {
            self.roll_back_failed(end.connector, &canary_run, now);
        }
    }

    /// Rolls a canary back if its counts require it.
    pub(crate) fn roll_back_failed(&self, connector: &str, canary_run: &CanaryRun, now: Timestamp) {
        let version = canary_run.loaded.number();
        if let Some(reason) = canary_run.failed(now)
            && !canary_run.over.swap(true, Ordering::Relaxed)
        {
            tracing::error!("{connector} {version} is rolled back: {reason}");
            let failed = Failed {
                connector: connector.to_owned(),
                version: version.to_owned(),
                lost: Lost::Canary,
            };
            let reason = reason.into();
            self.failures.add(failed, Cause { reason, at: now });
        }
    }
}
