//! The host: one process that connects platforms, through connectors, to the operator's programs.
//!
//! [`core`] contains the infrastructure that every service needs, and imports none of them. The services are in
//! [`connectors`], [`accounts`], [`messages`] and [`events`]: each is a struct that owns its state and names the
//! services it uses. [`host::Host`] builds them in order; [`http`], [`cli`] and `console` serve the API, the command
//! line and the web console, and [`loops`] runs the background tasks. `weir-domain` decides what is allowed,
//! `weir-store` stores data, `weir-runtime` runs connectors, and all outgoing requests pass through `weir-egress`.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod cli;
pub mod connectors;
mod console;
pub mod core;
pub mod events;
pub mod host;
pub mod http;
pub mod loops;
pub mod messages;
mod retention;
pub mod serve;
#[cfg(test)]
mod testing;
mod workspaces;

pub use crate::core::config::Config;
pub use host::Host;
pub use loops::Loops;
