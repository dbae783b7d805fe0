//! Workspaces: tenants. A key acts for one, and sees no other; the operator's key creates and deletes them.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_domain::caller::{Caller, Scope};
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_domain::workspace::{self, InUse, Workspace};
use weir_store::RemoveWorkspaceError;

use super::audit::record;
use super::body::Json;
use super::caller::{Admin, InChannels, May, OnHost, Read};
use super::codes;
use super::list::List;
use super::problem::{ApiResult, Problem};
use crate::Host;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkspaceView {
    /// Its name, which is its id.
    id: String,
    /// When it was created; 1970 for `default`, which always exists.
    created_at: Timestamp,
}

impl WorkspaceView {
    fn of(workspace: Workspace) -> Self {
        Self {
            id: workspace.id,
            created_at: workspace.created_at,
        }
    }
}

/// A workspace to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "acme"}))]
pub(crate) struct NewWorkspace {
    /// Its name, which is its permanent id: a letter, then lower-case letters, digits and hyphens.
    #[schema(max_length = 63)]
    id: String,
}

/// The workspace, if the caller may see it.
async fn find(host: &Host, caller: &Caller, id: &str) -> ApiResult<Workspace> {
    let found = host.store().workspace(id).await?;
    found
        .filter(|found| found.id == caller.workspace_id() || caller.may_on_host(Scope::Admin).is_ok())
        .ok_or_else(|| Problem::of(&codes::NOT_FOUND).detail("there is no such workspace"))
}

/// List workspaces that the key may see
///
/// All of them for the operator's key with `admin`; for any other key its own.
#[utoipa::path(get, path = "/v1/workspaces", tag = "workspaces", responses((status = 200, body = List<WorkspaceView>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
) -> ApiResult<JsonBody<List<WorkspaceView>>> {
    let seen = if caller.may_on_host(Scope::Admin).is_ok() {
        host.store().workspaces().await?
    } else {
        host.store()
            .workspace(caller.workspace_id())
            .await?
            .into_iter()
            .collect()
    };
    Ok(List::whole(seen.into_iter().map(WorkspaceView::of).collect()))
}

/// Create a workspace
///
/// Create its first key with `workspace_id` of `POST /v1/keys`.
#[utoipa::path(post, path = "/v1/workspaces", operation_id = "create_workspace", tag = "workspaces", request_body = NewWorkspace,
    responses((status = 201, body = WorkspaceView)))]
pub(crate) async fn create(
    caller: May<Admin, OnHost>,
    State(host): State<Host>,
    Json(body): Json<NewWorkspace>,
) -> ApiResult<(StatusCode, JsonBody<WorkspaceView>)> {
    if !workspace::is_name(&body.id) {
        return Err(Problem::member(
            "/id",
            "write 1 to 63 of a-z, 0-9 and -, beginning with a letter",
        ));
    }
    if host.store().workspaces().await?.len() >= limits::WORKSPACES {
        return Err(Problem::of(&codes::WORKSPACE_TAKEN).detail(format_args!(
            "the host has {} workspaces, its maximum; delete one",
            limits::WORKSPACES
        )));
    }
    let new = Workspace {
        id: body.id,
        created_at: host.now(),
    };
    if !host.store().insert_workspace(new.clone()).await? {
        return Err(Problem::of(&codes::WORKSPACE_TAKEN).detail(format_args!(
            "there is a workspace {:?}, or one of this name is still being removed",
            new.id
        )));
    }
    record(&host, &caller, "workspace.create", &new.id, serde_json::json!({})).await;
    Ok((StatusCode::CREATED, JsonBody(WorkspaceView::of(new))))
}

/// Get a workspace
#[utoipa::path(get, path = "/v1/workspaces/{id}", operation_id = "get_workspace", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's name")), responses((status = 200, body = WorkspaceView)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Path(id): Path<String>,
) -> ApiResult<JsonBody<WorkspaceView>> {
    Ok(JsonBody(WorkspaceView::of(find(&host, &caller, &id).await?)))
}

/// Delete a workspace, with everything in it
///
/// Refused while it has channels that are not deleted. Its keys, sessions, apps and endpoints end immediately; the rest
/// is deleted in the background, after a restart too.
#[utoipa::path(delete, path = "/v1/workspaces/{id}", operation_id = "delete_workspace", tag = "workspaces",
    params(("id" = String, Path, description = "The workspace's name")), responses((status = 204, description = "It is deleted")))]
pub(crate) async fn remove(
    caller: May<Admin, OnHost>,
    State(host): State<Host>,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let removed = host.workspaces.remove(&id).await.map_err(|error| match error {
        RemoveWorkspaceError::InUse(reason) => {
            let problem = Problem::of(&codes::WORKSPACE_IN_USE).detail(reason);
            match reason {
                InUse::HasChannels { channels } => problem.with("channels", channels),
                InUse::Operators => problem,
            }
        }
        RemoveWorkspaceError::Store(error) => error.into(),
    })?;
    if !removed {
        return Err(Problem::of(&codes::NOT_FOUND).detail("there is no such workspace"));
    }
    record(&host, &caller, "workspace.remove", &id, serde_json::json!({})).await;
    Ok(StatusCode::NO_CONTENT)
}
