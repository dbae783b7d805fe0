//! One call: a store and an instance of its own, bounds on everything, and an end that says which bound was met.
//!
//! Time is bounded twice. At each tick of the engine's epoch a running guest yields to other tasks, and is interrupted once it
//! used up its processor time; a timer outside ends a call that waits too long. Neither does the other's work: a spinning guest
//! never comes back to the timer, and a waiting one meets no epoch. Running is counted in the processor time of the threads that
//! polled the call, so that a busy machine takes nothing from anybody's budget.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::Instrument;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{
    PoolConcurrencyLimitError, ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace,
};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;

use crate::call::honeytoken::Canary;
use crate::context::{CallEnd, Host, StateWrites};
use crate::error::CallError;
use crate::imports::http::Network;
use crate::imports::state::StateView;
use crate::interface::bindings::weir::connector::types::Failure;
use crate::interface::convert::Bad;
use crate::text;
use crate::trace::transcript::{Cost, Tape};

/// Which version of which connector runs.
#[derive(Debug)]
pub(crate) struct VersionName {
    pub(crate) name: String,
    pub(crate) number: String,
}

/// What one call carries on the host's side.
pub(crate) struct CallData {
    pub(crate) kind: CallKind,
    pub(crate) version: Arc<VersionName>,
    pub(crate) host: Host,
    /// The channel in the host's record; none in a call without one.
    pub(crate) channel_id: Option<ChannelId>,
    /// None in a call that has none.
    pub(crate) state: Option<StateView>,
    /// None in a call that has none.
    pub(crate) network: Option<Network>,
    /// Log lines written, those dropped among them.
    pub(crate) lines: u32,
    /// How often a judge said no.
    pub(crate) refusals: u32,
    /// What this connector must not repeat.
    pub(crate) canary: Canary,
    /// What runs along.
    pub(crate) tape: Tape,
    meter: Meter,
    processor: Arc<Processor>,
}

impl CallData {
    /// A call without network and state.
    pub(crate) fn pure(kind: CallKind, version: Arc<VersionName>, host: Host) -> Self {
        Self {
            kind,
            version,
            host,
            channel_id: None,
            state: None,
            network: None,
            lines: 0,
            refusals: 0,
            canary: Canary::default(),
            tape: Tape::Blank,
            meter: Meter::default(),
            processor: Arc::default(),
        }
    }

    /// Counts a refusal. A connector that asks without end is answered without end, and written down for a while.
    pub(crate) fn is_worth_writing_down(&mut self) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        self.refusals <= limits::REQUESTS_PER_CALL && !self.is_mute()
    }

    /// Whether what it says is nobody's business: `describe` runs before anybody said yes to the connector.
    pub(crate) fn is_mute(&self) -> bool {
        self.kind == CallKind::Describe
    }

    /// The host's clock; a connector that says what it is must not look at it.
    pub(crate) fn moment(&self) -> Timestamp {
        if self.kind == CallKind::Describe {
            Timestamp::default()
        } else {
            self.host.clock.now()
        }
    }
}

/// Sums what the instances of one store hold; wasmtime's own limits hold for each memory by itself.
#[derive(Debug, Default)]
struct Meter {
    memory: usize,
    peak_memory: usize,
    elements: usize,
    denied: Option<Denied>,
}

#[derive(Clone, Copy, Debug)]
struct Denied {
    what: &'static str,
    limit: usize,
}

const NO_MEMORY: Denied = Denied {
    what: "bytes of memory",
    limit: limits::GUEST_MEMORY_BYTES,
};
const NO_TABLE: Denied = Denied {
    what: "table elements",
    limit: limits::GUEST_TABLE_ELEMENTS,
};

impl Meter {
    fn grow(held: &mut usize, current: usize, desired: usize, limit: usize) -> bool {
        let sum = held.saturating_add(desired.saturating_sub(current));
        let fits = sum <= limit;
        if fits {
            *held = sum;
        }
        fits
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = Self::grow(&mut self.memory, current, desired, NO_MEMORY.limit);
        self.peak_memory = self.peak_memory.max(self.memory);
        if !fits {
            self.denied = Some(NO_MEMORY);
        }
        Ok(fits)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = Self::grow(&mut self.elements, current, desired, NO_TABLE.limit);
        if !fits {
            self.denied = Some(NO_TABLE);
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.denied = Some(NO_MEMORY);
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.denied = Some(NO_TABLE);
        Ok(())
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        limits::GUEST_TABLES as usize
    }

    fn memories(&self) -> usize {
        1
    }
}

/// The processor time of one call. Nearly all calls end before their first tick, and are not measured: the clock of a thread is
/// a call into the kernel. What ran until then is a tick at most.
#[derive(Debug, Default)]
struct Processor {
    ticks: AtomicU32,
    /// Of the polls that are over, in nanoseconds.
    used: AtomicU64,
    /// What the thread had used when it began to poll, in nanoseconds.
    since: AtomicU64,
}

impl Processor {
    fn is_measured(&self) -> bool {
        self.ticks() > 0
    }

    fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// A thread begins to poll the call.
    fn enter(&self) {
        if self.is_measured() {
            self.since.store(thread_time(), Ordering::Relaxed);
        }
    }

    /// The thread leaves it.
    fn leave(&self) {
        if self.is_measured() {
            let used = self.running();
            self.used.fetch_add(used, Ordering::Relaxed);
        }
    }

    /// A tick is over, in the middle of a poll; how long the call has run.
    fn tick(&self) -> Duration {
        if self.ticks.fetch_add(1, Ordering::Relaxed) == 0 {
            self.since.store(thread_time(), Ordering::Relaxed);
        }
        Duration::from_nanos(self.used.load(Ordering::Relaxed) + self.running())
    }

    fn running(&self) -> u64 {
        thread_time().saturating_sub(self.since.load(Ordering::Relaxed))
    }
}

/// The processor time of this thread, in nanoseconds.
fn thread_time() -> u64 {
    let time = ThreadTime::now().as_duration();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a call may run, and how long it may take.
#[derive(Clone, Copy)]
struct Budget {
    cpu: Duration,
    wall: Duration,
}

impl Budget {
    fn of(kind: CallKind) -> Self {
        if kind.is_pure() {
            Self {
                cpu: limits::PURE_CPU,
                wall: limits::PURE_WALL,
            }
        } else {
            Self {
                cpu: limits::CALL_CPU,
                wall: limits::CALL_WALL,
            }
        }
    }

    /// One tick of running is over.
    fn tick(self, mut store: StoreContextMut<'_, CallData>) -> UpdateDeadline {
        if store.data_mut().processor.tick() >= self.cpu {
            UpdateDeadline::Interrupt
        } else {
            // Tokio's own yield goes to the back of the queue, so that every other task has its turn first.
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        }
    }
}

/// Why the inside of a call stopped.
pub(crate) enum Stop {
    /// The engine's word.
    Engine(wasmtime::Error),
    /// Ours, or the connector's.
    Call(CallError),
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        Self::Call(bad.into())
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Call(failure.into())
    }
}

/// A call that ended, and what is left of it.
pub(crate) struct Ended<T> {
    pub(crate) result: Result<T, CallError>,
    /// Those of a call that returned; of any other they are empty.
    pub(crate) writes: StateWrites,
    pub(crate) tape: Tape,
    pub(crate) cost: Cost,
    pub(crate) kind: CallKind,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) canary: Canary,
}

impl<T> Ended<T> {
    fn of(result: Result<T, CallError>, data: CallData, elapsed: Duration) -> Self {
        let returned = matches!(result, Ok(_) | Err(CallError::Failed { .. } | CallError::Answer(_)));
        let writes = match data.state {
            Some(state) if returned => state.into_writes(),
            _ => StateWrites::default(),
        };
        Self {
            result,
            writes,
            tape: data.tape,
            cost: Cost {
                elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                peak_memory: data.meter.peak_memory as u64,
            },
            kind: data.kind,
            channel_id: data.channel_id,
            canary: data.canary,
        }
    }
}

/// The inside of a call: what is done with the instance.
pub(crate) type Inside<'a, T> = Pin<Box<dyn Future<Output = Result<T, Stop>> + Send + 'a>>;

/// A component that is ready to be instantiated, and the slots that its calls run in.
pub(crate) struct Sandbox {
    pre: InstancePre<CallData>,
    /// Slots of this connector.
    own: Lanes,
    /// Slots of the process.
    all: Arc<Lanes>,
}

/// Slots for calls that wait for a platform, and slots for those that wait for nothing: neither can take the other's.
pub(crate) struct Lanes {
    networked: Lane,
    pure: Lane,
}

struct Lane {
    slots: Semaphore,
    size: usize,
}

impl Lanes {
    fn new(networked: usize, pure: usize) -> Self {
        let lane = |size| Lane {
            slots: Semaphore::new(size),
            size,
        };
        Self {
            networked: lane(networked),
            pure: lane(pure),
        }
    }

    /// Those of the process.
    pub(crate) fn of_all() -> Self {
        Self::new(limits::CALLS as usize, (limits::INSTANCES - limits::CALLS) as usize)
    }

    fn lane(&self, kind: CallKind) -> &Lane {
        if kind.is_pure() { &self.pure } else { &self.networked }
    }
}

impl Lane {
    /// Waits for a slot until `deadline`.
    async fn slot(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, CallError> {
        let slot = tokio::time::timeout_at(deadline, self.slots.acquire()).await;
        slot.ok().and_then(Result::ok).ok_or(CallError::Busy {
            waited: limits::CALL_QUEUE,
            limit: self.size,
        })
    }
}

impl Sandbox {
    pub(crate) fn new(pre: InstancePre<CallData>, all: Arc<Lanes>) -> Self {
        Self {
            pre,
            own: Lanes::new(limits::CALLS_PER_CONNECTOR, limits::PURE_PER_CONNECTOR),
            all,
        }
    }

