//! Apps: our registrations with platforms' developer portals.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use weir_domain::caller::Scope;
use weir_domain::credential::Secret;
use weir_domain::policy::OriginMap;
use weir_domain::time::Timestamp;
use weir_store::App;

use super::audit::record;
use super::body::Json;
use super::caller::{ConnectorsWrite, May, Read};
use super::codes;
use super::list::List;
use super::problem::{ApiResult, Problem};
use crate::Host;
use crate::connectors::apps::PutAppError;
use crate::connectors::forged::RefusedWebhooks;

/// An app's settings, as the operator enters them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"connector": "tiktok", "settings": {}, "secrets": {"client_key": "…", "client_secret": "…"}, "origins": {}}))]
pub(crate) struct PutApp {
    /// The connector that serves it.
    connector: String,
    /// By their names in the connector's manifest.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: BTreeMap<String, Value>,
    /// Write-only: one text, or several during a rotation, the newest first. An omitted name keeps its value.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Value>)]
    secrets: BTreeMap<String, SecretTexts>,
    /// Platform origins mapped to others, for example to a sandbox.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    origins: OriginMap,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SecretTexts {
    One(Secret),
    Several(Vec<Secret>),
}

impl SecretTexts {
    fn into_vec(self) -> Vec<Secret> {
        match self {
            Self::One(secret) => vec![secret],
            Self::Several(secrets) => secrets,
        }
    }
}

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppView {
    /// Its name, in the webhook's URL.
    name: String,
    /// The connector that serves it.
    connector: String,
    /// The operator's settings.
    #[schema(value_type = Object)]
    settings: Value,
    /// Names of its secrets; the secrets themselves are never shown.
    secrets: Vec<String>,
    /// Names of the secrets whose previous values are still valid.
    rotating: Vec<String>,
    /// When the previous values expire; null if there are none, or they do not expire.
    old_secrets_until: Option<Timestamp>,
    /// Platform origins mapped to others.
    #[schema(value_type = BTreeMap<String, String>)]
    origins: OriginMap,
    /// The webhook URL to enter at the platform.
    webhook_url: String,
    /// The redirect URI to enter at the platform.
    redirect_url: String,
    /// How far the platform's clock is ahead of this host's, in milliseconds; negative when it is behind, 0 while
    /// unknown.
    clock_offset_ms: i64,
    /// Webhooks that were rejected since the host started because of an invalid signature; null if there were none.
    refused_webhooks: Option<RefusedWebhooks>,
    /// When it was created.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl AppView {
    fn of(app: App, host: &Host) -> Self {
        Self {
            rotating: app
                .secrets_at(host.now())
                .iter()
                .filter(|(_, secrets)| secrets.len() > 1)
                .map(|(name, _)| name.clone())
                .collect(),
            old_secrets_until: app.old_secrets_until.filter(|until| host.now() < *until),
            webhook_url: host.config().public(&format!("/hooks/{}", app.name)),
            redirect_url: host.config().public("/oauth/callback"),
            clock_offset_ms: host.core.clock_offset(&app.name).as_millis(),
            refused_webhooks: host.connectors.forged.of(&app.name),
            name: app.name,
            connector: app.connector,
            settings: app.settings,
            secrets: app.secrets.into_keys().collect(),
            origins: app.origins,
            created_at: app.created_at,
            updated_at: app.updated_at,
        }
    }
}

/// List apps
#[utoipa::path(get, path = "/v1/apps", tag = "apps", responses((status = 200, body = List<AppView>)))]
pub(crate) async fn list(caller: May<Read>, State(host): State<Host>) -> ApiResult<JsonBody<List<AppView>>> {
    let apps = host.store().apps().await?;
    let ours = apps.into_iter().filter(|app| app.workspace_id == caller.workspace_id());
    Ok(List::whole(ours.map(|app| AppView::of(app, &host)).collect()))
}

/// Get an app
#[utoipa::path(get, path = "/v1/apps/{name}", tag = "apps", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = AppView)))]
pub(crate) async fn get(
    caller: May<Read>,
    State(host): State<Host>,
    Path(name): Path<String>,
) -> ApiResult<JsonBody<AppView>> {
    let app = host
        .store()
        .app(&name)
        .await?
        .filter(|app| app.workspace_id == caller.workspace_id());
    Ok(JsonBody(AppView::of(
        app.ok_or_else(|| Problem::no_such("app"))?,
        &host,
    )))
}

/// Create or replace an app
#[utoipa::path(put, path = "/v1/apps/{name}", tag = "apps", params(("name" = String, Path, description = "Lower-case letters, digits and hyphens")),
    request_body = PutApp, responses((status = 200, body = AppView)))]
