//! The same, through the version of the interface before the newest.
#![allow(clippy::unwrap_used)]

mod bad;
mod cached;
mod compiles;
mod hostile;
mod locates;
mod pure;
mod replays;
mod sends;
mod support;