    pub(crate) fn pre(&self) -> &InstancePre<CallData> {
        &self.pre
    }

    /// Runs one call in an instance of its own.
    pub(crate) async fn run<T, F>(&self, data: CallData, inside: F) -> Ended<T>
    where
        F: for<'a> FnOnce(&'a mut Store<CallData>, Instance) -> Inside<'a, T> + Send,
        T: fmt::Debug + Send,
    {
        let budget = Budget::of(data.kind);
        let _slots = match self.slots(data.kind).await {
            Ok(slots) => slots,
            Err(busy) => {
                report(&data, &Err::<T, _>(busy.clone()), Duration::ZERO);
                return Ended::of(
                    Err(busy),
                    CallData {
                        tape: Tape::Blank,
                        ..data
                    },
                    Duration::ZERO,
                );
            }
        };
        let started = Instant::now();
        let span = tracing::trace_span!(
            "call",
            connector = data.version.name,
            version = data.version.number,
            call = data.kind.as_str(),
            outcome = tracing::field::Empty,
        );
        let mut store = Store::new(self.pre.engine(), data);
        store.limiter(|data| &mut data.meter);
        store.set_hostcall_fuel(limits::HOSTCALL_FUEL);
        store.set_max_component_handles(limits::GUEST_HANDLES);
        // The tick under way may be over at once, and does not count.
        store.set_epoch_deadline(2);
        store.epoch_deadline_callback(move |store| Ok(budget.tick(store)));
        let processor = Arc::clone(&store.data().processor);
        let work = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            inside(&mut store, instance).await
        };
        // The future is dropped at the end of its block and its hold on the store with it: nothing of the guest runs any more.
        let ended = {
            let mut work = pin!(work.instrument(span.clone()));
            let measured = poll_fn(|context| {
                processor.enter();
                let polled = work.as_mut().poll(context);
                processor.leave();
                polled
            });
            tokio::time::timeout(budget.wall, measured).await
        };
        let result = match ended {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Stop::Call(error))) => Err(error),
            Ok(Err(Stop::Engine(error))) => Err(classify(&error, store.data(), budget)),
            Err(_) => Err(CallError::TimedOut { took: budget.wall }),
        };
        if store.data().canary.is_planted() {
            let said = format!("{result:?}");
            store.data_mut().canary.look("its answer", said.as_bytes());
        }
        let result = match store.data().canary.seen() {
            Some(place) => Err(CallError::Exposed { place }),
            None => result,
        };
        let elapsed = started.elapsed();
        span.record("outcome", outcome(&result));
        report(store.data(), &result, elapsed);
        Ended::of(result, store.into_data(), elapsed)
    }

    /// Waits for a slot of the connector, then for one of the process: in this order, so that what waits for its own
    /// connector holds nothing that others want.
    async fn slots(&self, kind: CallKind) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), CallError> {
        let deadline = Instant::now() + limits::CALL_QUEUE;
        let own = self.own.lane(kind).slot(deadline).await?;
        let all = self.all.lane(kind).slot(deadline).await?;
        Ok((own, all))
    }
}

fn outcome<T>(result: &Result<T, CallError>) -> &'static str {
    result.as_ref().err().map_or("ok", CallError::name)
}

fn report<T>(data: &CallData, result: &Result<T, CallError>, elapsed: Duration) {
    data.host.witness.called(&CallEnd {
        connector: &data.version.name,
        version: &data.version.number,
        kind: data.kind,
        outcome: outcome(result),
        elapsed,
        ticks: data.processor.ticks(),
        peak_memory: data.meter.peak_memory,
        lines_dropped: data.lines.saturating_sub(limits::LOG_LINES),
        broke_off: result.as_ref().is_err_and(CallError::is_break),
        canary: data.canary.seen(),
    });
}

/// Longest backtrace kept: a few dozen frames.
const BACKTRACE_BYTES: usize = 4 << 10;

fn classify(error: &wasmtime::Error, data: &CallData, budget: Budget) -> CallError {
    let trap = error.downcast_ref::<Trap>();
    // Only our own tick interrupts.
    if trap == Some(&Trap::Interrupt) {
        return CallError::OutOfTime { ran: budget.cpu };
    }
    // Guests break off when an allocation fails: the reason is not the trap but what came before it.
    if let Some(denied) = data.meter.denied {
        return CallError::OutOfMemory {
            what: denied.what,
            limit: denied.limit,
        };
    }
    if let Some(trap) = trap {
        let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
        return CallError::Trapped {
            cause: trap.to_string(),
            backtrace: text::prefix(&backtrace.unwrap_or_default(), BACKTRACE_BYTES).to_owned(),
        };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Busy {
            waited: Duration::ZERO,
            limit: limits::INSTANCES as usize,
        };
    }
    // No trap, and no bound of ours: a value that could not be lifted out of the guest.
    CallError::Output(text::line(&error.root_cause().to_string(), limits::LOG_LINE_BYTES))
}
