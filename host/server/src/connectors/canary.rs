//! A canary: what its calls come to beside those of the active one, and when it goes back by itself.

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

/// A canary, and what is known of it.
#[derive(Debug)]
pub(crate) struct CanaryRun {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) canary: Canary,
    tally: Mutex<Tally>,
    /// What other nodes counted, and this one before its start.
    others: Mutex<Tally>,
    /// It goes back; what is in hand ends, and nothing new begins.
    over: AtomicBool,
    /// Something was counted that the record does not have yet.
    is_counted: AtomicBool,
}

/// What was counted since the canary run began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tally {
    on_trial: Figures,
    active: Figures,
    shadow: Report,
}

/// A canary run as it is shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CanaryRunView {
    /// Its share and its rule.
    #[schema(value_type = Object)]
    pub canary: Canary,
    /// What its own calls came to.
    pub on_trial: FiguresView,
    /// What the calls of the active version came to in the same time.
    pub active: FiguresView,
    /// Calls of the active version that were asked of this one again, and how it differs. The differences themselves hold what
    /// people wrote, and are shown only as long as the host runs.
    #[schema(value_type = Object)]
    pub shadow: Report,
    /// How it ended; null while it is on.
    pub end: Option<CanaryRunEndView>,
}

/// The end of a canary run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CanaryRunEndView {
    /// Why, in words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Figures as they are shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FiguresView {
    /// Calls that ended.
    pub calls: u64,
    /// Those that gave nothing.
    pub failed: u64,
    /// Those in which the connector crashed.
    pub broke_off: u64,
    /// Half of them took at most so many milliseconds.
    pub p50_ms: Option<f64>,
    /// All but one of a hundred took at most so many.
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
            is_counted: AtomicBool::new(false),
        }
    }

    /// A canary that the record knows, with what was counted of it.
    pub(crate) fn resumed(loaded: Arc<Loaded>, canary: Canary, known: Option<CanaryRunRecord>, node: &str) -> Self {
        let resumed = Self::new(loaded, canary);
        if let Some(known) = known {
            resumed.learn(known, node);
        }
        resumed
    }

    /// Takes what the record knows of other nodes than this one.
    pub(crate) fn learn(&self, mut known: CanaryRunRecord, node: &str) {
        // It may be of a run before this one.
        if known.canary == self.canary {
            known.figures.remove(node);
            *self.others() = Tally::sum(known.figures);
        }
    }

    fn others(&self) -> MutexGuard<'_, Tally> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted at all nodes.
    fn counted(&self) -> Tally {
        let mut sum = self.tally(|tally| tally.clone());
        sum.add(&self.others());
        sum
    }

    /// What was counted, for the record; none if it has it already.
    pub(crate) fn take_counted(&self) -> Option<CanaryFigures> {
        let is_new = self.is_counted.swap(false, Ordering::Relaxed);
        is_new.then(|| CanaryFigures {
            canary: self.canary.clone(),
            figures: self.tally(|tally| tally.written()),
        })
    }

    /// The record did not take it.
    pub(crate) fn count_again(&self) {
        self.is_counted.store(true, Ordering::Relaxed);
    }

    /// Whether it goes back, by what was counted.
    pub(crate) fn failed(&self, now: Timestamp) -> Option<String> {
        match self.judge(now) {
            CanaryVerdict::RollBack(reason) if self.canary.percent > 0 => Some(reason),
            _ => None,
        }
    }

    /// The same canary_run, with what the operator granted by now.
    pub(crate) fn with(&self, loaded: Arc<Loaded>) -> Self {
        Self {
            loaded,
            canary: self.canary.clone(),
            tally: Mutex::new(self.tally(|tally| tally.clone())),
            others: Mutex::new(self.others().clone()),
            over: AtomicBool::new(self.over.load(Ordering::Relaxed)),
            is_counted: AtomicBool::new(self.is_counted.load(Ordering::Relaxed)),
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

    /// A call of the active version was asked of this one again.
    pub(crate) fn shadowed(&self, name: &str, transcript: &Transcript, replayed: Replayed) {
        self.tally(|tally| tally.shadow.add(name, transcript, replayed));
        self.is_counted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn view(&self) -> CanaryRunView {
        self.counted().view(self.canary.clone(), None)
    }
}

impl Tally {
    /// All of these, as [`Tally::written`] wrote them; without those of a form that cannot be read.
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

    /// Without the differences: they hold what people wrote, and the record would keep it beyond its time.
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

/// The canary runs that are on, as calls count for them.
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

    /// A version was quarantined: if it is the canary, it serves nobody from now on.
    pub(crate) fn end(&self, connector: &str, version: &str) {
        let canary_run = self.with(|canary_runs| canary_runs.get(connector).cloned());
        if let Some(canary_run) = canary_run.filter(|canary_run| canary_run.loaded.number() == version) {
            canary_run.over.store(true, Ordering::Relaxed);
        }
    }

    /// A call ended: a canary may go back by it, at once.
    pub(crate) fn note(&self, end: &CallEnd<'_>, now: Timestamp) {
        let Some(canary_run) = self.with(|canary_runs| canary_runs.get(end.connector).cloned()) else {
            return;
        };
        // A call that never began, or that a slow host or platform kept too long, says nothing of a version.
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
        canary_run.is_counted.store(true, Ordering::Relaxed);
        if is_canary {
            self.roll_back_failed(end.connector, &canary_run, now);
        }
    }

    /// A canary goes back if what was counted of it says so.
    pub(crate) fn roll_back_failed(&self, connector: &str, canary_run: &CanaryRun, now: Timestamp) {
        let version = canary_run.loaded.number();
        if let Some(reason) = canary_run.failed(now)
            && !canary_run.over.swap(true, Ordering::Relaxed)
        {
            tracing::error!("{connector} {version} goes back: {reason}");
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
