//! What the runtime and the way out need of the host, over the record: rates, stored bytes, and who is told what happens.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};
use weir_domain::channel::PolicyOverride;
use weir_domain::id::{ChannelId, MediaId};
use weir_domain::limits;
use weir_domain::manifest::{RateScope, RouteClass};
use weir_domain::message::MediaStatus;
use weir_domain::policy::rate::{Departures, Pace};
use weir_domain::policy::{CallKind, Rate, RuleBook};
use weir_egress::{Bodies, BodyError, Departure, StoredBody};
use weir_runtime::context::{CallEnd, CallObserver, Pacer, RecordedTranscript, Recording, Refused, TooLong};
use weir_store::Store;

use crate::connectors::quarantine::Quarantine;
use crate::connectors::rollout::Trials;
use crate::connectors::transcripts::Transcripts;
use crate::core::clock::HostClock;
use crate::core::metrics::Metrics;
use crate::core::refusals::ActRefused;
use crate::messages::media;

// ---- the platform's rates --------------------------------------------------------------------------------------------

/// The platform's rates, for all workers together.
#[derive(Debug)]
pub(crate) struct Pacers {
    origin: Instant,
    /// One for each rule and app, or each rule and channel.
    paces: Mutex<HashMap<Bucket, Pace>>,
    gate: Mutex<Gate>,
    /// What all channels of an app share, of each app that something was asked of.
    shared: Mutex<HashMap<String, Vec<(Bucket, Rate)>>>,
}

/// Before the platform: what left lately, and what waits to leave.
#[derive(Debug, Default)]
struct Gate {
    departures: HashMap<Bucket, Departures>,
    /// Requests whose turn has come and that may not leave yet, in the order of their turns.
    waiting: BTreeMap<Ticket, Waiting>,
    tickets: u64,
}

/// A request's turn, and a number that tells it from others with the same turn.
type Ticket = (Duration, u64);

#[derive(Debug)]
struct Waiting {
    rates: Vec<(Bucket, Rate)>,
    waker: Waker,
}

/// What a request that would leave is to do.
enum Leave {
    /// Leave now, under these numbers.
    Now(Vec<u64>),
    /// Ask again then.
    At(Duration),
    /// Let one with an earlier turn go first.
    GiveWay,
}

/// How long a request lets one with an earlier turn go first. That one was woken and leaves at once, unless its connection has just
/// closed; half of the time between two requests at ten a second, so that the rate is kept up.
const GIVE_WAY: Duration = Duration::from_millis(50);

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
    /// A turn taken beforehand, for the first request.
    kept: Mutex<Option<Duration>>,
}

