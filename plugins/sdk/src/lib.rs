//! For connector authors: the API that a connector needs to implement one platform's protocol, and nothing else.
//!
//! A connector implements [`Connector`], any of the optional traits in [`abilities`], and invokes
//! `weir_sdk::export!(MyConnector: signals, history);`. It reaches the outside only through [`http`], [`state`],
//! [`log`] and [`clock`], each of which is one import of the world in `wit/`.
//!
//! Guarantees: built for `wasm32-unknown-unknown`, a component imports those four interfaces and no WASI. Built
//! natively, the same imports go to the test kit, a host of the current thread that a unit test scripts; without one
//! they refuse as the real host does inside a pure call.
//!
//! The host's tasks: credentials, OAuth, webhook signatures, retries, windows, budgets, storage of messages.

#![deny(unsafe_code)]
// A failure is a record of the interface, and boxing it here would only unbox it at the boundary.
#![allow(clippy::result_large_err)]

#[cfg_attr(feature = "v0_1", path = "bindings/v0_1.rs")]
#[cfg_attr(not(feature = "v0_1"), path = "bindings/v0_2.rs")]
pub mod bindings;

pub mod clock;
mod connector;
mod export;
mod failure;
pub mod http;
pub mod json;
pub mod log;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testkit;

pub use connector::{Connector, abilities};
pub use failure::Repeat;

pub use bindings::exports::weir::connector::{descriptor, identity, inbound, outbound};
pub use bindings::weir::connector::types;
pub use serde_json;
