//! Weir, the host itself: where the rooms meet.
//!
//! [`core`] is the ground floor; [`connectors`], [`accounts`], [`messages`] and [`events`] stand on it; [`host::Host`] is the roof;
//! [`http`] and [`cli`] are the doors, and `console` is what a person looks at. What is allowed is judged in `weir-domain`, what is remembered lives in `weir-store`, connectors run in `weir-runtime`, and what
//! leaves goes through `weir-egress`.
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
