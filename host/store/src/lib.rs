//! What Weir remembers. Each method of [`Store`] is one transaction, and says what it promises when two callers meet in it.
//!
//! What it promises as a whole: a webhook that was answered is here; a message that was accepted is in the outbox; an event
//! and what it tells of are written together; a worker that lost its lease can write nothing. What is allowed is judged by
//! [`weir_domain::policy`], inside the transaction that depends on it.
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
