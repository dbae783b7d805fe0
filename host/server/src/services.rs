//! What the runtime and the way out need of the host, over the record: rates, stored bytes, and who is told what happens.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;
use weir_domain::channel::PolicyOverride;
use weir_domain::id::{ChannelId, MediaId};
use weir_domain::limits;
use weir_domain::manifest::{RateScope, RouteClass};
use weir_domain::message::MediaStatus;
use weir_domain::policy::rate::Pace;
use weir_domain::policy::{CallKind, Rate, RuleBook, Rules};
use weir_egress::{Bodies, BodyError, StoredBody};
use weir_runtime::context::{CallEnd, Pacer, Refused, TooLong, Wanted, Witness, Written};
use weir_store::Store;

use crate::clock::HostClock;
use crate::media;
use crate::metrics::Metrics;
use crate::quarantine::Quarantine;
use crate::refusals::ActRefused;
use crate::rollout::Trials;
use crate::transcripts::Transcripts;

// ---- the platform's rates --------------------------------------------------------------------------------------------

/// The platform's rates, for all workers together.
#[derive(Debug)]
pub(crate) struct Pacers {
    origin: Instant,
    /// One for each rule and app, or each rule and channel.
    paces: Mutex<HashMap<Bucket, Pace>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bucket {
    app: String,
    /// None for what all channels of the app share.
    channel: Option<ChannelId>,
    /// The rule's place in the manifest.
    rule: usize,
}

/// The rates of one channel and its app.
#[derive(Debug)]
pub(crate) struct ChannelPacer {
    pacers: Arc<Pacers>,
    rates: Vec<(Bucket, Rate)>,
    /// A turn taken beforehand, for the first request that sends.
    kept: Mutex<Option<Duration>>,
}

impl Pacers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            paces: Mutex::default(),
        })
    }

    /// The rates that hold for a channel of `app`; while an account is being connected it has no id yet.
    pub(crate) fn of(
        self: &Arc<Self>,
        app: &str,
        book: &RuleBook,
        channel: Option<(ChannelId, &PolicyOverride)>,
    ) -> ChannelPacer {
        let declared = Rules::of(&book.manifest, &book.settings, &PolicyOverride::default()).rates;
        let mut rates: Vec<_> = declared
            .iter()
            .enumerate()
            .map(|(rule, rate)| {
                let channel = match rate.scope {
                    RateScope::App => None,
                    RateScope::Channel => channel.map(|(id, _)| id),
                };
                let app = app.to_owned();
                (Bucket { app, channel, rule }, rate.clone())
            })
            .collect();
        // What the operator tightened for one channel is counted for that channel: it must not slow down the others.
        if let Some((id, policy)) = channel.filter(|(_, policy)| policy.rate_permits.is_some()) {
            let tightened = Rules::of(&book.manifest, &book.settings, policy).rates;
            rates.extend(tightened.into_iter().enumerate().map(|(rule, rate)| {
                let bucket = Bucket {
                    app: app.to_owned(),
                    channel: Some(id),
                    rule: declared.len() + rule,
                };
                (bucket, rate)
            }));
        }
        ChannelPacer {
            pacers: Arc::clone(self),
            rates,
            kept: Mutex::default(),
        }
    }

    /// How many messages of an app may be made ready: those whose turns come within [`limits::RATE_AHEAD`].
    pub(crate) fn room(self: &Arc<Self>, app: &str, book: &RuleBook) -> u32 {
        let now = self.now();
        let all = self.of(app, book, None);
        let paces = lock(&self.paces);
        let of_app = all
            .counted(RouteClass::MessageSend)
            .filter(|(_, rate)| rate.scope == RateScope::App);
        let rooms = of_app.map(|(bucket, rate)| {
            let pace = paces.get(bucket).copied().unwrap_or_default();
            pace.room(rate.permits, rate.per, now, now + limits::RATE_AHEAD)
        });
        rooms.min().unwrap_or(u32::MAX)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

impl ChannelPacer {
    /// Takes the turn of a message now, so that messages leave in the order in which this is called, however long each takes
    /// to be made ready. One that does not leave after all wastes its turn.
    pub(crate) fn keep_turn(&self) {
        // Too far away is said when the message comes to leave.
        *lock(&self.kept) = self.take(RouteClass::MessageSend).ok();
    }

    /// The platform asked for a pause.
    pub(crate) fn hold(&self, pause: Duration) {
        let until = self.pacers.now() + pause;
        let mut paces = lock(&self.pacers.paces);
        for (bucket, _) in &self.rates {
            paces.entry(bucket.clone()).or_default().hold(until);
        }
    }

    fn take(&self, class: RouteClass) -> Result<Duration, TooLong> {
        let now = self.pacers.now();
        let mut paces = lock(&self.pacers.paces);
        let counted = || self.counted(class);
        // First looked at, then taken: a turn of one rule must not be lost to another rule's no.
        let mut turn = now;
        for (bucket, rate) in counted() {
            let mut trial = paces.get(bucket).copied().unwrap_or_default();
            let at = trial
                .take(rate.permits, rate.per, now, Duration::MAX)
                .expect("patience without end takes every turn");
            turn = turn.max(at);
        }
        let wait = turn.saturating_sub(now);
        if wait > limits::RATE_WAIT {
            return Err(TooLong { wait });
        }
        for (bucket, rate) in counted() {
            let pace = paces.entry(bucket.clone()).or_default();
            // From the latest of the turns on, since that is when the request leaves.
            pace.take(rate.permits, rate.per, turn, Duration::MAX);
        }
        Ok(turn)
    }

    fn counted(&self, class: RouteClass) -> impl Iterator<Item = &(Bucket, Rate)> {
        self.rates.iter().filter(move |(_, rate)| rate.classes.contains(&class))
    }

    /// Whether a pause came over a turn that was taken before.
    fn is_void(&self, turn: Duration, class: RouteClass) -> bool {
        let paces = lock(&self.pacers.paces);
        self.counted(class)
            .any(|(bucket, _)| paces.get(bucket).is_some_and(|pace| pace.is_void(turn)))
    }
}

#[async_trait]
impl Pacer for ChannelPacer {
    async fn turn(&self, class: RouteClass) -> Result<(), TooLong> {
        let kept = match class {
            RouteClass::MessageSend => lock(&self.kept).take(),
            _ => None,
        };
        let mut turn = kept.map_or_else(|| self.take(class), Ok)?;
        loop {
            tokio::time::sleep_until(self.pacers.origin + turn).await;
            if !self.is_void(turn, class) {
                return Ok(());
            }
            turn = self.take(class)?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- stored bytes ----------------------------------------------------------------------------------------------------

/// Stored attachments, for requests that carry them.
pub(crate) struct StoredBodies {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folder: PathBuf,
}

#[async_trait]
impl Bodies for StoredBodies {
    async fn open(&self, id: MediaId) -> Result<StoredBody, BodyError> {
        let unreadable = |error: &dyn std::fmt::Display| BodyError::Io(std::io::Error::other(error.to_string()));
        let row = self.store.media(id).await.map_err(|error| unreadable(&error))?;
        let row = row
            .filter(|row| row.status == MediaStatus::Stored)
            .ok_or(BodyError::NotStored(id))?;
        let file = tokio::fs::File::open(media::path(&self.folder, id)).await?;
        let size = file.metadata().await?.len();
        Ok(StoredBody {
            bytes: Box::new(file),
            size,
            mime_type: row.mime_type.unwrap_or_else(|| media::UNKNOWN_TYPE.to_owned()),
            filename: row.filename.unwrap_or_else(|| id.to_string()),
        })
    }
}

// ---- who is told -----------------------------------------------------------------------------------------------------

/// Refusals that wait to be written; more are counted and not kept.
pub(crate) const REFUSALS_WAITING: usize = 256;

/// Counts what happens in calls, and hands refusals on to be kept.
pub(crate) struct HostWitness {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) trials: Arc<Trials>,
    pub(crate) transcripts: Arc<Transcripts>,
    pub(crate) clock: Arc<HostClock>,
    pub(crate) refusals: mpsc::Sender<ActRefused>,
}

impl Witness for HostWitness {
    fn called(&self, end: &CallEnd<'_>) {
        self.metrics
            .call(end.connector, end.kind.as_str(), end.outcome, end.elapsed);
        let now = self.clock.now();
        self.quarantine.note(end, now);
        self.trials.note(end, now);
    }

    fn wants(&self, kind: CallKind) -> Wanted {
        self.transcripts.wants(kind)
    }

    fn transcribed(&self, written: &Written<'_>) {
        self.transcripts.take(written);
    }

    fn refused(&self, refused: &Refused<'_>) {
        self.metrics.request_refused(refused.connector, refused.rule);
        // Full means a storm of refusals: the count above says so, and the first ones are kept.
        let _ = self.refusals.try_send(ActRefused::of(refused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(pacers: &Arc<Pacers>, channel: Option<ChannelId>, permits: u32, scope: RateScope) -> ChannelPacer {
        let bucket = Bucket {
            app: "tiktok".to_owned(),
            channel: channel.filter(|_| scope == RateScope::Channel),
            rule: 0,
        };
        let rate = Rate {
            permits,
            per: Duration::from_secs(1),
            scope,
            classes: vec![RouteClass::MessageSend],
        };
        ChannelPacer {
            pacers: Arc::clone(pacers),
            rates: vec![(bucket, rate)],
            kept: Mutex::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_channels_of_an_app_share_its_rate() {
        let pacers = Pacers::new();
        let one = pacer(&pacers, None, 10, RateScope::App);
        let other = pacer(&pacers, None, 10, RateScope::App);
        let began = Instant::now();
        for turn in 0..20 {
            let pacer = if turn % 2 == 0 { &one } else { &other };
            pacer.turn(RouteClass::MessageSend).await.expect("within reach");
        }
        assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_rule_counts_does_not_wait() {
        let pacer = pacer(&Pacers::new(), None, 1, RateScope::App);
        let began = Instant::now();
        for _ in 0..100 {
            pacer.turn(RouteClass::Read).await.expect("no rule");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_platform_asked_for_holds_the_next_turn() {
        let pacer = pacer(&Pacers::new(), None, 10, RateScope::App);
        pacer.hold(Duration::from_secs(5));
        let began = Instant::now();
        pacer.turn(RouteClass::MessageSend).await.expect("within reach");
        assert!(began.elapsed() >= Duration::from_secs(5));
        pacer.hold(Duration::from_secs(60));
        let too_long = pacer.turn(RouteClass::MessageSend).await.expect_err("too far away");
        assert!(too_long.wait > limits::RATE_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_leave_in_the_order_in_which_their_turns_were_kept() {
        let pacers = Pacers::new();
        let one = pacer(&pacers, None, 10, RateScope::App);
        let other = pacer(&pacers, None, 10, RateScope::App);
        one.keep_turn();
        other.keep_turn();
        let began = Instant::now();
        // The second is ready first, and leaves in its own turn all the same.
        other.turn(RouteClass::MessageSend).await.expect("within reach");
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
        one.turn(RouteClass::MessageSend).await.expect("its turn has come");
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_those_who_wait_already_and_spaces_them_anew() {
        let pacers = Pacers::new();
        let began = Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let pacer = pacer(&pacers, None, 10, RateScope::App);
            pacer.keep_turn();
            waiting.spawn(async move {
                pacer.turn(RouteClass::MessageSend).await.expect("within reach");
                began.elapsed()
            });
        }
        pacer(&pacers, None, 10, RateScope::App).hold(Duration::from_secs(5));
        let mut left = waiting.join_all().await;
        left.sort_unstable();
        assert!(left[0] >= Duration::from_secs(5), "{left:?}");
        assert!(
            left.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(100)),
            "{left:?}"
        );
    }
}
