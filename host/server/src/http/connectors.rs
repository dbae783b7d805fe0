//! Connectors: components that are installed, granted and promoted.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonBody};
use base64::Engine;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;
use utoipa::{IntoParams, ToSchema};
use weir_domain::caller::Caller;
use weir_domain::grant::{Grant, Grants, WantedGrant};
use weir_domain::limits;
use weir_domain::manifest::Manifest;
use weir_domain::rollout::Canary;
use weir_domain::time::Timestamp;
use weir_store::{StageError, Version, VersionFailure, VersionStage};

use super::audit::record;
use super::body::{self, Json, Params};
use super::caller::{ConnectorsWrite, May, OnHost, Read};
use super::idempotency::Idempotency;
use super::list::List;
use super::problem::{ApiResult, Problem};
use super::{Api, codes};
use crate::Host;
use crate::connectors::install::{GrantError, InstallError};
use crate::connectors::promotion::PromoteError;

/// How a component is installed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Install {
    /// Accept it although a newer release is or was installed.
    #[serde(default)]
    allow_downgrade: bool,
    /// The address where it is published, for information: `https://…` or `oci://…`, without user and query. It is not
    /// fetched.
    source: Option<String>,
}

/// The operator's decision about the grants that a version requests.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutGrants {
    /// The grants that the version requests, or fewer, or with fewer origins. Omitted ones are withheld: the version
    /// may serve without them, and its calls to them are refused. Entries of `wanted_grants` may be sent back as they
    /// are.
    #[serde(deserialize_with = "body::whole")]
    #[schema(value_type = Vec<Grant>)]
    grants: Vec<WantedGrant>,
    /// The version that the decision is about; default: the newest.
    version: Option<String>,
}

/// The signer of a component.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignatureView {
    /// `trusted`, `unknown_key`, `unsigned`.
    status: String,
    /// The key's name.
    key: Option<String>,
}

/// A version of a connector.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionView {
    /// The connector.
    name: String,
    /// The version.
    version: String,
    /// `sha256:…` of its bytes.
    digest: String,
    /// The size in bytes.
    size: u64,
    /// `staged`, `canary`, `active`, `draining`, `retired`, `quarantined`.
    #[schema(value_type = String)]
    state: VersionStage,
    /// Its canary run, while it is a canary.
    #[schema(value_type = Option<Object>)]
    canary: Option<Canary>,
    /// The signer.
    signature: SignatureView,
    /// The address where it is published; null for a file.
    source: Option<String>,
    /// All grants that it requests.
    wanted_grants: Vec<WantedGrant>,
    /// Requested grants that are undecided; the version cannot be promoted until they are decided.
    missing_grants: Vec<WantedGrant>,
    /// Its manifest.
    manifest: Manifest,
    /// When it was staged.
    staged_at: Timestamp,
    /// When its stage last changed.
    changed_at: Timestamp,
    /// Why it was last rolled back automatically or quarantined; null if it never was.
    failure: Option<FailureView>,
}

/// Why a version was rolled back automatically, or quarantined.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureView {
    /// The reason as text.
    reason: String,
    /// The time.
    at: Timestamp,
}

impl From<VersionFailure> for FailureView {
    fn from(VersionFailure { reason, at }: VersionFailure) -> Self {
        Self { reason, at }
    }
}

/// A connector, with its versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectorView {
    /// Its name.
    name: String,
    /// The messaging network.
    platform: String,
    /// One sentence for the operator.
    description: String,
    /// The active version; null until one is promoted.
    active_version: Option<String>,
    /// Why the host could not load it; null if it did. Install the same file again.
    load_error: Option<String>,
    /// Newest first.
    versions: Vec<VersionLine>,
    /// What the operator granted.
    grants: Vec<Grant>,
    /// What the operator withheld.
    withheld_grants: Vec<Grant>,
}

/// A version, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionLine {
    /// The version.
    version: String,
    /// `sha256:…` of its bytes.
    digest: String,
    /// Its stage.
    #[schema(value_type = String)]
    state: VersionStage,
    /// The address where it is published; null for a file.
    source: Option<String>,
    /// When it was staged.
    staged_at: Timestamp,
    /// Why it was last rolled back automatically or quarantined; null if it never was.
    failure: Option<FailureView>,
}

