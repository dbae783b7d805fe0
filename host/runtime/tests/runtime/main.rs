//! The runtime, with the built Echo connector and with components that should not be taken.
#![allow(clippy::unwrap_used)]

mod bad;
mod cached;
mod locates;
mod pure;
mod sends;
mod support;
