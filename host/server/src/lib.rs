//! Weir, the host itself: where the rooms meet.
//!
//! [`host::Host`] holds what they share. Inbound goes through [`inbound`], outbound through [`outbound`] and
//! [`deliverer`], events through [`publisher`]; [`connect`] brings accounts in; `console` is what a person looks at. What is
//! allowed is judged in `weir-domain`, what is remembered lives in `weir-store`, connectors run in `weir-runtime`, and what
//! leaves goes through `weir-egress`.
#![forbid(unsafe_code)]

pub mod ads;
pub mod apps;
mod automations;
pub mod backup;
pub mod calls;
mod channel_test;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
mod console;
mod contacts;
mod cookie;
mod credentials;
pub mod deliverer;
mod detached;
pub mod diagnosis;
pub mod entry_points;
mod expiry;
pub mod features;
pub mod fetcher;
mod folder;
mod forged;
mod history;
pub mod host;
pub mod http;
pub mod inbound;
pub mod keyring;
mod leftovers;
pub mod media;
pub mod metrics;
mod oauth;
pub mod outbound;
mod persist;
mod platform_clocks;
mod poller;
pub mod provenance;
pub mod publisher;
mod pulse;
mod quarantine;
pub mod reconciler;
pub mod refresher;
mod refusals;
pub mod registry;
pub mod reseal;
mod retention;
pub mod rollout;
pub mod run;
pub mod serve;
pub mod services;
mod share;
#[cfg(test)]
mod testing;
pub mod traces;
pub mod transcripts;
mod version_failures;
pub mod worker;
mod workspaces;

pub use config::Config;
pub use host::Host;
pub use run::Loops;
