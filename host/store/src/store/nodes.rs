//! Nodes: the hosts that use one database.

use async_trait::async_trait;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::db::Db;
use crate::engine::Engine;
use crate::tables::nodes;
use crate::{EndedNodes, Node, Result};

/// Nodes: the hosts that use one database. Leases of messages and deliveries, claims and duties have a node as their
/// owner, and end with it.
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Registers a start of the node `name`, with an epoch that was never used.
    async fn register_node(&self, name: &str, version: &str, now: Timestamp) -> Result<Node>;
    /// Stores a heartbeat. Returns false if the node was ended meanwhile: its work belongs to others now. It waits for
    /// no other work of this host.
    async fn beat(&self, node: &str, now: Timestamp) -> Result<bool>;
    /// All nodes by name, including those that died within [`limits::NODE_LISTED`].
    async fn nodes(&self) -> Result<Vec<Node>>;
    /// How many nodes are alive.
    async fn count_nodes(&self, now: Timestamp) -> Result<u32>;
    /// Ends the nodes that were silent for [`limits::NODE_DEAD`], except `own`, and releases the work that no living
    /// node owns: the next sweep settles messages, deliveries are due, requests are interrupted, duties are free.
    /// `node_time` is by the clock of heartbeats, `now` by that of leases: they differ where hosts follow a sandbox's
    /// clock.
    async fn end_dead_nodes(&self, own: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes>;
    /// The same for every node except `own`, for a host that knows that it is the only one.
    async fn end_other_nodes(&self, own: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes>;
    /// Removes a node that stops, and releases its work in the same way.
    async fn remove_node(&self, node: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes>;
    /// Acquires or renews duties for a node, for [`limits::DUTY`]: one node at a time has each. Returns those that it
    /// then has; none if the node was ended.
    async fn hold_duties(&self, duties: Vec<&'static str>, node: &str, now: Timestamp) -> Result<Vec<&'static str>>;
}

#[async_trait]
impl<E: Engine> Nodes for E {
    async fn register_node(&self, name: &str, version: &str, now: Timestamp) -> Result<Node> {
        let (name, version) = (name.to_owned(), version.to_owned());
        self.transact_first(move |db| nodes::register(db, &name, &version, now))
            .await
    }
    async fn beat(&self, node: &str, now: Timestamp) -> Result<bool> {
        let node = node.to_owned();
        self.transact_first(move |db| nodes::beat(db, &node, now)).await
    }
    async fn nodes(&self) -> Result<Vec<Node>> {
        self.read(nodes::all).await
    }
    async fn count_nodes(&self, now: Timestamp) -> Result<u32> {
        let since = now.before(limits::NODE_DEAD);
        self.lookup(move |db| nodes::count_alive(db, since)).await
    }
    async fn end_dead_nodes(&self, own: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes> {
        let (own, since) = (own.to_owned(), node_time.before(limits::NODE_DEAD));
        let node = own.clone();
        // Usually there is nothing to do, and reading costs less than writing.
        let lookup =
            move |db: &Db<'_>| Ok(nodes::silent(db, &node, since)?.is_empty() && !nodes::has_orphans(db, now)?);
        if self.read(lookup).await? {
            return Ok(EndedNodes::default());
        }
        self.write(move |db| nodes::end(db, nodes::silent(db, &own, since)?, node_time, now))
            .await
    }
    async fn end_other_nodes(&self, own: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes> {
        let own = own.to_owned();
        self.write(move |db| nodes::end(db, nodes::others(db, &own)?, node_time, now))
            .await
    }
    async fn remove_node(&self, node: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes> {
        let node = node.to_owned();
        self.write(move |db| nodes::remove(db, &node, node_time, now)).await
    }
    async fn hold_duties(&self, duties: Vec<&'static str>, node: &str, now: Timestamp) -> Result<Vec<&'static str>> {
        let node = node.to_owned();
        self.write(move |db| nodes::hold_duties(db, &duties, &node, now)).await
    }
}