impl VersionView {
    pub(super) fn of(version: Version, grants: &Grants) -> Self {
        Self {
            name: version.manifest.name.clone(),
            version: version.manifest.version.clone(),
            digest: version.digest,
            size: version.size,
            state: version.stage,
            canary: version.canary,
            signature: SignatureView {
                status: version.signature.status,
                key: version.signature.key,
            },
            source: version.source,
            wanted_grants: WantedGrant::all(Grants::wanted_by(&version.manifest), grants),
            missing_grants: WantedGrant::all(grants.missing_for(&version.manifest), grants),
            manifest: version.manifest,
            staged_at: version.staged_at,
            changed_at: version.changed_at,
            failure: version.failure.map(FailureView::from),
        }
    }
}

impl ConnectorView {
    /// `versions` are those of one connector, newest first, and at least one.
    fn of(host: &Host, name: String, versions: &[Version], grants: Grants) -> Self {
        let active = versions.iter().find(|version| version.stage == VersionStage::Active);
        let speaks = active.or_else(|| versions.first());
        Self {
            load_error: active.and_then(|_| host.connectors.registry.load_failure(&name)),
            name,
            platform: speaks
                .map(|version| version.manifest.platform.clone())
                .unwrap_or_default(),
            description: speaks
                .map(|version| version.manifest.description.clone())
                .unwrap_or_default(),
            active_version: active.map(|version| version.manifest.version.clone()),
            versions: versions
                .iter()
                .map(|version| VersionLine {
                    version: version.manifest.version.clone(),
                    digest: version.digest.clone(),
                    state: version.stage,
                    source: version.source.clone(),
                    staged_at: version.staged_at,
                    failure: version.failure.clone().map(FailureView::from),
                })
                .collect(),
            grants: grants.granted,
            withheld_grants: grants.withheld,
        }
    }
}

/// List connectors
#[utoipa::path(get, path = "/v1/connectors", tag = "connectors", responses((status = 200, body = List<ConnectorView>)))]
pub(crate) async fn list(_: May<Read>, State(host): State<Host>) -> ApiResult<JsonBody<List<ConnectorView>>> {
    let mut by_name: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for version in host.store().versions().await? {
        by_name.entry(version.manifest.name.clone()).or_default().push(version);
    }
    let mut connectors = Vec::with_capacity(by_name.len());
    for (name, versions) in by_name {
        let grants = host.store().grants(&name).await?;
        connectors.push(ConnectorView::of(&host, name, &versions, grants));
    }
    Ok(List::whole(connectors))
}

/// Install a component
///
/// Validates it, checks its signature, and stages it. It serves no account until its grants are decided and it is
/// promoted.
#[utoipa::path(post, path = "/v1/connectors", tag = "connectors", params(Install,
        ("Component-Signature" = Option<String>, Header, description = "The contents of FILE.minisig, in base64")),
    request_body(content_type = "application/wasm", content = Vec<u8>), responses((status = 201, body = VersionView)))]
pub(crate) async fn install(
    caller: May<ConnectorsWrite, OnHost>,
    State(api): State<Api>,
    Extension(idempotency): Extension<Idempotency>,
    Params(install): Params<Install>,
    request: Request,
) -> ApiResult<Response> {
    let kind = body::content_type(request.headers());
    let signature = signature(request.headers())?;
    if !matches!(kind.as_deref(), Some("application/wasm" | "application/octet-stream")) {
        return Err(Problem::of(&codes::UNSUPPORTED_MEDIA_TYPE)
            .detail("send the component with Content-Type: application/wasm"));
    }
    let source = install.source.map(source).transpose()?;
    let bytes = body::read(request.into_body(), limits::COMPONENT_BYTES).await?;
    let claim = idempotency.for_file(&Sha256::digest(&bytes), signature.as_deref().unwrap_or_default());
    let acting = api.clone();
    let installed = async move {
        let made = installed(&acting.host, &caller, bytes, signature, source, install.allow_downgrade).await;
        made.into_response()
    };
    let acting = api.clone();
    api.act(async move { acting.once(claim, installed).await }).await?
}

