//! The database of Weir. Each method of [`Store`] is one transaction, and documents its guarantee for concurrent
//! callers.
//!
//! Its guarantees as a whole: a webhook that was acknowledged is stored; a message that was accepted is in the outbox;
//! an event and the change that it reports are written together; a worker that lost its lease can write nothing.
//! [`weir_domain::policy`] decides what is allowed, inside the transaction that depends on it.
//!
//! A backend passes the suite in `conformance`; nothing outside this crate knows which one it is.
#![forbid(unsafe_code)]

mod acts;
mod bulk;
mod claims;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod db;
mod engine;
mod error;
mod group;
mod kill_point;
mod meta;
mod moving;
mod postgres;
mod records;
mod reseal;
mod sqlite;
pub mod store;
mod tables;
mod vault;

pub use claims::{HeldClaim, carried, for_claim};
pub use error::{EnqueueError, RemoveWorkspaceError, Result, StageError, StoreError};
pub use kill_point::kill_point;
pub use moving::{Act, Location, Moved, MovedTable, Progress, move_record, reopen};
pub use postgres::{PostgresStore, ServerFacts};
pub use records::*;
pub use sqlite::SqliteStore;
pub use store::Store;
pub use vault::MasterKey;

#[cfg(test)]
mod documents;
