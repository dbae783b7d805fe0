//! How a connector runs: the only crate of Weir that knows wasmtime.
//!
//! [`Runtime::load`] turns the bytes of a component into a [`Connector`], or returns why it cannot; a `Connector`'s
//! methods are the exports of the interface `weir:connector`. Each call runs in a fresh instance that is dropped
//! afterwards, with bounds on time, memory and the data that crosses the boundary. Whatever a connector does, its call
//! ends with a value that describes it.
//!
//! What the runtime needs of its host it declares in [`context`] as small traits. Permits come from the domain,
//! requests leave through the egress crate, and state changes are returned to the caller.
//!
//! | module | what is in it |
//! |---|---|
//! | `load`, `code` | from bytes to a connector: checks, compiler, cache of machine code |
//! | `interface` | the interface's functions, exports and types, and the conversion of what a connector returns |
//! | `call` | one call: its data, its limits, the sandbox |
//! | `imports` | the host functions that a connector may call |
//! | `trace` | transcripts: recording, replay, comparison, masking |
#![deny(unsafe_code)]

mod call;
mod code;
mod connector;
pub mod context;
mod engine;
mod error;
mod imports;
mod interface;
mod load;
mod state;
mod text;
mod trace;

pub use code::compile_here;
pub use connector::{Connector, Located};
pub use error::{CallError, LoadError};
pub use interface::output::{
    Automation, Batch, Capability, ConversationPage, ConversationSummary, MessagePage, Profile, SendReport,
    SetupFinding, Signal,
};
pub use load::{CacheSettings, Runtime, Settings};
pub use trace::replay::{Boundary, Difference, DifferenceKind, Group, Replayed, Report, differences};
pub use trace::transcript::{Cost, End, FORMAT, Transcript};
