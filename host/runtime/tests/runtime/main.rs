//! The runtime, with the built Echo connector, with components that should not be taken, and with hostile ones.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "a measured gap is printed for people to judge")]

mod bad;
mod cached;
mod compiles;
mod hostile;
mod locates;
mod pure;
mod replays;
mod sends;
mod support;
