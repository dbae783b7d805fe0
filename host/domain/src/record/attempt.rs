//! Attempts to send a message. An open attempt is part of the outbox's row; it is stored on its own when it ends.

use serde::{Deserialize, Serialize};

use crate::id::MessageId;
use crate::message::MessageError;
use crate::time::Timestamp;

/// One request of an attempt that was sent, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The route; empty if none matched.
    pub route: String,
    pub method: String,
    /// Without its query.
    pub url: String,
    pub at: Timestamp,
    /// The response's status.
    pub status: Option<u16>,
    pub elapsed_ms: u64,
    /// Why there is no response.
    pub error: Option<String>,
}

/// An attempt that ended.
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
