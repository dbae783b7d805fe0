//! Accounts: how they are connected, what keeps them so, and what can be asked of their platform.

pub mod ads;
pub(crate) mod automations;
pub mod calls;
pub(crate) mod channel_test;
pub mod connect;
pub(crate) mod contacts;
pub(crate) mod credentials;
pub mod diagnosis;
pub mod entry_points;
pub(crate) mod expiry;
pub mod features;
pub(crate) mod oauth;
pub mod refresher;
