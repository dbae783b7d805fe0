//! How a connector runs: the only crate of Weir that knows wasmtime.
