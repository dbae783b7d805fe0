//! What bounds a call: memory, processor time, wall-clock time, and slots for concurrent calls.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use wasmtime::{ResourceLimiter, UpdateDeadline};
use weir_domain::limits;
use weir_domain::policy::CallKind;

use crate::error::CallError;

/// Sums the memory and table elements of all instances of a store: wasmtime's own limits apply to each memory
/// separately.
#[derive(Debug, Default)]
pub(super) struct Meter {
    memory: usize,
    pub(super) peak_memory: usize,
    elements: usize,
    pub(super) denied: Option<Denied>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Denied {
    pub(super) what: &'static str,
    pub(super) limit: usize,
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

/// The processor time of one call, measured from its first tick on: reading a thread's clock is a system call, and most
/// calls end before that tick. What is not measured is one tick at most.
#[derive(Debug, Default)]
pub(super) struct Processor {
    ticks: AtomicU32,
    /// By completed polls, in nanoseconds.
    used: AtomicU64,
    /// The thread's processor time at the start of the current poll, in nanoseconds.
    since: AtomicU64,
}

impl Processor {
    fn is_measured(&self) -> bool {
        self.ticks() > 0
    }

    pub(super) fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// A poll of the call starts on this thread.
    pub(super) fn enter(&self) {
        if self.is_measured() {
            self.since.store(thread_time(), Ordering::Relaxed);
        }
    }

    /// The poll returned.
    pub(super) fn leave(&self) {
        if self.is_measured() {
            let used = self.running();
            self.used.fetch_add(used, Ordering::Relaxed);
        }
    }

    /// Counts a tick, in the middle of a poll; the processor time used so far.
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

/// The processor time and the wall-clock time that a call may use.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
}

impl Budget {
    pub(super) fn of(kind: CallKind) -> Self {
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

    /// Called at each tick in which the guest runs.
    pub(super) fn tick(self, processor: &Processor) -> UpdateDeadline {
        if processor.tick() >= self.cpu {
            UpdateDeadline::Interrupt
        } else {
            // Tokio's yield puts the task at the back of the queue: every other ready task runs first.
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        }
    }
}

/// Slots for concurrent calls. Calls with network and pure calls have separate slots, so that slow platforms do not
/// delay webhooks.
pub(crate) struct Slots {
    networked: SlotPool,
    pure: SlotPool,
}

pub(super) struct SlotPool {
    slots: Semaphore,
    size: usize,
}

impl Slots {
    pub(super) fn new(networked: usize, pure: usize) -> Self {
        let pool = |size| SlotPool {
            slots: Semaphore::new(size),
            size,
        };
        Self {
            networked: pool(networked),
            pure: pool(pure),
        }
    }

    /// The slots of the whole process.
    pub(crate) fn of_process() -> Self {
        Self::new(limits::CALLS as usize, (limits::INSTANCES - limits::CALLS) as usize)
    }

    pub(super) fn pool(&self, kind: CallKind) -> &SlotPool {
        if kind.is_pure() { &self.pure } else { &self.networked }
    }
}

impl SlotPool {
    /// Waits for a slot until `deadline`.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, CallError> {
        let slot = tokio::time::timeout_at(deadline, self.slots.acquire()).await;
        slot.ok().and_then(Result::ok).ok_or(CallError::Busy {
            waited: limits::CALL_QUEUE,
            limit: self.size,
        })
    }
}
