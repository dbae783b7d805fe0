//! Weir's rules as pure functions.
//!
//! No IO, no clock, no async. Each trust boundary of the host has one check here that turns untrusted input into a
//! proof that only the check can construct: [`caller::authenticate`], [`signature::verify`], [`policy::may_send`],
//! [`policy::may_call`]. The other crates carry out what a proof permits, and store data.
#![forbid(unsafe_code)]

pub mod breaker;
pub mod caller;
pub mod channel;
pub mod claim;
pub mod clock;
pub mod conversation;
pub mod credential;
pub mod delivery;
pub mod erasure;
pub mod event;
pub mod grant;
pub mod id;
pub mod inbound;
pub mod limits;
pub mod manifest;
pub mod message;
pub mod policy;
pub mod problem;
pub mod record;
pub mod rollout;
pub mod signature;
pub mod time;
pub mod workspace;
