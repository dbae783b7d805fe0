//! Runs one call in a fresh store and instance, within its limits, and reports which limit it exceeded.
//!
//! Time is bounded twice. At each tick of the engine's epoch a running guest yields to other tasks, and is interrupted
//! once it used up its processor time; a timer outside ends a call that waits too long. Neither can replace the other:
//! a guest that loops never returns to the timer, and one that waits sees no epoch. Running is measured as the
//! processor time of the threads that polled the call, so that the load of the machine does not count against a
//! connector.

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
use crate::call::limits::{Budget, Slots};
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

/// A call that ended, and what it leaves behind.
pub(crate) struct Ended<T> {
    pub(crate) result: Result<T, CallError>,
    /// Empty unless the call returned.
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

/// What a call does with its instance.
pub(crate) type CallBody<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallAbort>> + Send + 'a>>;

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

/// A linked component, and the slots for its calls.
pub(crate) struct Sandbox {
    pre: InstancePre<CallData>,
    /// Of this connector.
    own: Slots,
    /// Of the process.
    all: Arc<Slots>,
}

impl Sandbox {
    pub(crate) fn new(pre: InstancePre<CallData>, all: Arc<Slots>) -> Self {
        Self {
            pre,
            own: Slots::new(limits::CALLS_PER_CONNECTOR, limits::PURE_PER_CONNECTOR),
            all,
        }
    }

    /// Runs one call in a fresh instance.
    pub(crate) async fn run<T, F>(&self, data: CallData, body: F) -> Ended<T>
    where
        F: for<'a> FnOnce(&'a mut Store<CallData>, Instance) -> CallBody<'a, T> + Send,
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
        // The current tick may end at any moment, so it does not count.
        store.set_epoch_deadline(2);
        store.epoch_deadline_callback(move |store| Ok(budget.tick(&store.data().processor)));
        let processor = Arc::clone(&store.data().processor);
        let work = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            body(&mut store, instance).await
        };
        // The future, and its borrow of the store, is dropped at the end of this block: nothing of the guest runs
        // afterwards.
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
            let output = format!("{result:?}");
            store.data_mut().honeytoken.inspect("its answer", output.as_bytes());
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

    /// Waits for a slot of the connector, then for one of the process: in this order, a call that waits for its own
    /// connector takes no slot from others.
    async fn slots(&self, kind: CallKind) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), CallError> {
        let deadline = Instant::now() + limits::CALL_QUEUE;
        let own = self.own.pool(kind).acquire(deadline).await?;
        let all = self.all.pool(kind).acquire(deadline).await?;
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

/// The longest backtrace kept: a few dozen frames.
const BACKTRACE_BYTES: usize = 4 << 10;

fn classify(error: &wasmtime::Error, data: &CallData, budget: Budget) -> CallError {
    let trap = error.downcast_ref::<Trap>();
    // Only `Budget::tick` interrupts.
    if trap == Some(&Trap::Interrupt) {
        return CallError::OutOfTime { ran: budget.cpu };
    }
    // Guests trap when an allocation fails: the cause is the denied growth, not the trap.
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
    // Neither a trap nor a limit of the host: a value that could not be lifted from the guest's memory.
    CallError::Output(text::line(&error.root_cause().to_string(), limits::LOG_LINE_BYTES))
}
