//! Changes of a connector's versions: replay before a rollout, canary, promotion and rollback.

use axum::Json as JsonBody;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_domain::id::TranscriptId;
use weir_domain::limits;
use weir_domain::rollout::{Canary, CanaryRule, VersionStage};
use weir_domain::time::Timestamp;
use weir_runtime::{Difference, Report, Transcript};
use weir_store::{TranscriptFilter, TranscriptRecord, VersionChange};

use super::audit::record;
use super::body::{Json, Params};
use super::caller::{ConnectorsWrite, May, OnHost, Read};
use super::codes;
use super::connectors::{VersionView, refused_promotion};
use super::list::{List, bounded};
use super::problem::{ApiResult, Problem};
use crate::Host;
use crate::connectors::canary::CanaryRunView;
use crate::connectors::replay::Replay;
use crate::connectors::rollout::TIMELINE;

/// The requested canary.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutCanary {
    /// The share of accounts that the version serves, in percent, 0 to 100. With 0 it shadows the active version and
    /// serves none.
    percent: u8,
    /// When it is rolled back and promoted automatically; omitted members have defaults.
    #[serde(default)]
    #[schema(value_type = Object)]
    rule: CanaryRule,
}

/// The reason of a rollback.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RollBack {
    /// The reason, for the timeline and the event.
    reason: String,
}

/// Which calls to replay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplayOf {
    /// The number of newest calls, 1 to 1000.
    last: u32,
    /// Only those that this version answered.
    against: Option<String>,
}

impl Default for ReplayOf {
    fn default() -> Self {
        Self {
            last: limits::REPLAY_CALLS,
            against: None,
        }
    }
}

/// A filter of transcripts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Transcripts {
    /// Calls of this version.
    version: Option<String>,
    /// Calls of this kind: `receive`, `send`.
    call: Option<String>,
    /// Only calls that crashed.
    #[serde(default)]
    broke_off: bool,
    /// The maximum number, 1 to 200; default: 50.
    limit: Option<u32>,
}

/// The format of a transcript.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HowWritten {
    /// Without message content and names, so that it can be shared.
    #[serde(default)]
    scrub: bool,
}

/// A transcript, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TranscriptView {
    /// Its id.
    id: TranscriptId,
    /// The version that was called.
    version: String,
    /// The name of the call.
    call: String,
    /// The channel; null for a call without one.
    #[schema(value_type = Option<String>)]
    channel_id: Option<weir_domain::id::ChannelId>,
    /// Whether the connector crashed.
    broke_off: bool,
    /// When the call started.
    at: Timestamp,
}

impl From<TranscriptRecord> for TranscriptView {
    fn from(record: TranscriptRecord) -> Self {
        Self {
            id: record.id,
            version: record.version,
            call: record.call,
            channel_id: record.channel_id,
            broke_off: record.crashed,
            at: record.at,
        }
    }
}

/// A change of a version's stage.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Step {
    /// The version.
    version: String,
    /// The stage from then on.
    #[schema(value_type = String)]
    state: VersionStage,
    /// The reason; empty for an operator's request.
    reason: String,
    /// The time.
    at: Timestamp,
}

impl From<VersionChange> for Step {
    fn from(change: VersionChange) -> Self {
        Self {
            version: change.version,
            state: change.stage,
            reason: change.reason,
            at: change.at,
        }
    }
}

/// How a version would behave differently.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changes {
    /// The active version; null if there is none.
    active_version: Option<String>,
    /// Members of the manifest that differ: policy, routes, contents, and others.
    #[schema(value_type = Vec<Object>)]
    manifest: Vec<Difference>,
}

type Names = Path<(String, String)>;

/// Start a canary
///
/// It serves its share of the accounts; the active version remains its fallback. Repeating the request changes share
/// and rule.
#[utoipa::path(post, path = "/v1/connectors/{name}/versions/{version}/canary", tag = "connectors", request_body = PutCanary,
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "Its version")),
    responses((status = 200, body = VersionView)))]
