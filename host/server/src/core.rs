//! The ground floor: what every room stands on, and which knows no room.

pub mod backup;
pub mod clock;
pub(crate) mod codes;
pub mod config;
pub(crate) mod cookie;
pub(crate) mod detached;
pub(crate) mod folder;
pub mod keyring;
pub mod metrics;
pub(crate) mod persist;
pub(crate) mod platform_clocks;
pub(crate) mod pulse;
pub(crate) mod refusals;
pub mod reseal;
pub mod traces;
pub mod worker;
