//! Nodes: the hosts that use one database.

use weir_domain::limits;
use weir_domain::time::Timestamp;

/// One start of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name and epoch: the owner of its leases, claims and duties.
    pub id: String,
    /// The configured name; several nodes may have the same.
    pub name: String,
    /// Rises with each start of any node, and is never used again.
    pub epoch: i64,
    /// The version of Weir.
    pub version: String,
    /// When it registered.
    pub started_at: Timestamp,
    /// Its last heartbeat.
    pub beat_at: Timestamp,
    /// When it stopped or was declared dead; from then on it owns nothing.
    pub ended_at: Option<Timestamp>,
    /// The duties that it has.
    pub duties: Vec<String>,
}

impl Node {
    /// Whether it has not ended and its heartbeat is recent.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && self.beat_at.after(limits::NODE_DEAD) > now
    }
}

/// What was ended with dead nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedNodes {
    /// Their ids.
    pub nodes: Vec<String>,
    /// Leases of messages and deliveries.
    pub leases: u32,
    /// Requests with an idempotency key.
    pub requests: u32,
}
