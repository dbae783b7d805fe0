//! Nodes: the hosts that use the database.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::time::Timestamp;
use weir_store::Node;

use super::caller::{May, OnHost, Read};
use super::list::List;
use super::problem::ApiResult;
use crate::Host;

/// One start of a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeView {
    /// Its name and a unique number.
    id: String,
    /// As configured: `[node] name`, or the name of the machine.
    name: String,
    /// The version of Weir.
    version: String,
    /// Whether it is alive.
    state: NodeState,
    /// When it started.
    started_at: Timestamp,
    /// Its last heartbeat; for the only host of a SQLite database the current time.
    last_beat_at: Timestamp,
    /// The duties that it currently performs for all nodes.
    duties: Vec<String>,
    /// Whether this node sent the response.
    is_this: bool,
}

/// Whether a node is alive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeState {
    /// It sends a heartbeat every two seconds.
    Alive,
    /// It sent no heartbeat for ten seconds; the others take over its work.
    Dead,
}

/// List the nodes
///
/// The hosts that use the database, by name. A stopped one is not listed; a dead one is listed for a day. For
/// operators.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", responses((status = 200, body = List<NodeView>)))]
pub(crate) async fn list(_: May<Read, OnHost>, State(host): State<Host>) -> ApiResult<JsonBody<List<NodeView>>> {
    let (now, this) = (host.core.node_time(), host.core.node.id());
    let is_shared = host.core.node.is_shared();
    let show = |node: Node| {
        let is_this = node.id == this;
        NodeView {
            // A silent node is ended by another one within a second of its deadline.
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
