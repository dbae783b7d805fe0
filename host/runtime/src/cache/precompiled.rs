//! The one unsafe line of the project.
#![allow(unsafe_code)]

use wasmtime::Engine;
use wasmtime::component::Component;

use super::Verified;

/// Loads compiled code that this host wrote.
pub(super) fn load(engine: &Engine, code: &Verified) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` runs whatever machine code it is given, so the bytes must be what `Component::serialize` made.
    // They are: `Verified` is made only after an HMAC over exactly these bytes, in memory that nobody else can write, under a
    // key that only this host has and that it uses only for bytes it has just serialised. Whoever can forge that holds the
    // host's master key, and with it everything that this could protect. The key also depends on the engine's version and
    // settings; wasmtime checks those again by itself.
    unsafe { Component::deserialize(engine, &code.0) }
}
