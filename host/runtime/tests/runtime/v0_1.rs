//! The same, through the version of the interface before the newest.
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