pub(crate) async fn put(
    caller: May<ConnectorsWrite>,
    State(host): State<Host>,
    Path(name): Path<String>,
    Json(body): Json<PutApp>,
) -> ApiResult<JsonBody<AppView>> {
    if !is_name(&name) {
        return Err(Problem::parameter(
            "name",
            "write 1 to 63 of a-z, 0-9 and -, beginning with a letter",
        ));
    }
    let before = host.store().app(&name).await?;
    // The name is part of a URL that platforms call, so it is unique across the host.
    if before
        .as_ref()
        .is_some_and(|app| app.workspace_id != caller.workspace_id())
    {
        return Err(Problem::parameter("name", "another workspace has an app of this name"));
    }
    let is_same = |before: &App| before.origins == body.origins;
    if body.origins.leads_to_loopback() && !before.as_ref().is_some_and(is_same) {
        caller.may_on_host(Scope::ConnectorsWrite).map_err(|denied| {
            Problem::from(denied).detail(
                "an origin on this machine reaches any program that listens here, so only a key of the workspace \"default\" may set it",
            )
        })?;
    }
    // Values that the operator lists are valid until the list changes; values that a rotation kept are valid until they
    // expire.
    let lists_several = body
        .secrets
        .values()
        .any(|texts| matches!(texts, SecretTexts::Several(texts) if texts.len() > 1));
    let old_secrets_until = before
        .as_ref()
        .and_then(|app| app.old_secrets_until)
        .filter(|_| !lists_several);
    let now = host.now();
    let mut secrets = before
        .as_ref()
        .map(|app| app.secrets_at(now).into_owned())
        .unwrap_or_default();
    for (secret, texts) in body.secrets {
        let texts = texts.into_vec();
        check(&secret, &texts)?;
        if texts.is_empty() {
            secrets.remove(&secret);
        } else {
            secrets.insert(secret, texts);
        }
    }
    let app = App {
        old_secrets_until,
        name: name.clone(),
        workspace_id: caller.workspace_id().to_owned(),
        connector: body.connector,
        settings: Value::Object(body.settings.into_iter().collect()),
        secrets,
        origins: body.origins,
        created_at: before.map_or(now, |app| app.created_at),
        updated_at: now,
    };
    host.connectors.apps.put(app.clone()).await?;
    let changed = serde_json::json!({
        "connector": app.connector, "origins": app.origins, "secrets": app.secrets.keys().collect::<Vec<_>>(),
    });
    record(&host, &caller, "app.put", &name, changed).await;
    Ok(JsonBody(AppView::of(app, &host)))
}

/// A new secret, and how long the previous one remains valid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"secrets": {"client_secret": "…"}, "overlap_s": 86400}))]
pub(crate) struct RotateSecrets {
    /// Write-only: the new ones, by their names in the connector's manifest.
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, Secret>,
    /// Seconds for which the previous values remain valid; default: one day.
    overlap_s: Option<u32>,
}

/// How long a previous secret remains valid by default: a platform may take some time to sign with the new one
/// everywhere, and redelivers for days webhooks that it signed with the old one.
const OVERLAP_S: u32 = 24 * 3_600;
/// The longest overlap: for a longer one, list both values in the app.
const LONGEST_OVERLAP_S: u32 = 30 * 24 * 3_600;

/// Rotate an app's secrets
///
/// The previous secrets remain valid for a while: webhooks signed with either are accepted. Requests use the new ones
/// immediately.
#[utoipa::path(post, path = "/v1/apps/{name}/secrets/rotate", operation_id = "rotate_app_secrets", tag = "apps",
    params(("name" = String, Path, description = "The app's name")), request_body = RotateSecrets, responses((status = 200, body = AppView)))]
pub(crate) async fn rotate(
    caller: May<ConnectorsWrite>,
    State(host): State<Host>,
    Path(name): Path<String>,
    Json(body): Json<RotateSecrets>,
) -> ApiResult<JsonBody<AppView>> {
    let overlap = body.overlap_s.unwrap_or(OVERLAP_S);
    if overlap > LONGEST_OVERLAP_S {
        return Err(Problem::member(
            "/overlap_s",
            format_args!("at most {LONGEST_OVERLAP_S} seconds"),
        ));
    }
    if body.secrets.is_empty() {
        return Err(Problem::member("/secrets", "name at least one"));
    }
    let app = host.store().app(&name).await?;
    let mut app = app
        .filter(|app| app.workspace_id == caller.workspace_id())
        .ok_or_else(|| Problem::no_such("app"))?;
    let now = host.now();
    // Secrets kept by an earlier rotation are dropped, unless their time is not over.
    let mut secrets = app.secrets_at(now).into_owned();
    let names: Vec<String> = body.secrets.keys().cloned().collect();
    for (secret, text) in body.secrets {
        check(&secret, std::slice::from_ref(&text))?;
        let before = secrets.get(&secret).and_then(|secrets| secrets.first()).cloned();
        secrets.insert(secret, std::iter::once(text).chain(before).collect());
    }
    app.secrets = secrets;
    app.old_secrets_until = Some(now.after(Duration::from_secs(u64::from(overlap))));
    app.updated_at = now;
    host.connectors.apps.put(app.clone()).await?;
    let changed = serde_json::json!({ "secrets": names, "old_secrets_until": app.old_secrets_until });
    record(&host, &caller, "app.rotate_secrets", &name, changed).await;
    Ok(JsonBody(AppView::of(app, &host)))
}

/// Refuses secrets that no platform issues in this form; see [`Secret::check`].
fn check(name: &str, texts: &[Secret]) -> ApiResult<()> {
    for text in texts {
        // The name is the caller's own, and may contain any character: escaped as in RFC 6901.
        let pointer = format!("/secrets/{}", name.replace('~', "~0").replace('/', "~1"));
        text.check().map_err(|wrong| Problem::member(&pointer, wrong))?;
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl From<PutAppError> for Problem {
    fn from(error: PutAppError) -> Self {
        match error {
            PutAppError::NoConnector(_) => Self::of(&codes::CONNECTOR_UNKNOWN)
                .at("/connector", "unknown", &error)
                .detail(&error),
            PutAppError::Setting { name, reason } => {
                // A list's position is `allow[0]`; the pointer names the setting.
                let setting = name.split(['[', '.']).next().unwrap_or(&name).to_owned();
                Self::of(&codes::INVALID_REQUEST).at(&format!("/settings/{setting}"), "invalid", &reason)
            }
            PutAppError::Clock { .. } => Self::of(&codes::ORIGIN_REFUSED)
                .at("/origins", "not_loopback", &error)
                .detail(&error),
            PutAppError::Store(error) => error.into(),
        }
    }
}