pub(crate) async fn canary(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path((name, version)): Names,
    Json(body): Json<PutCanary>,
) -> ApiResult<JsonBody<VersionView>> {
    if body.percent > 100 {
        return Err(Problem::member("/percent", "it is between 0 and 100"));
    }
    let canary = Canary {
        percent: body.percent,
        rule: body.rule,
        since: host.now(),
    };
    let changed = serde_json::json!({ "version": version, "canary": canary });
    let on_trial = match host.rollout.begin_canary(&name, &version, canary).await {
        Ok(on_trial) => on_trial,
        Err(error) => return Err(refused_promotion(&host, &caller, error).await),
    };
    record(&host, &caller, "connector.canary", &name, changed).await;
    Ok(JsonBody(VersionView::of(on_trial, &host.store().grants(&name).await?)))
}

/// Roll back a version
///
/// A canary is staged again. The active version is replaced by the previous one. States that it took over are restored.
#[utoipa::path(post, path = "/v1/connectors/{name}/versions/{version}/rollback", tag = "connectors", request_body = RollBack,
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "The version to roll back")),
    responses((status = 200, description = "The former canary, or the version that is active now", body = VersionView)))]
pub(crate) async fn rollback(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path((name, version)): Names,
    Json(body): Json<RollBack>,
) -> ApiResult<JsonBody<VersionView>> {
    if body.reason.len() > limits::NAME_BYTES {
        return Err(Problem::member(
            "/reason",
            format_args!("it has at most {} bytes", limits::NAME_BYTES),
        ));
    }
    let reason = if body.reason.is_empty() {
        "an operator requested it"
    } else {
        &body.reason
    };
    let back = match host.rollout.roll_back(&name, &version, reason).await {
        Ok(back) => back,
        Err(error) => return Err(refused_promotion(&host, &caller, error).await),
    };
    let changed = serde_json::json!({ "version": version, "reason": reason });
    record(&host, &caller, "connector.rollback", &name, changed).await;
    Ok(JsonBody(VersionView::of(back, &host.store().grants(&name).await?)))
}

/// Retire a version that serves no account
#[utoipa::path(post, path = "/v1/connectors/{name}/versions/{version}/retire", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "Its version")),
    responses((status = 200, body = VersionView)))]
pub(crate) async fn retire(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path((name, version)): Names,
) -> ApiResult<JsonBody<VersionView>> {
    let retired = host.rollout.retire(&name, &version).await?;
    record(
        &host,
        &caller,
        "connector.retire",
        &name,
        serde_json::json!({ "version": version }),
    )
    .await;
    Ok(JsonBody(VersionView::of(retired, &host.store().grants(&name).await?)))
}

/// Replay recorded calls against this version
///
/// Offline: every import is answered from the transcript; no request is sent and nothing is written. Shows the
/// differences.
#[utoipa::path(post, path = "/v1/connectors/{name}/versions/{version}/replay", tag = "connectors", request_body = ReplayOf,
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "The version to replay against")),
    responses((status = 200, description = "The differences, by kind and location", body = Object)))]
pub(crate) async fn replay(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path((name, version)): Names,
    Json(body): Json<ReplayOf>,
) -> ApiResult<JsonBody<Report>> {
    if !(1..=limits::REPLAY_CALLS).contains(&body.last) {
        return Err(Problem::member(
            "/last",
            format_args!("it is between 1 and {}", limits::REPLAY_CALLS),
        ));
    }
    let replay = Replay {
        last: body.last,
        against: body.against,
    };
    let report = host.connectors.replay(&name, &version, replay).await?;
    let audit_detail = serde_json::json!({ "version": version, "calls": report.calls, "differ": report.differ });
    record(&host, &caller, "connector.replay", &name, audit_detail).await;
    Ok(JsonBody(report))
}

/// Show the metrics of a canary
///
/// Also after the end of its canary run, with the reason, and after a restart of the host.
#[utoipa::path(get, path = "/v1/connectors/{name}/versions/{version}/trial", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "The canary")),
    responses((status = 200, body = CanaryRunView)))]
pub(crate) async fn trial(
    _: May<Read, OnHost>,
    State(host): State<Host>,
    Path((name, version)): Names,
) -> ApiResult<JsonBody<CanaryRunView>> {
    let canary_run = host.rollout.canary_run(&name, &version).await?;
    canary_run.map(JsonBody).ok_or_else(|| Problem::no_such("trial"))
}