impl Pacers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            paces: Mutex::default(),
            gate: Mutex::default(),
            shared: Mutex::default(),
        })
    }

    /// The rates that hold for a channel of `app`; while an account is being connected it has no id yet.
    pub(crate) fn of(
        self: &Arc<Self>,
        app: &str,
        book: &RuleBook,
        channel: Option<(ChannelId, &PolicyOverride)>,
    ) -> ChannelPacer {
        let declared = &book.untightened().rates;
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
        self.remember(app, &rates);
        // What the operator tightened for one channel is counted for that channel: it must not slow down the others.
        if let Some((id, policy)) = channel.filter(|(_, policy)| policy.rate_permits.is_some()) {
            let tightened = book.tightened(policy);
            rates.extend(tightened.rates.iter().enumerate().map(|(rule, rate)| {
                let bucket = Bucket {
                    app: app.to_owned(),
                    channel: Some(id),
                    rule: declared.len() + rule,
                };
                (bucket, rate.clone())
            }));
        }
        ChannelPacer {
            pacers: Arc::clone(self),
            rates,
            kept: Mutex::default(),
        }
    }

    fn remember(&self, app: &str, rates: &[(Bucket, Rate)]) {
        let of_app = || rates.iter().filter(|(_, rate)| rate.scope == RateScope::App);
        let mut shared = lock(&self.shared);
        if !shared.get(app).is_some_and(|known| known.iter().eq(of_app())) {
            shared.insert(app.to_owned(), of_app().cloned().collect());
        }
    }

    /// How many messages of each app may be made ready: those whose turns come within [`limits::RATE_AHEAD`]. An app that
    /// nothing was asked of since the start is not among them.
    pub(crate) fn room(&self) -> BTreeMap<String, u32> {
        let now = self.now();
        let (shared, paces) = (lock(&self.shared), lock(&self.paces));
        let room = |(bucket, rate): &(Bucket, Rate)| {
            let pace = paces.get(bucket).copied().unwrap_or_default();
            pace.room(rate.permits, rate.per, now, now + limits::RATE_AHEAD)
        };
        let of = |rates: &[(Bucket, Rate)]| counted(rates, RouteClass::MessageSend).map(room).min();
        let rooms = shared.iter().filter_map(|(app, rates)| Some((app.clone(), of(rates)?)));
        rooms.collect()
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Lets a request go that all these rates count; or says what it waits for. Of several that could leave now the one with the
    /// earliest turn does, so that no channel leaves twice while another waits.
    fn leave(&self, ticket: Ticket, rates: &[(Bucket, Rate)], gives_way: bool, waker: &Waker) -> Leave {
        let now = self.now();
        let paces = lock(&self.paces);
        let mut gate = lock(&self.gate);
        let free_at = |gate: &Gate, rates: &[(Bucket, Rate)]| {
            let each = rates.iter().map(|(bucket, rate)| {
                let held = paces.get(bucket).map(Pace::held).unwrap_or_default();
                let departures = gate.departures.get(bucket);
                let free_at = departures.map_or(now, |of| of.free_at(rate.permits, rate.per, now));
                free_at.max(held)
            });
            each.max().unwrap_or(now)
        };
        let wait = |gate: &mut Gate| {
            let waiting = Waiting {
                rates: rates.to_vec(),
                waker: waker.clone(),
            };
            gate.waiting.insert(ticket, waiting);
        };
        let mine = free_at(&gate, rates);
        if mine > now {
            wait(&mut gate);
            return Leave::At(mine);
        }
        let shares = |other: &Waiting| {
            other
                .rates
                .iter()
                .any(|(bucket, _)| rates.iter().any(|(own, _)| own == bucket))
        };
        let mut earlier = gate.waiting.range(..ticket).map(|(_, other)| other);
        let first = earlier.find(|other| gives_way && shares(other) && free_at(&gate, &other.rates) <= now);
        if let Some(first) = first {
            first.waker.wake_by_ref();
            wait(&mut gate);
            return Leave::GiveWay;
        }
        gate.waiting.remove(&ticket);
        let leave = |(bucket, rate): &(Bucket, Rate)| {
            let of = gate.departures.entry(bucket.clone()).or_default();
            of.leave(rate.permits, rate.per, now)
        };
        Leave::Now(rates.iter().map(leave).collect())
    }

    /// What was let go left, or will not any more.
    fn left(&self, ticket: Ticket, rates: &[(Bucket, Rate)], numbers: &[u64]) {
        let now = self.now();
        let mut gate = lock(&self.gate);
        gate.waiting.remove(&ticket);
        for ((bucket, _), number) in rates.iter().zip(numbers) {
            if let Some(of) = gate.departures.get_mut(bucket) {
                of.left(*number, now);
            }
        }
    }

    fn ticket(&self, turn: Duration) -> Ticket {
        let mut gate = lock(&self.gate);
        gate.tickets += 1;
        (turn, gate.tickets)
    }
}

/// A request whose turn has come, until it leaves. Whatever delays it after its turn, it goes only when what left before it
/// leaves room: no turn is ever used beside those whose time it is.
struct Leaving {
    pacers: Arc<Pacers>,
    ticket: Ticket,
    /// Those that count it.
    rates: Vec<(Bucket, Rate)>,
    waits: Option<Pin<Box<Sleep>>>,
    /// Whether it lets one with an earlier turn go first; not again where that did not use the time that it was given.
    gives_way: bool,
    /// Its numbers among the departures, while it leaves.
    numbers: Vec<u64>,
}

