//! Attempts to send a message. While one is open it is the outbox's row that says so; it is written down when it ends.

use serde::{Deserialize, Serialize};

use crate::id::MessageId;
use crate::message::MessageError;
use crate::time::Timestamp;

/// One request that left, or was refused, in an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The route; empty if none fitted.
    pub route: String,
    pub method: String,
    /// Without its query.
    pub url: String,
    pub at: Timestamp,
    /// Of the answer.
    pub status: Option<u16>,
    pub elapsed_ms: u64,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// An attempt that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedAttempt {
    pub message: MessageId,
    pub number: i64,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// `sent`, `retry`, `held`, `uncertain`, `failed`.
    pub outcome: &'static str,
    pub error: Option<MessageError>,
    pub requests: Vec<RequestRecord>,
}
