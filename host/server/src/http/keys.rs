//! API keys. The key itself is shown once; the record has its digest.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answered};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_domain::caller::{self, Key, Scope};
use weir_domain::id::KeyId;
use weir_domain::time::Timestamp;

use super::audit::record;
use super::body::{Json, Named};
use super::caller::{Admin, May};
use super::idempotency::KeepInstead;
use super::list::List;
use super::problem::{Answer, Problem};
use crate::Host;

/// Longest name.
const NAME_CHARS: usize = 200;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "crm", "scopes": ["read", "messages:write"]}))]
pub(crate) struct NewKey {
    /// What a person calls it.
    name: String,
    /// What it may be used for.
    scopes: BTreeSet<Scope>,
    /// When it stops working; never if left out.
    expires_at: Option<Timestamp>,
}

/// A key, without the key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Its id.
    id: KeyId,
    /// What a person calls it.
    name: String,
    /// The first characters, by which it is recognised.
    prefix: String,
    /// What it may be used for.
    scopes: BTreeSet<Scope>,
    /// The key itself. Shown once: when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it stops working.
    expires_at: Option<Timestamp>,
    /// When it was taken back.
    revoked_at: Option<Timestamp>,
}

impl KeyView {
    fn of(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes,
            key: None,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// List keys, oldest first
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = List<KeyView>)))]
pub(crate) async fn list(caller: May<Admin>, State(host): State<Host>) -> Answer<Answered<List<KeyView>>> {
    let keys = host.store().keys(caller.workspace_id()).await?;
    Ok(List::whole(keys.into_iter().map(KeyView::of).collect()))
}

/// Make a key
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = NewKey, responses((status = 201, body = KeyView)))]
pub(crate) async fn create(caller: May<Admin>, State(host): State<Host>, Json(body): Json<NewKey>) -> Answer<Response> {
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
    if body.expires_at.is_some_and(|end| end <= now) {
        return Err(Problem::member("/expires_at", "it is in the past"));
    }
    let text = caller::new_key(host.mint());
    let prefix = caller::prefix(&text).ok_or_else(|| Problem::internal("a new key is too short"))?;
    let key = Key {
        id: host.mint().id(now),
        workspace_id: caller.workspace_id().to_owned(),
        name: body.name,
        prefix: prefix.to_owned(),
        digest: caller::digest(&text),
        scopes: body.scopes,
        created_at: now,
        expires_at: body.expires_at,
        revoked_at: None,
    };
    host.store().insert_key(key.clone()).await?;
    let changed = serde_json::json!({ "name": key.name, "scopes": key.scopes });
    record(&host, &caller, "key.create", &key.id.to_string(), changed).await;
    let view = KeyView::of(key);
    let kept = KeepInstead(serde_json::to_value(&view).unwrap_or_default());
    let shown = KeyView {
        key: Some(text),
        ..view
    };
    Ok((StatusCode::CREATED, Extension(kept), Answered(shown)).into_response())
}

/// Revoke a key
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", params(("id" = KeyId, Path)), responses((status = 204)))]
pub(crate) async fn revoke(
    caller: May<Admin>,
    State(host): State<Host>,
    Named(id): Named<KeyId>,
) -> Answer<StatusCode> {
    if !host.store().revoke_key(caller.workspace_id(), id, host.now()).await? {
        return Err(Problem::no_such("key"));
    }
    host.keys_ended();
    record(&host, &caller, "key.revoke", &id.to_string(), serde_json::json!({})).await;
    Ok(StatusCode::NO_CONTENT)
}
