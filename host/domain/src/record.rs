//! The decisions of the database's acts: pure functions from the rows loaded to the changes to write.
//!
//! Each act is load, decide, apply. A store loads a snapshot in few statements, a function here decides, and the store
//! writes the [`Changes`] in the same transaction. So each rule exists once, whatever the database engine, and a test
//! passes a snapshot and checks the changes. Time and generated ids are arguments.
// Documentation that would only repeat a name is left out.
#![allow(missing_docs)]

pub mod attempt;
pub mod change;
pub mod contact;
pub mod conversation;
pub mod echo;
pub mod erase;
pub mod fan_out;
pub mod inbound;
#[cfg(test)]
mod laws;
pub mod message;
pub mod outbound;
pub mod queue;
pub mod rows;
pub mod settle;
pub mod states;
pub mod versions;
pub mod window_events;

pub use attempt::RequestRecord;
pub use change::{About, Changes, NewEvent, Tracked};
pub use contact::{ContactChange, StoredContact};
pub use conversation::StoredConversation;
pub use message::{MessageUpdate, StoredMessage};
