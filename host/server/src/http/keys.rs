//! API keys. The key itself is shown once; the database stores its digest.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonBody};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_domain::caller::{self, Key, Scope};
use weir_domain::id::{ChannelId, KeyId};
use weir_domain::limits;
use weir_domain::time::Timestamp;

use super::audit::record;
use super::body::{Json, Named, Params};
use super::caller::{Admin, May};
use super::idempotency::KeepInstead;
use super::list::List;
use super::problem::{ApiResult, Problem};
use crate::Host;

/// Longest name.
const NAME_CHARS: usize = 200;

/// A key to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "crm", "scopes": ["read", "messages:write"]}))]
pub(crate) struct NewKey {
    /// A label for people.
    name: String,
    /// Its scopes.
    scopes: BTreeSet<Scope>,
    /// The channels to which it is restricted: it can read and change nothing else. Default: all channels of the
    /// workspace.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 100)]
    channel_ids: Option<BTreeSet<ChannelId>>,
    /// When it expires; default: never.
    expires_at: Option<Timestamp>,
    /// The workspace of the key, if it is not the caller's; for the operator of the host.
    workspace_id: Option<String>,
}

/// A filter of keys.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfWorkspace {
    /// Of this workspace; default: the caller's. Others are for the operator of the host.
    pub(crate) workspace_id: Option<String>,
}

/// A key, without the secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Its id.
    id: KeyId,
    /// A label for people.
    name: String,
    /// The first characters, by which it is recognized.
    prefix: String,
    /// Its scopes.
    scopes: BTreeSet<Scope>,
    /// The channels to which it is restricted; null means all of the workspace.
    channel_ids: Option<BTreeSet<ChannelId>>,
    /// The key itself. Shown once, at its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// When it was created.
    created_at: Timestamp,
    /// When it expires.
    expires_at: Option<Timestamp>,
    /// When it was revoked.
    revoked_at: Option<Timestamp>,
}

impl KeyView {
    fn of(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            channel_ids: Some(key.channels).filter(|channels| !channels.is_empty()),
            key: None,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// List keys, oldest first
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(OfWorkspace), responses((status = 200, body = List<KeyView>)))]
pub(crate) async fn list(
    caller: May<Admin>,
    State(host): State<Host>,
    Params(of): Params<OfWorkspace>,
) -> ApiResult<JsonBody<List<KeyView>>> {
    let workspace = caller.workspace_of(of.workspace_id.as_deref(), Scope::Admin)?;
    let keys = host.store().keys(&workspace).await?;
    Ok(List::whole(keys.into_iter().map(KeyView::of).collect()))
}

/// Create a key
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = NewKey, responses((status = 201, body = KeyView)))]
pub(crate) async fn create(
    caller: May<Admin>,
    State(host): State<Host>,
    Json(body): Json<NewKey>,
) -> ApiResult<Response> {
    let now = host.now();
    if body.name.trim().is_empty() || body.name.chars().count() > NAME_CHARS {
        return Err(Problem::member(
            "/name",
            format_args!("write 1 to {NAME_CHARS} characters"),
        ));
    }
    if body.scopes.is_empty() {
        return Err(Problem::member("/scopes", "name at least one"));
    }
    let workspace = caller.workspace_of(body.workspace_id.as_deref(), Scope::Admin)?;
    if workspace != caller.workspace_id() && host.store().workspace(&workspace).await?.is_none() {
        return Err(Problem::member("/workspace_id", "there is no such workspace"));
    }
    let channels = bound(&host, &workspace, &body.scopes, body.channel_ids).await?;
    if body.expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::member("/expires_at", "it is in the past"));
    }
    let text = caller::new_key(host.mint());
    let prefix = caller::prefix(&text).ok_or_else(|| Problem::internal("a new key is too short"))?;
    let key = Key {
        id: host.mint().id(now),
        workspace_id: workspace,
        name: body.name,
        prefix: prefix.to_owned(),
        digest: caller::digest(&text),
        scopes: body.scopes,
        channels,
        created_at: now,
        expires_at: body.expires_at,
        revoked_at: None,
    };
    host.store().insert_key(key.clone()).await?;
    let changed = serde_json::json!({
        "name": key.name, "scopes": key.scopes, "channel_ids": key.channels, "workspace_id": key.workspace_id,
    });
    record(&host, &caller, "key.create", &key.id.to_string(), changed).await;
    let view = KeyView::of(key);
    let kept = KeepInstead(serde_json::to_value(&view).unwrap_or_default());
    let shown = KeyView {
        key: Some(text),
        ..view
    };
    Ok((StatusCode::CREATED, Extension(kept), JsonBody(shown)).into_response())
}

/// The channels to which a new key is restricted; all if empty.
async fn bound(
    host: &Host,
    workspace: &str,
    scopes: &BTreeSet<Scope>,
    channels: Option<BTreeSet<ChannelId>>,
) -> ApiResult<BTreeSet<ChannelId>> {
    let Some(channels) = channels else {
        return Ok(BTreeSet::new());
    };
    if !(1..=limits::CHANNELS_PER_KEY).contains(&channels.len()) {
        let right = format_args!("name 1 to {} channels, or leave it out", limits::CHANNELS_PER_KEY);
        return Err(Problem::member("/channel_ids", right));
    }
    if let Some(scope) = scopes.iter().find(|scope| !scope.is_within_channels()) {
        let words = format_args!(
            "{} concerns the whole workspace: a key that is restricted to channels cannot have it",
            scope.as_str()
        );
        return Err(Problem::member("/scopes", words));
    }
    for id in &channels {
        if host.store().channel(workspace, *id).await?.is_none() {
            let words = format_args!("there is no channel {id} in the workspace");
            return Err(Problem::member("/channel_ids", words));
        }
    }
    Ok(channels)
}

/// Revoke a key
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = KeyId, Path), OfWorkspace), responses((status = 204)))]
pub(crate) async fn revoke(
    caller: May<Admin>,
    State(host): State<Host>,
    Named(id): Named<KeyId>,
    Params(of): Params<OfWorkspace>,
) -> ApiResult<StatusCode> {
    let workspace = caller.workspace_of(of.workspace_id.as_deref(), Scope::Admin)?;
    if !host.store().revoke_key(&workspace, id, host.now()).await? {
        return Err(Problem::no_such("key"));
    }
    host.core.keys_ended();
    record(&host, &caller, "key.revoke", &id.to_string(), serde_json::json!({})).await;
    Ok(StatusCode::NO_CONTENT)
}
