//! The engine of the process, and the thread that increments its epoch.
//!
//! WebAssembly features that connectors do not need are off, and with each the bugs in it. The compiler is Cranelift:
//! most of the published sandbox escapes were in the baseline compiler.

use std::thread;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
    WasmFeatures,
};
use weir_domain::limits;

/// Creates the engine and starts the epoch thread, which ends when the last user of the engine is gone.
pub(crate) fn start() -> wasmtime::Result<Engine> {
    let engine = match Engine::new(&config(true)) {
        Ok(engine) => engine,
        // The pool reserves address space for every slot at once, which `ulimit -v` or a small machine may not allow.
        Err(error) => {
            tracing::warn!("The instance pool is not available ({error:#}); instances are allocated one by one");
            Engine::new(&config(false))?
        }
    };
    let weak = engine.weak();
    thread::Builder::new().name("weir-epoch".to_owned()).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(limits::EPOCH_TICK);
        }
    })?;
    Ok(engine)
}

/// An engine that only compiles: the same settings without the pool, since a compiler needs no address space for
/// instances.
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config(false))
}

fn config(pooled: bool) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        // A NaN has the same bytes on every machine, so that a call can be replayed.
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(limits::GUEST_STACK_BYTES)
        .async_stack_size(limits::CALL_STACK_BYTES)
        .async_stack_zeroing(true)
        .memory_reservation(limits::GUEST_MEMORY_BYTES as u64)
        .memory_guard_size(limits::GUEST_GUARD_BYTES)
        .memory_may_move(false)
        .guard_before_linear_memory(true)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_custom_page_sizes(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false)
        .shared_memory(false)
        .wasm_features(
            WasmFeatures::GC
                | WasmFeatures::FUNCTION_REFERENCES
                | WasmFeatures::THREADS
                | WasmFeatures::EXCEPTIONS
                | WasmFeatures::STACK_SWITCHING,
            false,
        );
    if pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    }
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits::INSTANCES)
        .total_core_instances(limits::INSTANCES * limits::CORE_INSTANCES)
        .total_memories(limits::INSTANCES)
        .total_tables(limits::INSTANCES * limits::GUEST_TABLES)
        .total_stacks(limits::INSTANCES)
        .max_core_instances_per_component(limits::CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(limits::GUEST_TABLES)
        .max_memory_size(limits::GUEST_MEMORY_BYTES)
        .table_elements(limits::GUEST_TABLE_ELEMENTS)
        .max_unused_warm_slots(limits::WARM_SLOTS)
        // Where the kernel reports which pages a call wrote to (Linux 6.7), only those are reset.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(limits::WARM_MEMORY_BYTES)
        .async_stack_keep_resident(limits::WARM_STACK_BYTES)
        .table_keep_resident(limits::WARM_TABLE_BYTES);
    pool
}
