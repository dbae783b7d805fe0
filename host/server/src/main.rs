//! `weir`: the host and its command line in one binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_server::cli::main()
}
