//! What a connector may ask of the host: one file for each interface. Whatever comes through here was written by a stranger.

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::weir::connector;
use crate::call::CallData;

pub(crate) mod clock;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod state;

/// The interfaces that a component may import, and all there is. WASI is not among them: a connector has no files, sockets
/// or environment, and what it needs of a clock is here.
pub(crate) const ALLOWED: [&str; 5] = [
    "weir:connector/types@0.1.0",
    "weir:connector/http@0.1.0",
    "weir:connector/state@0.1.0",
    "weir:connector/log@0.1.0",
    "weir:connector/clock@0.1.0",
];

/// The linker with exactly the allowed interfaces. Built once.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<CallData>> {
    let mut linker = Linker::new(engine);
    connector::types::add_to_linker::<_, HasSelf<CallData>>(&mut linker, |data| data)?;
    connector::http::add_to_linker::<_, HasSelf<CallData>>(&mut linker, |data| data)?;
    connector::state::add_to_linker::<_, HasSelf<CallData>>(&mut linker, |data| data)?;
    connector::log::add_to_linker::<_, HasSelf<CallData>>(&mut linker, |data| data)?;
    connector::clock::add_to_linker::<_, HasSelf<CallData>>(&mut linker, |data| data)?;
    Ok(linker)
}

// Types alone: nothing to be called.
impl connector::types::Host for CallData {}
