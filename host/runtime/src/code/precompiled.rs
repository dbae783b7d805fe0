//! The one unsafe line of the project.
#![allow(unsafe_code)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Machine code that this host made. Comes only from the compiler, or from the cache with a proof that it once did.
pub(crate) struct MachineCode(pub(super) Vec<u8>);

impl MachineCode {
    /// A component of this code.
    ///
    /// # Errors
    /// Another engine made the code.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` runs whatever machine code it is given, so the bytes must be what an engine of this
        // version made. `MachineCode` is made in two places, and both guarantee that. The compiler's is what this
        // program itself has just written, in this process or through a pipe from its own child. The cache's passed an
        // HMAC over exactly these bytes, in memory that no other process can write, under a key that only this host has
        // and that it uses only for the compiler's output. An attacker who can forge that has the host's master key,
        // and with it everything that this could protect. The key also depends on the engine's version and settings;
        // wasmtime checks those again.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
