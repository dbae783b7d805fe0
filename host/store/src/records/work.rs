//! Work that one node at a time does for a channel.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

/// A kind of work for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Renewing its credential.
    Renewal,
    /// Polling its platform.
    Poll,
    /// Reading its history.
    History,
}

impl WorkKind {
    /// The longest time that a node has the work, if it lives so long.
    pub(crate) fn lease(self) -> Duration {
        match self {
            Self::Renewal | Self::Poll => limits::LEASE,
            Self::History => limits::HISTORY_LEASE,
        }
    }
}

/// Work that a node has claimed, until it ends the work or dies, and within a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkLease {
    /// The channel.
    pub channel_id: ChannelId,
    /// The kind of work.
    pub kind: WorkKind,
    /// For a history: the moment from which it is read.
    pub since: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// The node.
    pub node: String,
    /// Rises with each claim, so that a node that lost the work cannot end another's.
    pub epoch: i64,
}

/// When work is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requeue {
    /// The moment.
    pub due_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
}