/// Show what a version would change
///
/// Compares its manifest with the active version's: policy, routes, contents.
#[utoipa::path(get, path = "/v1/connectors/{name}/versions/{version}/changes", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), ("version" = String, Path, description = "Its version")),
    responses((status = 200, body = Changes)))]
pub(crate) async fn changes(
    _: May<Read>,
    State(host): State<Host>,
    Path((name, version)): Names,
) -> ApiResult<JsonBody<Changes>> {
    let versions = host.store().versions().await?;
    let mut ours = versions.iter().filter(|known| known.manifest.name == name);
    let meant = ours.clone().find(|known| known.manifest.version == version);
    let meant = meant.ok_or_else(|| Problem::no_such("version"))?;
    let active = ours.find(|known| known.stage == VersionStage::Active);
    Ok(JsonBody(Changes {
        active_version: active.map(|active| active.manifest.version.clone()),
        manifest: active.map_or_else(Vec::new, |active| {
            weir_runtime::differences(&active.manifest, &meant.manifest)
        }),
    }))
}

/// List the changes of a connector's versions
#[utoipa::path(get, path = "/v1/connectors/{name}/timeline", tag = "connectors", params(("name" = String, Path, description = "The connector's name")),
    responses((status = 200, description = "Newest first", body = List<Step>)))]
pub(crate) async fn timeline(
    _: May<Read, OnHost>,
    State(host): State<Host>,
    Path(name): Path<String>,
) -> ApiResult<JsonBody<List<Step>>> {
    let steps = host.store().version_changes(&name, TIMELINE).await?;
    if steps.is_empty() {
        return Err(Problem::no_such("connector"));
    }
    Ok(List::whole(steps.into_iter().map(Step::from).collect()))
}

/// List a connector's transcripts
///
/// Newest first, without their contents.
#[utoipa::path(get, path = "/v1/connectors/{name}/transcripts", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), Transcripts),
    responses((status = 200, body = List<TranscriptView>)))]
pub(crate) async fn transcripts(
    _: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path(name): Path<String>,
    Params(wanted): Params<Transcripts>,
) -> ApiResult<JsonBody<List<TranscriptView>>> {
    let filter = TranscriptFilter {
        version: wanted.version,
        call: wanted.call,
        crashed: wanted.broke_off,
        limit: bounded(wanted.limit)?,
        whole: false,
    };
    let found = host.store().transcripts(&name, filter).await?.into_iter();
    Ok(List::whole(found.map(TranscriptView::from).collect()))
}

/// Get a transcript
///
/// The format that `weir connector replay --file` reads. Contains message content, unless it is scrubbed.
#[utoipa::path(get, path = "/v1/connectors/{name}/transcripts/{id}", tag = "connectors",
    params(("name" = String, Path, description = "The connector's name"), ("id" = TranscriptId, Path, description = "The transcript's id"), HowWritten),
    responses((status = 200, description = "The transcript", body = Object)))]
pub(crate) async fn transcript(
    caller: May<ConnectorsWrite, OnHost>,
    State(host): State<Host>,
    Path((name, id)): Path<(String, String)>,
    Params(how): Params<HowWritten>,
) -> ApiResult<JsonBody<Transcript>> {
    let id: TranscriptId = id.parse().map_err(|_| Problem::no_such("transcript"))?;
    let found = host.store().transcript(&name, id).await?;
    let found = found.ok_or_else(|| Problem::no_such("transcript"))?;
    let unreadable =
        || Problem::of(&codes::NOT_FOUND).detail("the transcript has a format that is no longer supported");
    let whole = Transcript::read(&found.json).map_err(|_| unreadable())?;
    record(
        &host,
        &caller,
        "connector.transcript",
        &name,
        serde_json::json!({ "id": id, "scrub": how.scrub }),
    )
    .await;
    if !how.scrub {
        return Ok(JsonBody(whole));
    }
    let scrubbed = host.connectors.scrub(&whole).await.ok_or_else(|| {
        Problem::of(&codes::CONNECTOR_FAILED).detail(
            "no version can translate this call, so personal data in it cannot be identified; request it unscrubbed, and review it before you share it",
        )
    })?;
    Ok(JsonBody(scrubbed))
}
