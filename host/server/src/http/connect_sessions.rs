//! Connect sessions: from a link that a person opens to a working channel, or the reason of the failure.

use std::collections::BTreeMap;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use weir_domain::credential::Secret;
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::policy::region;
use weir_domain::time::Timestamp;
use weir_store::{ConnectEnd, ConnectSession};

use super::audit::record;
use super::body::{Json, Named};
use super::caller::{ChannelsWrite, InChannels, May, Read};
use super::codes;
use super::problem::{ApiResult, Problem};
use crate::Host;
use crate::accounts::connect::{ConnectError, NewSession};

/// An account to be connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"app": "tiktok", "name": "Flower shop", "labels": {"team": "berlin"}, "redirect_url": "https://crm.example/connected"}))]
pub(crate) struct Begin {
    /// The app to connect through.
    app: String,
    /// Your name for the channel.
    name: Option<String>,
    /// Your own labels, for sorting.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The country where the account is registered, if you know it (ISO 3166-1 alpha-2): compared with the platform's
    /// list of countries.
    country: Option<String>,
    /// The final destination of the browser, with `status`, `session` and `channel_id` or `code` in its query.
    redirect_url: Option<String>,
    /// The values that a person entered, for a connector without OAuth. Write-only.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    fields: BTreeMap<String, Secret>,
}

/// A new authorization of a channel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReauthorizeChannel {
    /// The final destination of the browser.
    redirect_url: Option<String>,
}

/// One connecting of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectSession)]
pub(crate) struct SessionView {
    /// Its id.
    id: ConnectSessionId,
    /// The link to open.
    url: String,
    /// The app through which it connects.
    app: String,
    /// `pending`, `succeeded`, `failed`, `expired`.
    status: &'static str,
    /// The channel, once it exists.
    channel_id: Option<ChannelId>,
    /// The reason of the failure.
    problem: Option<SessionProblem>,
    /// When it started.
    created_at: Timestamp,
    /// When it expires.
    expires_at: Timestamp,
}

/// Why a connect session failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionProblem {
    /// A stable code.
    code: String,
    /// A sentence for a person.
    detail: String,
}

impl SessionView {
    /// A session in the API's format; `url` is the link that the host returned.
    pub(crate) fn of(session: ConnectSession, url: String) -> Self {
        let (status, channel_id, problem) = match session.end {
            // A session in progress is reported as pending.
            ConnectEnd::Pending | ConnectEnd::Taken => ("pending", None, None),
            ConnectEnd::Succeeded { channel_id } => ("succeeded", Some(channel_id), None),
            ConnectEnd::Failed { code, detail } => ("failed", None, Some(SessionProblem { code, detail })),
            ConnectEnd::Expired => ("expired", None, None),
        };
        Self {
            id: session.id,
            url,
            app: session.app,
            status,
            channel_id: channel_id.or(session.channel_id),
            problem,
            created_at: session.created_at,
            expires_at: session.expires_at,
        }
    }
}

/// Start connecting an account
#[utoipa::path(post, path = "/v1/connect-sessions", tag = "connect sessions", request_body = Begin,
    responses((status = 201, body = SessionView)))]
pub(crate) async fn create(
    caller: May<ChannelsWrite>,
    State(host): State<Host>,
    Json(body): Json<Begin>,
) -> ApiResult<(StatusCode, JsonBody<SessionView>)> {
    let app = body.app.clone();
    let new = NewSession {
        app: body.app,
        name: body.name,
        labels: body.labels,
        country: country(body.country)?,
        redirect_url: redirect_url(body.redirect_url)?,
        fields: body.fields,
    };
    let (session, url) = host.accounts.begin_connect(&caller, new).await?;
    record(
        &host,
        &caller,
        "channel.connect",
        &session.id.to_string(),
        serde_json::json!({ "app": app }),
    )
    .await;
    Ok((StatusCode::CREATED, JsonBody(SessionView::of(session, url.into()))))
}

/// Get a connect session
#[utoipa::path(get, path = "/v1/connect-sessions/{id}", tag = "connect sessions", params(("id" = ConnectSessionId, Path)),
    responses((status = 200, body = SessionView)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ConnectSessionId>,
) -> ApiResult<JsonBody<SessionView>> {
    let session = host
        .store()
        .connect_session(caller.workspace_id(), id, host.now())
        .await?;
    let session = session
        .filter(|session| caller.sees(session.channel_id))
        .ok_or_else(|| Problem::no_such("connect session"))?;
    let url = host.config().public(&format!("/connect/{id}"));
    Ok(JsonBody(SessionView::of(session, url)))
}

/// Authorize a channel again
#[utoipa::path(post, path = "/v1/channels/{id}/reauthorize", tag = "channels", params(("id" = ChannelId, Path)),
    request_body = Option<ReauthorizeChannel>, responses((status = 201, body = SessionView)))]
pub(crate) async fn reauthorize(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    super::body::MaybeJson(body): super::body::MaybeJson<ReauthorizeChannel>,
) -> ApiResult<(StatusCode, JsonBody<SessionView>)> {
    let (session, url) = host
        .accounts
        .reauthorize(&caller, id, redirect_url(body.redirect_url)?)
        .await?;
    record(
        &host,
        &caller,
        "channel.reauthorize",
        &id.to_string(),
        serde_json::json!({}),
    )
    .await;
    Ok((StatusCode::CREATED, JsonBody(SessionView::of(session, url.into()))))
}

/// A country as an operator writes it.
pub(crate) fn country(text: Option<String>) -> ApiResult<Option<String>> {
    text.map(|text| {
        region::country(&text).ok_or_else(|| Problem::member("/country", "write two letters of ISO 3166-1, like ID"))
    })
    .transpose()
}

fn redirect_url(text: Option<String>) -> ApiResult<Option<Url>> {
    text.map(|text| {
        Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Problem::member("/redirect_url", "it is not an http or https URL"))
    })
    .transpose()
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoSuchApp => Self::of(&codes::APP_UNKNOWN)
                .at("/app", "unknown", &error)
                .detail(&error),
            ConnectError::NoSuchSession => Self::of(&codes::CONNECT_SESSION_OVER).detail(&error),
            ConnectError::NoSuchChannel => Self::no_such("channel"),
            ConnectError::Invalid(ref words) => Self::of(&codes::INVALID_REQUEST).detail(words),
            ConnectError::Refused { ref code, ref detail } => Self::named(code).detail(detail),
            ConnectError::Connector(error) => error.into(),
            ConnectError::Store(error) => error.into(),
        }
    }
}
