//! Nodes: the hosts that use the record.

use axum::Json as Answered;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::time::Timestamp;
use weir_store::Node;

use super::caller::{May, OnHost, Read};
use super::list::List;
use super::problem::Answer;
use crate::Host;

/// One start of a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeView {
    /// Its name and a number that no other start has.
    id: String,
    /// As configured: `[node] name`, or the name of the machine.
    name: String,
    /// The version of Weir.
    version: String,
    /// Whether it works.
    state: NodeState,
    /// When it started.
    started_at: Timestamp,
    /// When it last said that it is alive; of the only host of a SQLite database now.
    last_beat_at: Timestamp,
    /// What it alone does for all nodes at the moment.
    duties: Vec<String>,
    /// Whether this answer is from it.
    is_this: bool,
}

/// Whether a node works.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeState {
    /// It says so every two seconds.
    Alive,
    /// It was silent for ten seconds; the others go on with its work.
    Dead,
}

/// List the nodes
///
/// The hosts that use the database, by name. One that stopped is not listed; one that died is for a day. For operators.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", responses((status = 200, body = List<NodeView>)))]
pub(crate) async fn list(_: May<Read, OnHost>, State(host): State<Host>) -> Answer<Answered<List<NodeView>>> {
    let (now, this) = (host.core.node_time(), host.core.node.id());
    let is_shared = host.core.node.is_shared();
    let show = |node: Node| {
        let is_this = node.id == this;
        NodeView {
            // One that is silent is ended by another within a second of its time.
            state: match node.ended_at {
                None => NodeState::Alive,
                Some(_) => NodeState::Dead,
            },
            last_beat_at: if is_this && !is_shared { now } else { node.beat_at },
            id: node.id,
            name: node.name,
            version: node.version,
            started_at: node.started_at,
            duties: node.duties,
            is_this,
        }
    };
    Ok(List::whole(host.store().nodes().await?.into_iter().map(show).collect()))
}
