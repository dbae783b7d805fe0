//! Workspaces: tenants. A key acts for one, and sees no other.

use axum::Json as Answered;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{InChannels, May, Read};
use super::list::List;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkspaceView {
    /// Its name, which is its id.
    id: String,
}

/// List workspaces that the key may see
#[utoipa::path(get, path = "/v1/workspaces", tag = "workspaces", responses((status = 200, body = List<WorkspaceView>)))]
pub(crate) async fn list(caller: May<Read, InChannels>) -> Answered<List<WorkspaceView>> {
    List::whole(vec![WorkspaceView {
        id: caller.workspace_id().to_owned(),
    }])
}