impl Departure for Leaving {
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(waits) = &mut self.waits {
                ready!(waits.as_mut().poll(context));
                self.waits = None;
            }
            let waker = context.waker();
            let until = match self.pacers.leave(self.ticket, &self.rates, self.gives_way, waker) {
                Leave::Now(numbers) => {
                    self.numbers = numbers;
                    return Poll::Ready(());
                }
                Leave::At(free_at) => {
                    self.gives_way = true;
                    free_at
                }
                Leave::GiveWay => {
                    self.gives_way = false;
                    self.pacers.now() + GIVE_WAY
                }
            };
            self.waits = Some(Box::pin(sleep_until(self.pacers.origin + until)));
        }
    }

    fn left(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        self.pacers.left(self.ticket, &self.rates, &numbers);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // Let go, and broken off before anybody said that it left: it may have.
        self.left();
    }
}

impl ChannelPacer {
    /// Takes the turn of a message now, so that messages leave in the order in which this is called, however long each takes
    /// to be made ready. One that does not leave in its time wastes its turn.
    pub(crate) fn keep_turn(&self) {
        // Too far away is said when the message comes to leave.
        *lock(&self.kept) = self.take(RouteClass::MessageSend).ok();
    }

    /// The platform asked for a pause; as long as [`limits::PLATFORM_PAUSE`] it gets.
    pub(crate) fn hold(&self, pause: Duration) {
        let until = self.pacers.now() + pause.min(limits::PLATFORM_PAUSE);
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
        counted(&self.rates, class)
    }

    /// The turn that was kept, if it is one of this class and has not gone by.
    fn kept(&self, class: RouteClass) -> Option<Duration> {
        if !self.counted(class).eq(self.counted(RouteClass::MessageSend)) {
            return None;
        }
        let turn = lock(&self.kept).take()?;
        let now = self.pacers.now();
        let is_missed = |(_, rate): &(Bucket, Rate)| Pace::is_missed(turn, rate.permits, rate.per, now);
        if !self.counted(class).any(is_missed) {
            return Some(turn);
        }
        let mut paces = lock(&self.pacers.paces);
        for (bucket, rate) in self.counted(class) {
            if let Some(pace) = paces.get_mut(bucket) {
                pace.give_back(turn, rate.permits, rate.per);
            }
        }
        None
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
    async fn turn(&self, class: RouteClass) -> Result<Option<Box<dyn Departure>>, TooLong> {
        let mut turn = self.kept(class).map_or_else(|| self.take(class), Ok)?;
        loop {
            sleep_until(self.pacers.origin + turn).await;
            if !self.is_void(turn, class) {
                break;
            }
            turn = self.take(class)?;
        }
        let rates: Vec<_> = self.counted(class).cloned().collect();
        if rates.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(Leaving {
            pacers: Arc::clone(&self.pacers),
            ticket: self.pacers.ticket(turn),
            rates,
            waits: None,
            gives_way: true,
            numbers: Vec::new(),
        })))
    }
}

