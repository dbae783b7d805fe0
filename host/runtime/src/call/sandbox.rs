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
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::policy::CallKind;

use crate::call::data::CallData;
use crate::call::honeytoken::Honeytoken;
use crate::call::limits::{Budget, Lanes};
use crate::context::{CallEnd, StateWrites};
use crate::error::CallError;
use crate::interface::exports::Exports;
use crate::interface::functions::ExportCall;
use crate::text;
use crate::trace::recorder::CallTrace;
use crate::trace::transcript::Cost;

/// Why a call was aborted.
pub(crate) enum CallAbort {
    /// The engine's error, not classified yet.
    Engine(wasmtime::Error),
    /// The host's, or the connector's.
    Call(CallError),
}

impl From<wasmtime::Error> for CallAbort {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<CallError> for CallAbort {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// A call that ended, and what is left of it.
pub(crate) struct Ended<T> {
    pub(crate) result: Result<T, CallError>,
    /// Those of a call that returned; of any other they are empty.
    pub(crate) writes: StateWrites,
    pub(crate) trace: CallTrace,
    pub(crate) cost: Cost,
    pub(crate) kind: CallKind,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) honeytoken: Honeytoken,
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
            trace: data.trace,
            cost: Cost {
                elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                peak_memory: data.meter.peak_memory as u64,
            },
            kind: data.kind,
            channel_id: data.channel_id,
            honeytoken: data.honeytoken,
        }
    }
}

/// The inside of a call: what is done with the instance.
pub(crate) type Inside<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallAbort>> + Send + 'a>>;

/// Calls a function, records what it returned, and converts it.
pub(crate) async fn invoke<C: ExportCall>(
    call: &C,
    exports: &Exports,
    store: &mut Store<CallData>,
    instance: Instance,
) -> Result<C::Output, CallAbort> {
    let raw = call.invoke(exports, &mut *store, instance).await?;
    store.data_mut().trace.returned(&raw);
    Ok(call.convert(raw)?)
}

/// A component that is ready to be instantiated, and the slots that its calls run in.
pub(crate) struct Sandbox {
    pre: InstancePre<CallData>,
    /// Slots of this connector.
    own: Lanes,
    /// Slots of the process.
    all: Arc<Lanes>,
}

impl Sandbox {
    pub(crate) fn new(pre: InstancePre<CallData>, all: Arc<Lanes>) -> Self {
        Self {
            pre,
            own: Lanes::new(limits::CALLS_PER_CONNECTOR, limits::PURE_PER_CONNECTOR),
            all,
        }
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
                        trace: CallTrace::Off,
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
        store.epoch_deadline_callback(move |store| Ok(budget.tick(&store.data().processor)));
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
            Ok(Err(CallAbort::Call(error))) => Err(error),
            Ok(Err(CallAbort::Engine(error))) => Err(classify(&error, store.data(), budget)),
            Err(_) => Err(CallError::TimedOut { took: budget.wall }),
        };
        if store.data().honeytoken.is_planted() {
            let said = format!("{result:?}");
            store.data_mut().honeytoken.look("its answer", said.as_bytes());
        }
        let result = match store.data().honeytoken.seen() {
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
    data.host.observer.on_call_end(&CallEnd {
        connector: &data.version.name,
        version: &data.version.number,
        kind: data.kind,
        outcome: outcome(result),
        elapsed,
        ticks: data.processor.ticks(),
        peak_memory: data.meter.peak_memory,
        lines_dropped: data.lines.saturating_sub(limits::LOG_LINES),
        crashed: result.as_ref().is_err_and(CallError::is_crash),
        honeytoken: data.honeytoken.seen(),
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
