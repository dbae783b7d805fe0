//! `weir`: the host and its command line in one binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A call of a connector allocates and frees some thousand small objects, and so does a write: by the profile, the
/// system's allocator took a sixth of the time of a webhook.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir_server::cli::main()
}
