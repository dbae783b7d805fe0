//! The platform's rate limits: when a request may leave, for all channels of an app together.
//!
//! Each request has a turn. When its turn comes, the requests that were sent before decide whether it may leave: those
//! of this host, or, if several hosts use the database, those of all hosts, which are counted there.

mod shared_counter;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, Sleep, sleep_until};
use weir_domain::channel::PolicyOverride;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::manifest::{RateScope, RouteClass};
use weir_domain::policy::rate::{Departures, Pace};
use weir_domain::policy::{PolicySet, Rate};
use weir_egress::Departure;
use weir_runtime::context::{Pacer, TooLong};
use weir_store::Store;

use shared_counter::SharedCounter;

/// The platform's rate limits, for all workers together.
#[derive(Debug)]
pub(crate) struct Pacers {
    origin: Instant,
    /// The shared counter of several hosts; `None` if this one counts alone.
    counter: Option<SharedCounter>,
    /// The number of nodes among which a rate is divided that is too high to be counted in the database.
    nodes: AtomicU32,
    /// One for each rule and app, or each rule and channel.
    paces: Mutex<HashMap<Bucket, Pace>>,
    gate: Mutex<Gate>,
    /// Rate limits that all channels of an app share, by app, from its first request on.
    shared: Mutex<HashMap<String, Vec<(Bucket, Rate)>>>,
}

/// Requests in a span up to which a rate is counted in the database, at two transactions for each. A higher one is
/// divided.
const COUNTED_TOGETHER: u32 = 100;

/// The number of nodes assumed until this one and the others know of each other: more than there will be.
pub(crate) const NODES_AT_START: u32 = 64;

/// Requests to the platform: recent departures, and those waiting.
#[derive(Debug, Default)]
struct Gate {
    departures: HashMap<Bucket, Departures>,
    /// Requests whose turn has come and that may not leave yet, in the order of their turns.
    waiting: BTreeMap<Ticket, Waiting>,
    tickets: u64,
}

/// A request's turn, and a number that distinguishes requests with the same turn.
type Ticket = (Duration, u64);

#[derive(Debug)]
struct Waiting {
    rates: Vec<(Bucket, Rate)>,
    waker: Waker,
}

/// The decision about a request that is ready to leave.
enum Leave {
    /// Leave now, with these numbers.
    Now(Vec<u64>),
    /// Retry at that time.
    At(Duration),
    /// Yield to one with an earlier turn.
    GiveWay,
}

/// How long a request yields to one with an earlier turn. That one was woken and leaves immediately, unless its
/// connection has just closed; half of the interval between two requests at ten a second, so that the rate is kept up.
const GIVE_WAY: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bucket {
    app: String,
    /// `None` for the limit shared by all channels of the app.
    channel: Option<ChannelId>,
    /// The rule's place in the manifest.
    rule: usize,
    /// Whether only this host's share of the rate is counted, and not the requests of all hosts.
    is_divided: bool,
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.app, self.rule)?;
        self.channel.map_or(Ok(()), |channel| write!(formatter, "/{channel}"))
    }
}

/// The rates of one channel and its app.
#[derive(Debug)]
pub(crate) struct ChannelPacer {
    pacers: Arc<Pacers>,
    rates: Vec<(Bucket, Rate)>,
    /// A turn reserved in advance, for the first request.
    kept: Mutex<Option<Duration>>,
}

impl Pacers {
    /// The database counts too if several hosts may use it.
    pub(crate) fn new(store: &Arc<dyn Store>) -> Arc<Self> {
        Self::counting(store.server_time().map(|_| SharedCounter(Arc::clone(store))))
    }

