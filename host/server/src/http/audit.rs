//! The audit log of changes.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_domain::caller::Caller;
use weir_domain::time::Timestamp;
use weir_store::AuditEntry;

use super::body::Params;
use super::caller::{Admin, May};
use super::list::{List, Paging};
use super::problem::ApiResult;
use crate::Host;

/// One entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    /// The time.
    at: Timestamp,
    /// The key, or `host`.
    actor: String,
    /// `app.put`, `connector.promote`, `key.create`, …
    action: String,
    /// The object that was changed.
    subject: String,
    /// The details, without secrets.
    #[schema(value_type = Object)]
    detail: Value,
}

/// List changes, newest first
#[utoipa::path(get, path = "/v1/audit-log", tag = "audit log", params(Paging), responses((status = 200, body = List<AuditView>)))]
pub(crate) async fn list(
    caller: May<Admin>,
    State(host): State<Host>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<AuditView>>> {
    let listed = host.store().audit_log(caller.workspace_id(), paging.page()?).await?;
    Ok(List::of(listed, |entry| AuditView {
        at: entry.at,
        actor: entry.actor,
        action: entry.action,
        subject: entry.subject,
        detail: entry.detail,
    }))
}

/// Writes a caller's change to the audit log. A failure here does not undo the change; it is logged.
pub(crate) async fn record(host: &Host, caller: &Caller, action: &str, subject: &str, detail: Value) {
    let entry = AuditEntry {
        at: host.now(),
        workspace_id: caller.workspace_id().to_owned(),
        actor: caller.key().to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail,
    };
    if let Err(error) = host.store().audit(entry).await {
        tracing::error!(%error, action, subject, "A change could not be written to the audit log");
    }
}
