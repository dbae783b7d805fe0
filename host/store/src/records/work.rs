//! What one node at a time does for a channel.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

/// What is done for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Its credential is renewed.
    Renewal,
    /// Its platform is asked for what is new.
    Poll,
    /// Its history is read.
    History,
}

impl WorkKind {
    /// How long a node has it at most. It has it no longer than it lives.
    pub(crate) fn lease(self) -> Duration {
        match self {
            Self::Renewal | Self::Poll => limits::LEASE,
            Self::History => limits::HISTORY_LEASE,
        }
    }
}

/// Work that a node has taken, until it ends it or dies, and within a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkLease {
    /// The channel.
    pub channel_id: ChannelId,
    /// What is done.
    pub kind: WorkKind,
    /// For a history: since when it is read.
    pub since: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Who has it.
    pub node: String,
    /// Rises each time that it is taken, so that who lost it ends nobody else's.
    pub epoch: i64,
}

/// When work is done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkAgain {
    /// The moment.
    pub due_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
}
