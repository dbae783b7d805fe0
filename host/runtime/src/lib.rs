//! How a connector runs: the only crate of Weir that knows wasmtime.
//!
//! [`Runtime::load`] turns the bytes of a component into a [`Connector`], or says why not; a `Connector`'s methods are the
//! exports of the interface `weir:connector`. Each call has an instance of its own, which is thrown away, and bounds on time,
//! memory and what crosses; whatever a connector does, its call ends with a value that says what happened.
//!
//! What the runtime needs of its host it declares in [`context`] as small traits. Permits come from the domain, requests leave
//! through the egress crate, and what a call wants remembered is handed back to the caller.
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
