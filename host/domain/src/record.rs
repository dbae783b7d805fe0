//! What the acts of the record decide: pure functions from what was loaded to what is written.
//!
//! Each act is load, decide, apply. A store loads a snapshot in few statements, a function here decides, and the store writes
//! the [`Changes`] in the same transaction. So the rules stand once, whatever database is behind them, and a test gives a
//! snapshot and looks at the changes. Time and minted ids are arguments.
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