/// The rates that count requests of a class.
fn counted(rates: &[(Bucket, Rate)], class: RouteClass) -> impl Iterator<Item = &(Bucket, Rate)> {
    rates.iter().filter(move |(_, rate)| rate.classes.contains(&class))
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

impl CallObserver for HostWitness {
    fn on_call_end(&self, end: &CallEnd<'_>) {
        self.metrics
            .call(end.connector, end.kind.as_str(), end.outcome, end.elapsed);
        let now = self.clock.now();
        if self.quarantine.note(end, now) {
            self.trials.end(end.connector, end.version);
        }
        self.trials.note(end, now);
    }

    fn recording(&self, kind: CallKind) -> Recording {
        self.transcripts.recording(kind)
    }

    fn on_transcript(&self, transcript: &RecordedTranscript<'_>) {
        self.transcripts.take(transcript);
    }

    fn on_refusal(&self, refused: &Refused<'_>) {
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
        let too_long = pacer.turn(RouteClass::MessageSend).await.map(drop);
        let too_long = too_long.expect_err("too far away");
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
        let left = async |pacer: ChannelPacer| {
            pacer.turn(RouteClass::MessageSend).await.expect("within reach");
            began.elapsed()
        };
        // The second is ready first, and leaves in its own turn all the same.
        let (second, first) = tokio::join!(left(other), left(one));
        assert!(first < Duration::from_millis(2), "{first:?}");
        assert!(second >= Duration::from_millis(100), "{second:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_went_by_is_not_used_beside_those_whose_time_it_is() {
        let pacers = Pacers::new();
        let began = Instant::now();
        let mut leaving = tokio::task::JoinSet::new();
        for n in 0..40 {
            let pacer = pacer(&pacers, None, 10, RateScope::App);
            pacer.keep_turn();
            leaving.spawn(async move {
                // A picture takes its time to be uploaded, a text does not.
                tokio::time::sleep(Duration::from_millis(n * 1_700 % 4_000)).await;
                pacer.turn(RouteClass::MessageSend).await.expect("within reach");
                began.elapsed()
            });
        }
        let mut left = leaving.join_all().await;
        left.sort_unstable();
        let crowded = left
            .windows(11)
            .find(|eleven| eleven[10] - eleven[0] < Duration::from_secs(1));
        assert_eq!(crowded, None, "{left:?}");
    }

    /// Waits at the gate, and leaves.
    async fn leave(mut turn: Option<Box<dyn Departure>>) {
        if let Some(turn) = &mut turn {
            std::future::poll_fn(|context| turn.poll_leave(context)).await;
            turn.left();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_machine_overruns_no_rate_and_uses_it_up() {
        let pacers = Pacers::new();
        let began = Instant::now();
        let mut leaving = tokio::task::JoinSet::new();
        for n in 0..150 {
            let pacer = pacer(&pacers, None, 10, RateScope::App);
            pacer.keep_turn();
            leaving.spawn(async move {
                let turn = pacer.turn(RouteClass::MessageSend).await.expect("within reach");
                // Between its turn and its first byte: a connection is made, or the task gets no processor.
                tokio::time::sleep(Duration::from_millis(n * 37 % 90)).await;
                leave(turn).await;
                began.elapsed()
            });
        }
        let mut left = leaving.join_all().await;
        left.sort_unstable();
        let crowded = left
            .windows(11)
            .find(|eleven| eleven[10] - eleven[0] < Duration::from_millis(1_014));
        assert_eq!(crowded, None, "{left:?}");
        assert!(left[149] < Duration::from_millis(149 * 102 + 200), "{:?}", left[149]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_the_gate_leaves_in_turn() {
        let pacers = Pacers::new();
        let began = Instant::now();
        let at = |ms| sleep_until(began + Duration::from_millis(ms));
        let taken = || {
            let pacer = pacer(&pacers, None, 1, RateScope::App);
            pacer.keep_turn();
            pacer
        };
        let (before, one, other) = (taken(), taken(), taken());
        let turn = async |pacer: ChannelPacer| {
            let turn = pacer.turn(RouteClass::MessageSend).await.expect("within reach");
            turn.expect("it is counted")
        };
        // It is late, so that the next two wait for the same moment, the later of them longer.
        let mut before = turn(before).await;
        std::future::poll_fn(|context| before.poll_leave(context)).await;
        let late = async {
            at(1_500).await;
            before.left();
        };
        let leaves = async |pacer, comes| {
            let turn = turn(pacer).await;
            at(comes).await;
            leave(Some(turn)).await;
            began.elapsed()
        };
        let ((), one, other) = tokio::join!(late, leaves(one, 2_200), leaves(other, 2_030));
        assert!(one < Duration::from_millis(2_600), "{one:?}");
        assert!(other > Duration::from_millis(3_500), "{other:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_leaves_keeps_its_place_for_a_span_and_no_longer() {
        let pacers = Pacers::new();
        let turn = async || {
            let pacer = pacer(&pacers, None, 1, RateScope::App);
            pacer.turn(RouteClass::MessageSend).await.expect("within reach")
        };
        let mut gone = turn().await.expect("it is counted");
        std::future::poll_fn(|context| gone.poll_leave(context)).await;
        drop(gone);
        let began = Instant::now();
        leave(turn().await).await;
        assert!(began.elapsed() >= Duration::from_millis(1_014), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_millis(1_100), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_for_nobody_leaves_at_once_however_late_it_is() {
        let pacer = pacer(&Pacers::new(), None, 10, RateScope::App);
        pacer.keep_turn();
        tokio::time::sleep(Duration::from_millis(60)).await;
        let ready = Instant::now();
        pacer.turn(RouteClass::MessageSend).await.expect("it is free");
        assert!(ready.elapsed() < Duration::from_millis(2), "{:?}", ready.elapsed());
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
