//! Dead letters: verified webhooks that a connector could not translate, kept until a version can.

use std::collections::BTreeSet;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::id::DeadLetterId;
use weir_domain::time::Timestamp;
use weir_store::{DeadLetter, Recorded};

use super::audit::record;
use super::body::{Named, Params};
use super::caller::{EventsWrite, May, Read};
use super::codes;
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use crate::Host;
use crate::messages::dead_letters::ReplayError;

/// A verified webhook that could not be translated.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterView {
    /// Its id.
    id: DeadLetterId,
    /// The app that received it.
    app: String,
    /// The connector's version that failed.
    version: String,
    /// The reason, for a person.
    reason: String,
    /// When it was received.
    received_at: Timestamp,
    /// The body, if it is text; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body in Base64, if it is not text; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// The result of a replay.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// Events that were new.
    stored: u32,
    /// Events that were already recorded.
    duplicates: u32,
    /// Events for accounts that the app does not know.
    unknown_channel: u32,
    /// Events for deleted channels.
    deleted_channel: u32,
}

impl From<Recorded> for Replayed {
    fn from(recorded: Recorded) -> Self {
        Self {
            stored: recorded.stored,
            duplicates: recorded.duplicates,
            unknown_channel: recorded.unknown_channel,
            deleted_channel: recorded.deleted_channel,
        }
    }
}

impl DeadLetterView {
    fn of(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            app: letter.app,
            version: letter.version,
            reason: letter.reason,
            received_at: letter.received_at,
            body: None,
            body_base64: None,
        }
    }

    fn whole(letter: DeadLetter) -> Self {
        let body = letter.webhook.body.clone();
        let mut view = Self::of(letter);
        match std::str::from_utf8(&body) {
            Ok(text) => view.body = Some(text.to_owned()),
            Err(_) => view.body_base64 = Some(BASE64_STANDARD.encode(&body)),
        }
        view
    }
}

/// Names of the workspace's apps: a dead letter belongs to its app's workspace.
async fn apps_of(host: &Host, workspace: &str) -> ApiResult<BTreeSet<String>> {
    let apps = host.store().apps().await?.into_iter();
    Ok(apps
        .filter(|app| app.workspace_id == workspace)
        .map(|app| app.name)
        .collect())
}

async fn find(host: &Host, workspace: &str, id: DeadLetterId) -> ApiResult<DeadLetter> {
    let letter = host.store().dead_letter(workspace, id).await?;
    letter.ok_or_else(|| Problem::no_such("dead letter"))
}

/// List dead letters, newest first
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(Paging), responses((status = 200, body = List<DeadLetterView>)))]
pub(crate) async fn list(
    caller: May<Read>,
    State(host): State<Host>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<DeadLetterView>>> {
    let page = paging.page()?;
    let apps = apps_of(&host, caller.workspace_id()).await?;
    let listed = host.store().dead_letters(apps, page).await?;
    Ok(List::of(listed, DeadLetterView::of))
}

/// Get a dead letter with its body
#[utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "dead letters", params(("id" = DeadLetterId, Path)), responses((status = 200, body = DeadLetterView)))]
pub(crate) async fn get(
    caller: May<Read>,
    State(host): State<Host>,
    Named(id): Named<DeadLetterId>,
) -> ApiResult<JsonBody<DeadLetterView>> {
    Ok(JsonBody(DeadLetterView::whole(
        find(&host, caller.workspace_id(), id).await?,
    )))
}

/// Replay a dead letter with the active version
#[utoipa::path(post, path = "/v1/dead-letters/{id}/replay", tag = "dead letters", params(("id" = DeadLetterId, Path)), responses((status = 200, body = Replayed)))]
pub(crate) async fn replay(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<DeadLetterId>,
) -> ApiResult<JsonBody<Replayed>> {
    find(&host, caller.workspace_id(), id).await?;
    let recorded = host.dead_letters.replay(caller.workspace_id(), id).await?;
    record(
        &host,
        &caller,
        "dead_letter.replay",
        &id.to_string(),
        serde_json::json!({ "stored": recorded.stored }),
    )
    .await;
    Ok(JsonBody(recorded.into()))
}

/// Delete a dead letter
#[utoipa::path(delete, path = "/v1/dead-letters/{id}", tag = "dead letters", params(("id" = DeadLetterId, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    caller: May<EventsWrite>,
    State(host): State<Host>,
    Named(id): Named<DeadLetterId>,
) -> ApiResult<StatusCode> {
    let letter = find(&host, caller.workspace_id(), id).await?;
    host.store().drop_dead_letter(caller.workspace_id(), id).await?;
    record(
        &host,
        &caller,
        "dead_letter.drop",
        &id.to_string(),
        serde_json::json!({ "app": letter.app }),
    )
    .await;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::NotFound => Self::no_such("dead letter"),
            ReplayError::Store(error) => error.into(),
            ReplayError::NoSuchApp(_) | ReplayError::Connector(_) | ReplayError::StillUnknown { .. } => {
                Self::of(&codes::REPLAY_FAILED).detail(&error)
            }
        }
    }
}