async fn installed(
    host: &Host,
    caller: &Caller,
    bytes: Bytes,
    signature: Option<String>,
    source: Option<String>,
    allow_downgrade: bool,
) -> ApiResult<(StatusCode, JsonBody<VersionView>)> {
    let installed = host
        .connectors
        .install(bytes, signature.as_deref(), source, allow_downgrade)
        .await;
    let version = match installed {
        Ok(version) => version,
        Err(error) => return Err(refused_install(host, caller, error).await),
    };
    let changed = serde_json::json!({
        "version": version.manifest.version, "digest": version.digest, "signature": version.signature.status,
        "key": version.signature.key, "source": version.source, "allow_downgrade": allow_downgrade,
    });
    record(host, caller, "connector.install", &version.manifest.name, changed).await;
    let grants = host.store().grants(&version.manifest.name).await?;
    Ok((StatusCode::CREATED, JsonBody(VersionView::of(version, &grants))))
}

/// Get a connector
#[utoipa::path(get, path = "/v1/connectors/{name}", tag = "connectors", params(("name" = String, Path, description = "The connector's name")),
    responses((status = 200, body = ConnectorView)))]
pub(crate) async fn get(
    _: May<Read>,
    State(host): State<Host>,
    Path(name): Path<String>,
) -> ApiResult<JsonBody<ConnectorView>> {
    Ok(JsonBody(connector(&host, name).await?))
}

async fn connector(host: &Host, name: String) -> ApiResult<ConnectorView> {
    let mut versions = host.store().versions().await?;
    versions.retain(|version| version.manifest.name == name);
    if versions.is_empty() {
        return Err(Problem::no_such("connector"));
    }
    let grants = host.store().grants(&name).await?;
    Ok(ConnectorView::of(host, name, &versions, grants))
}

/// Get a version of a connector
#[utoipa::path(get, path = "/v1/connectors/{name}/versions/{version}", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "Its version")),
    responses((status = 200, body = VersionView)))]
pub(crate) async fn version(
    _: May<Read>,
    State(host): State<Host>,
    Path((name, version)): Path<(String, String)>,
) -> ApiResult<JsonBody<VersionView>> {
    let version = host.store().version(&name, &version).await?;
    let version = version.ok_or_else(|| Problem::no_such("version"))?;
    Ok(JsonBody(VersionView::of(version, &host.store().grants(&name).await?)))
}

/// Decide about a connector's grants
///
/// Replaces its grants. They apply from its next request on.
#[utoipa::path(put, path = "/v1/connectors/{name}/grants", tag = "connectors", params(("name" = String, Path, description = "The connector's name")),
    request_body = PutGrants, responses((status = 200, body = ConnectorView)))]
pub(crate) async fn put_grants(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path(name): Path<String>,
    Json(body): Json<PutGrants>,
) -> ApiResult<JsonBody<ConnectorView>> {
    // A route may be granted for several hosts, and an old version's grants are kept in addition to a new one's.
    const GRANTS: usize = limits::ROUTES * 4;
    if body.grants.len() > GRANTS {
        return Err(Problem::member(
            "/grants",
            format_args!("at most {GRANTS} can be given"),
        ));
    }
    connector(&host, name.clone()).await?;
    let granted = body.grants.into_iter().map(|given| given.grant).collect();
    let grants = host
        .connectors
        .decide_grants(&name, body.version.as_deref(), granted)
        .await?;
    let routes = |grants: &[Grant]| grants.iter().map(|grant| grant.route.clone()).collect::<Vec<_>>();
    let changed = serde_json::json!({ "granted": routes(&grants.granted), "withheld": routes(&grants.withheld) });
    record(&host, &caller, "connector.grant", &name, changed).await;
    Ok(JsonBody(connector(&host, name).await?))
}

/// Make a version the active one
#[utoipa::path(post, path = "/v1/connectors/{name}/versions/{version}/promote", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "Its version")),
    responses((status = 200, body = VersionView)))]
pub(crate) async fn promote(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path((name, version)): Path<(String, String)>,
) -> ApiResult<JsonBody<VersionView>> {
    let promoted = match host.rollout.promote(&name, &version).await {
        Ok(promoted) => promoted,
        Err(error) => return Err(refused_promotion(&host, &caller, error).await),
    };
    record(
        &host,
        &caller,
        "connector.promote",
        &name,
        serde_json::json!({ "version": version }),
    )
    .await;
    Ok(JsonBody(VersionView::of(promoted, &host.store().grants(&name).await?)))
}