    fn counting(counter: Option<SharedCounter>) -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            counter,
            nodes: AtomicU32::new(NODES_AT_START),
            paces: Mutex::default(),
            gate: Mutex::default(),
            shared: Mutex::default(),
        })
    }

    /// The rates that apply to a channel of `app`; an account that is being connected has no id yet.
    pub(crate) fn of(
        self: &Arc<Self>,
        app: &str,
        policies: &PolicySet,
        channel: Option<(ChannelId, &PolicyOverride)>,
    ) -> ChannelPacer {
        let declared = &policies.untightened().rates;
        let mut rates: Vec<_> = declared
            .iter()
            .enumerate()
            .map(|(rule, rate)| {
                let channel = match rate.scope {
                    RateScope::App => None,
                    RateScope::Channel => channel.map(|(id, _)| id),
                };
                let (rate, is_divided) = self.share(rate);
                let bucket = Bucket {
                    app: app.to_owned(),
                    channel,
                    rule,
                    is_divided,
                };
                (bucket, rate)
            })
            .collect();
        self.remember(app, &rates);
        // A limit that the operator tightened for one channel is counted for that channel: it must not slow down the
        // others.
        if let Some((id, policy)) = channel.filter(|(_, policy)| policy.rate_permits.is_some()) {
            let tightened = policies.tightened(policy);
            rates.extend(tightened.rates.iter().enumerate().map(|(rule, rate)| {
                let (rate, is_divided) = self.share(rate);
                let bucket = Bucket {
                    app: app.to_owned(),
                    channel: Some(id),
                    rule: declared.len() + rule,
                    is_divided,
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

    /// Sets the number of nodes that are alive and know of each other.
    pub(crate) fn divide_among(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// This host's count for a rate, and whether that is its share.
    fn share(&self, rate: &Rate) -> (Rate, bool) {
        let is_divided = self.counter.is_some() && rate.permits > COUNTED_TOGETHER;
        let nodes = if is_divided {
            self.nodes.load(Ordering::Relaxed)
        } else {
            1
        };
        let share = Rate {
            permits: (rate.permits / nodes).max(1),
            ..rate.clone()
        };
        (share, is_divided)
    }

    fn remember(&self, app: &str, rates: &[(Bucket, Rate)]) {
        let of_app = || rates.iter().filter(|(_, rate)| rate.scope == RateScope::App);
        let mut shared = lock(&self.shared);
        if !shared.get(app).is_some_and(|known| known.iter().eq(of_app())) {
            shared.insert(app.to_owned(), of_app().cloned().collect());
        }
    }

    /// How many messages of each app may be prepared: those whose turns come within [`limits::RATE_AHEAD`]. Apps
    /// without a request since the start are omitted.
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

    /// Releases a request that all these rates allow, or returns what it waits for. If several could leave now, the one
    /// with the earliest turn does, so that no channel sends twice while another waits.
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

    /// A released request changes state: it was written, answered, or ended. The argument is how long ago it arrived at
    /// the latest, if that is known.
    fn note(
        &self,
        rates: &[(Bucket, Rate)],
        numbers: &[u64],
        moment: impl Fn(&mut Departures, u64, &Rate, Duration) -> Option<Duration>,
    ) -> Option<Duration> {
        let now = self.now();
        let mut gate = lock(&self.gate);
        let mut arrived = None;
        for ((bucket, rate), number) in rates.iter().zip(numbers) {
            if let Some(of) = gate.departures.get_mut(bucket) {
                arrived = arrived.max(moment(of, *number, rate, now));
            }
        }
        arrived.map(|by| now.saturating_sub(by))
    }

    /// A request stops waiting.
    fn forget(&self, ticket: Ticket) {
        lock(&self.gate).waiting.remove(&ticket);
    }

    fn ticket(&self, turn: Duration) -> Ticket {
        let mut gate = lock(&self.gate);
        gate.tickets += 1;
        (turn, gate.tickets)
    }
}

/// A request whose turn has come, until it is answered. If it is delayed after its turn, it leaves only when earlier
/// requests leave room: no turn is used in addition to those that are due.
struct Leaving {
    pacers: Arc<Pacers>,
    ticket: Ticket,
    /// The rates that count it.
    rates: Vec<(Bucket, Rate)>,
    waits: Option<Pin<Box<Sleep>>>,
    /// Whether it yields to one with an earlier turn; not again if that did not use the time.
    gives_way: bool,
    /// Its numbers among the departures, from when it leaves until it is answered.
    numbers: Vec<u64>,
    /// The wait for the database, which is queried when no local limit applies.
    lookup: Option<Pin<Box<dyn Future<Output = Vec<u64>> + Send>>>,
    /// Its numbers among the departures of all hosts.
    recorded: Vec<u64>,
}

impl Leaving {
    fn new(pacers: &Arc<Pacers>, turn: Duration, rates: Vec<(Bucket, Rate)>) -> Self {
        Self {
            pacers: Arc::clone(pacers),
            ticket: pacers.ticket(turn),
            rates,
            waits: None,
            gives_way: true,
            numbers: Vec::new(),
            lookup: None,
            recorded: Vec::new(),
        }
    }

    /// Ready once this host's departures allow another.
    fn poll_here(&mut self, context: &mut Context<'_>) -> Poll<()> {
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

    /// The request arrived this long ago, as the database is told; `None` if that is unknown.
    fn arrived(&mut self, ago: Option<Duration>) {
        let numbers = std::mem::take(&mut self.recorded);
        if let (Some(counter), Some(ago)) = (&self.pacers.counter, ago)
            && !numbers.is_empty()
        {
            counter.arrived(&self.rates, numbers, ago);
        }
    }
}

impl Departure for Leaving {
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.lookup.is_none() {
            ready!(self.poll_here(context));
            let Some(SharedCounter(store)) = &self.pacers.counter else {
                return Poll::Ready(());
            };
            let shared = SharedCounter::shared(&self.rates);
            if shared.is_empty() {
                return Poll::Ready(());
            }
            self.lookup = Some(Box::pin(SharedCounter::leave(Arc::clone(store), shared)));
        }
        if let Some(lookup) = &mut self.lookup {
            self.recorded = ready!(lookup.as_mut().poll(context));
        }
        Poll::Ready(())
    }

    fn left(&mut self) {
        let left = |of: &mut Departures, number, _: &Rate, now| {
            of.left(number, now);
            None
        };
        self.pacers.note(&self.rates, &self.numbers, left);
    }

    fn answered(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        let answered = |of: &mut Departures, number, rate: &Rate, now| of.answered(number, rate.per, now);
        let ago = self.pacers.note(&self.rates, &numbers, answered);
        self.arrived(ago);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.pacers.forget(self.ticket);
        // Released, and aborted before it was reported as sent: it may have been sent.
        let end = |of: &mut Departures, number, rate: &Rate, now| of.end(number, rate.per, now);
        let ago = self.pacers.note(&self.rates, &self.numbers, end);
        self.arrived(ago);
    }
}

impl ChannelPacer {
    /// Reserves the turn of a message now, so that messages leave in the order of these calls, however long each takes
    /// to prepare. A turn that is not used in time is lost.
    pub(crate) fn keep_turn(&self) {
        // A turn too far in the future is reported when the message is about to leave.
        *lock(&self.kept) = self.take(RouteClass::MessageSend).ok();
    }

    /// The platform requested a pause; it is limited to [`limits::PLATFORM_PAUSE`].
    pub(crate) fn hold(&self, pause: Duration) {
        let until = self.pacers.now() + pause.min(limits::PLATFORM_PAUSE);
        let mut paces = lock(&self.pacers.paces);
        for (bucket, _) in &self.rates {
            paces.entry(bucket.clone()).or_default().hold(until);
        }
        if let Some(counter) = &self.pacers.counter {
            counter.hold(&self.rates, pause.min(limits::PLATFORM_PAUSE));
        }
    }

    fn take(&self, class: RouteClass) -> Result<Duration, TooLong> {
        let now = self.pacers.now();
        let mut paces = lock(&self.pacers.paces);
        let counted = || self.counted(class);
        // Checked first, then taken: a turn of one rule must not be lost to another rule's refusal.
        let mut turn = now;
        for (bucket, rate) in counted() {
            let mut trial = paces.get(bucket).copied().unwrap_or_default();
            let at = trial
                .take(rate.permits, rate.per, now, Duration::MAX)
                .expect("unlimited patience accepts every turn");
            turn = turn.max(at);
        }
        let wait = turn.saturating_sub(now);
        if wait > limits::RATE_WAIT {
            return Err(TooLong { wait });
        }
        for (bucket, rate) in counted() {
            let pace = paces.entry(bucket.clone()).or_default();
            // Starting from the latest of the turns, since that is when the request leaves.
            pace.take(rate.permits, rate.per, turn, Duration::MAX);
        }
        Ok(turn)
    }

    fn counted(&self, class: RouteClass) -> impl Iterator<Item = &(Bucket, Rate)> {
        counted(&self.rates, class)
    }

    /// The reserved turn, if it is one of this class and has not passed.
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

    /// Whether a pause began after the turn was reserved.
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
            // A timer's resolution is one millisecond: for a moment that has come already it would delay the request.
            if turn > self.pacers.now() {
                sleep_until(self.pacers.origin + turn).await;
            }
            if !self.is_void(turn, class) {
                break;
            }
            turn = self.take(class)?;
        }
        let rates: Vec<_> = self.counted(class).cloned().collect();
        if rates.is_empty() {
            return Ok(None);
        }
        Ok(Some(Box::new(Leaving::new(&self.pacers, turn, rates))))
    }
}

/// The rates that count requests of a class.
fn counted(rates: &[(Bucket, Rate)], class: RouteClass) -> impl Iterator<Item = &(Bucket, Rate)> {
    rates.iter().filter(move |(_, rate)| rate.classes.contains(&class))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
