//! `weir`: the host and its command line in one binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A call of a connector makes and drops some thousand small things, and so does a write: the system's allocator took a sixth of
/// the time of a webhook, by the profile.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir_server::cli::main()
}