/// The address where a component is published. User and query are removed: they may be secret, and this is shown.
fn source(text: String) -> ApiResult<String> {
    let is_place = Url::parse(&text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https" | "oci")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
    });
    if !is_place || text.len() > limits::URL_BYTES {
        return Err(Problem::parameter(
            "source",
            "write https://… or oci://…, without user and query",
        ));
    }
    Ok(text)
}

/// The text of a component's signature file: several lines, so a header carries it in base64.
fn signature(headers: &HeaderMap) -> ApiResult<Option<String>> {
    const NAME: &str = "Component-Signature";
    let Some(value) = headers.get(NAME) else {
        return Ok(None);
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_bytes()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let refused = || Problem::parameter(NAME, "write the bytes of the .minisig file in base64");
    text.map(Some).ok_or_else(refused)
}

/// The problem of a version that may not be installed, and the refusal if a rule decided.
async fn refused_install(host: &Host, caller: &Caller, error: InstallError) -> Problem {
    let (connector, facts) = match &error {
        InstallError::Stage(StageError::Downgrade {
            connector,
            wanted,
            newest,
        }) => (
            connector.clone(),
            serde_json::json!({ "release": wanted, "newest": newest }),
        ),
        // The component was not run to learn its name: untrusted components are not run.
        InstallError::Signature { digest, .. } => (digest.clone(), serde_json::json!({ "digest": digest })),
        _ => return error.into(),
    };
    let detail = error.to_string();
    let problem = Problem::from(error);
    let workspace = caller.workspace_id();
    let id = host
        .core
        .keep_grant_refusal(workspace, &connector, problem.code().name, detail, facts)
        .await;
    problem.refused_as(id)
}

/// The problem of a version that may not serve, and the refusal if a rule decided.
pub(super) async fn refused_promotion(host: &Host, caller: &Caller, error: PromoteError) -> Problem {
    let PromoteError::Missing {
        connector,
        version,
        missing,
    } = &error
    else {
        return error.into();
    };
    let routes: Vec<_> = missing.iter().map(|requested| requested.grant.route.as_str()).collect();
    let facts = serde_json::json!({ "version": version, "missing": routes });
    let workspace = caller.workspace_id();
    let id = host
        .core
        .keep_grant_refusal(
            workspace,
            connector,
            codes::GRANTS_MISSING.name,
            error.to_string(),
            facts,
        )
        .await;
    Problem::from(error).refused_as(id)
}

impl From<InstallError> for Problem {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Refused(words) => Self::of(&codes::COMPONENT_REFUSED).detail(words),
            InstallError::Signature { .. } => Self::of(&codes::SIGNATURE_REFUSED).detail(&error),
            InstallError::Stage(error) => error.into(),
            InstallError::Store(error) => error.into(),
        }
    }
}

impl From<StageError> for Problem {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Taken { .. } => Self::of(&codes::VERSION_TAKEN).detail(&error),
            StageError::Downgrade { .. } => Self::of(&codes::DOWNGRADE_REFUSED).detail(&error),
            StageError::Store(error) => error.into(),
        }
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::NotFound => Self::no_such("version"),
            GrantError::Unrequested(ref places) => places
                .iter()
                .fold(Self::of(&codes::INVALID_REQUEST).detail(&error), |problem, place| {
                    problem.at(&format!("/grants/{place}"), "unasked", &"no version requests this")
                }),
            GrantError::Store(error) => error.into(),
        }
    }
}

impl From<PromoteError> for Problem {
    fn from(error: PromoteError) -> Self {
        match error {
            PromoteError::NotFound { .. } => Self::of(&codes::NOT_FOUND).detail(&error),
            PromoteError::Missing { ref missing, .. } => {
                Self::of(&codes::GRANTS_MISSING).with("missing", missing).detail(&error)
            }
            PromoteError::Serves { .. }
            | PromoteError::NothingActive { .. }
            | PromoteError::NothingBefore { .. }
            | PromoteError::BeforeQuarantined { .. }
            | PromoteError::Changing { .. }
            | PromoteError::Owns { .. } => Self::of(&codes::VERSION_STAGE).detail(&error),
            PromoteError::Quarantined { .. } | PromoteError::NotEverywhere { .. } | PromoteError::Load(_) => {
                Self::of(&codes::CONNECTOR_FAILED).detail(&error)
            }
            PromoteError::Store(error) => error.into(),
        }
    }
}
