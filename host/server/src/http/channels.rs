//! Channels: connected business accounts.

use std::collections::BTreeMap;

use axum::Json as JsonBody;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_domain::caller::{Caller, Scope};
use weir_domain::channel;
use weir_domain::id::ChannelId;
use weir_domain::time::Timestamp;
use weir_store::ChannelPatch;

use super::audit::record;
use super::body::{Json, MaybeJson, Named, Params};
use super::caller::{ChannelsWrite, InChannels, May, Read};
use super::codes;
use super::connect_sessions;
use super::list::{List, Paging};
use super::problem::{ApiResult, COME_BACK, Problem};
use super::types::channel::{Channel, PolicyOverride};
use crate::Host;
use crate::accounts::channel_test::{ChannelTest, TestError};
use crate::accounts::diagnosis::Finding;
use crate::accounts::entry_points::{EntryPointLink, LinkError};
use crate::accounts::features::ChannelFeatures;
use crate::accounts::refresher::RefreshError;

/// Longest name that an operator may give.
const NAME_CHARS: usize = 200;
/// Labels of one channel, and the length of one.
const LABELS: (usize, usize) = (50, 200);

/// A filter of channels.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Include deleted ones.
    #[serde(default)]
    deleted: bool,
}

/// Changes to a channel; omitted members stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Flower shop, Berlin", "paused": false}))]
pub(crate) struct Patch {
    /// Your name for it; never sent to the platform.
    name: Option<String>,
    /// Your own labels; replaces all of them.
    labels: Option<BTreeMap<String, String>>,
    /// The country where the account is registered (ISO 3166-1 alpha-2): compared with the platform's lists of
    /// countries.
    country: Option<String>,
    /// Whether it is paused: no messages are sent meanwhile.
    paused: Option<bool>,
    /// Tightened policies. Loosening requires the scope `policy:loosen`.
    policy: Option<PolicyOverride>,
}

/// The number of waiting messages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// Queued or being sent.
    depth: u64,
    /// The time since which the oldest one waits.
    oldest_at: Option<Timestamp>,
    /// The duration.
    oldest_age_ms: Option<u64>,
}

/// The channel of this id, if it is the caller's.
pub(crate) async fn find(host: &Host, caller: &Caller, id: ChannelId) -> ApiResult<channel::Channel> {
    let channel = host.store().channel(caller.workspace_id(), id).await?;
    channel
        .filter(|_| caller.sees(Some(id)))
        .ok_or_else(|| Problem::no_such("channel"))
}

/// List channels, newest first
#[utoipa::path(get, path = "/v1/channels", tag = "channels", params(Which, Paging), responses((status = 200, body = List<Channel>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<Channel>>> {
    let listed = host
        .store()
        .channels(
            caller.workspace_id(),
            caller.channels().clone(),
            which.deleted,
            paging.page()?,
        )
        .await?;
    Ok(List::of(listed, Channel::from))
}

/// Get a channel
#[utoipa::path(get, path = "/v1/channels/{id}", tag = "channels", params(("id" = ChannelId, Path)), responses((status = 200, body = Channel)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<Channel>> {
    Ok(JsonBody(find(&host, &caller, id).await?.into()))
}

/// Change a channel
#[utoipa::path(patch, path = "/v1/channels/{id}", tag = "channels", params(("id" = ChannelId, Path)), request_body = Patch,
    responses((status = 200, body = Channel)))]
pub(crate) async fn patch(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    Json(body): Json<Patch>,
) -> ApiResult<JsonBody<Channel>> {
    let channel = find(&host, &caller, id).await?;
    check(&body)?;
    if body
        .policy
        .as_ref()
        .is_some_and(|policy| loosens(&channel.policy, policy))
    {
        caller
            .may(Scope::PolicyLoosen)
            .map_err(|_| Problem::of(&codes::POLICY_LOOSEN_NOT_ALLOWED))?;
    }
    let country = connect_sessions::country(body.country)?;
    let changed = serde_json::json!({
        "name": body.name, "labels": body.labels, "country": country, "paused": body.paused, "policy": body.policy,
    });
    let patch = ChannelPatch {
        name: body.name,
        labels: body.labels,
        country,
        paused: body.paused,
        policy: body.policy.map(Into::into),
    };
    let channel = host
        .store()
        .update_channel(caller.workspace_id(), id, patch, host.now())
        .await?;
    let channel = channel.ok_or_else(|| Problem::no_such("channel"))?;
    record(&host, &caller, "channel.update", &id.to_string(), changed).await;
    Ok(JsonBody(channel.into()))
}

fn check(patch: &Patch) -> ApiResult<()> {
    if patch
        .name
        .as_ref()
        .is_some_and(|name| name.trim().is_empty() || name.chars().count() > NAME_CHARS)
    {
        return Err(Problem::member(
            "/name",
            format_args!("write 1 to {NAME_CHARS} characters"),
        ));
    }
    let (count, chars) = LABELS;
    let too_long = |labels: &BTreeMap<String, String>| {
        labels.len() > count
            || labels
                .iter()
                .any(|(key, value)| key.is_empty() || key.len() > chars || value.len() > chars)
    };
    if patch.labels.as_ref().is_some_and(too_long) {
        let words = format_args!("at most {count} labels of at most {chars} bytes each");
        return Err(Problem::member("/labels", words));
    }
    Ok(())
}

/// Whether `new` loosens anything that `old` tightened. The connector's policies are the outer bound in any case.
fn loosens(old: &channel::PolicyOverride, new: &PolicyOverride) -> bool {
    fn looser<N: PartialOrd>(old: Option<N>, new: Option<N>) -> bool {
        match (old, new) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(old), Some(new)) => new > old,
        }
    }
    looser(old.window_ms, new.window_ms)
        || looser(old.budget_limit, new.budget_limit)
        || looser(old.rate_permits, new.rate_permits)
        || looser(old.text_max_chars, new.text_max_chars)
}

/// Delete a channel; its history is kept
#[utoipa::path(delete, path = "/v1/channels/{id}", tag = "channels", params(("id" = ChannelId, Path)), responses((status = 200, body = Channel)))]
pub(crate) async fn delete(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<Channel>> {
    let channel = host
        .accounts
        .delete_channel(&caller, id)
        .await?
        .ok_or_else(|| Problem::no_such("channel"))?;
    record(&host, &caller, "channel.delete", &id.to_string(), serde_json::json!({})).await;
    Ok(JsonBody(channel.into()))
}

/// Renew a channel's credential now
///
/// If a person entered the credential, it cannot be renewed: the response is 409 `nothing_to_renew`, and reports
/// whether the platform accepts the credential.
#[utoipa::path(post, path = "/v1/channels/{id}/refresh", tag = "channels", params(("id" = ChannelId, Path)), responses((status = 200, body = Channel)))]
pub(crate) async fn refresh(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<Channel>> {
    find(&host, &caller, id).await?;
    host.accounts.refresh_now(caller.workspace_id(), id).await?;
    Ok(JsonBody(find(&host, &caller, id).await?.into()))
}

/// Run diagnostics on a channel
#[utoipa::path(get, path = "/v1/channels/{id}/diagnostics", tag = "channels", params(("id" = ChannelId, Path)),
    responses((status = 200, body = List<Finding>)))]
pub(crate) async fn diagnostics(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<List<Finding>>> {
    find(&host, &caller, id).await?;
    Ok(List::whole(host.accounts.diagnose(caller.workspace_id(), id).await?))
}

/// The parameters of the links.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Carried {
    /// A message that is put into the composer; the platform reviews it, and `prefill` reports the result of that
    /// review.
    message: Option<String>,
    /// Your own value, which is returned with the referral.
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// How far back the platform's history is read.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatchUp {
    /// Start of the period; default: one week ago. Limited to the host's maximum.
    since: Option<Timestamp>,
}

/// The result of reading the platform's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CaughtUp {
    /// Events that no webhook had delivered.
    stored: u32,
    /// Events that were already recorded.
    known: u32,
    /// Conversations that the platform refused to return; the others were read.
    gaps: Vec<Gap>,
}

/// A conversation whose history the platform refused to return.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gap {
    /// The platform's id of it.
    conversation_platform_id: String,
    /// The reason.
    detail: String,
    /// When the host retries; null if it does not.
    retry_at: Option<Timestamp>,
}

/// List links that open the chat or the profile
#[utoipa::path(get, path = "/v1/channels/{id}/entry-points", tag = "channels", params(("id" = ChannelId, Path), Carried),
    responses((status = 200, body = List<EntryPointLink>)))]
pub(crate) async fn entry_points(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    Params(carried): Params<Carried>,
) -> ApiResult<JsonBody<List<EntryPointLink>>> {
    let channel = find(&host, &caller, id).await?;
    let links = host
        .accounts
        .entry_points(&channel, carried.message.as_deref(), carried.reference.as_deref())
        .await?;
    Ok(List::whole(links))
}

/// Read a channel's history at the platform, and record messages that no webhook delivered
#[utoipa::path(post, path = "/v1/channels/{id}/catch-up", tag = "channels", params(("id" = ChannelId, Path)),
    request_body = Option<CatchUp>, responses((status = 200, body = CaughtUp)))]
pub(crate) async fn catch_up(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    MaybeJson(body): MaybeJson<CatchUp>,
) -> ApiResult<JsonBody<CaughtUp>> {
    find(&host, &caller, id).await?;
    let caught_up = host.history.catch_up(caller.workspace_id(), id, body.since).await?;
    let audit_detail = serde_json::json!({ "since": body.since });
    record(&host, &caller, "channel.catch_up", &id.to_string(), audit_detail).await;
    Ok(JsonBody(CaughtUp {
        stored: caught_up.recorded.stored,
        known: caught_up.recorded.duplicates,
        gaps: caught_up
            .gaps
            .into_iter()
            .map(|gap| Gap {
                conversation_platform_id: gap.conversation,
                detail: gap.detail,
                retry_at: gap.due_at,
            })
            .collect(),
    }))
}

/// Count the waiting messages
#[utoipa::path(get, path = "/v1/channels/{id}/queue", tag = "channels", params(("id" = ChannelId, Path)), responses((status = 200, body = QueueView)))]
pub(crate) async fn queue(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<QueueView>> {
    find(&host, &caller, id).await?;
    let queue = host.store().queue(caller.workspace_id(), id).await?;
    let age = |since: Timestamp| u64::try_from(host.now().since(since).as_millis()).unwrap_or(u64::MAX);
    Ok(JsonBody(QueueView {
        depth: queue.depth,
        oldest_at: queue.oldest_at,
        oldest_age_ms: queue.oldest_at.map(age),
    }))
}

/// Show what a channel supports, independent of a conversation
#[utoipa::path(get, path = "/v1/channels/{id}/features", operation_id = "channel_features", tag = "channels", params(("id" = ChannelId, Path)),
    responses((status = 200, body = ChannelFeatures)))]
pub(crate) async fn features(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<ChannelFeatures>> {
    let channel = find(&host, &caller, id).await?;
    Ok(JsonBody(host.accounts.channel_features(&channel).await?))
}

/// The test.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichTest {
    /// As returned by its start.
    #[serde(rename = "ref")]
    reference: String,
}

/// Start a channel test: returns a link to open on a phone
#[utoipa::path(post, path = "/v1/channels/{id}/test", operation_id = "begin_channel_test", tag = "channels", params(("id" = ChannelId, Path)),
    responses((status = 200, body = ChannelTest)))]
pub(crate) async fn begin_test(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
) -> ApiResult<JsonBody<ChannelTest>> {
    let channel = find(&host, &caller, id).await?;
    Ok(JsonBody(host.accounts.begin_test(&channel).await?))
}

/// Show the progress of a channel test
#[utoipa::path(get, path = "/v1/channels/{id}/test", operation_id = "read_channel_test", tag = "channels", params(("id" = ChannelId, Path), WhichTest),
    responses((status = 200, body = ChannelTest)))]
pub(crate) async fn read_test(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    Params(which): Params<WhichTest>,
) -> ApiResult<JsonBody<ChannelTest>> {
    let channel = find(&host, &caller, id).await?;
    Ok(JsonBody(host.accounts.test(&channel, &which.reference).await?))
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::NothingToRenew(words) => Self::of(&codes::NOTHING_TO_RENEW).detail(words),
            RefreshError::Unwritten => Self::of(&codes::CREDENTIAL_UNWRITTEN)
                .detail(error)
                .retry_after(COME_BACK),
            RefreshError::Refused { ref code, .. } => Self::of(&codes::RENEWAL_REFUSED)
                .with("platform", serde_json::json!({ "code": code }))
                .detail(&error),
            RefreshError::Unanswered(_) => Self::of(&codes::RENEWAL_UNANSWERED).detail(&error),
            RefreshError::AppIncomplete(_) => Self::of(&codes::APP_INCOMPLETE).detail(&error),
            RefreshError::NotGranted { ref missing, .. } => {
                Self::of(&codes::GRANTS_MISSING).with("missing", missing).detail(&error)
            }
            RefreshError::Act(error) => error.into(),
        }
    }
}

impl From<TestError> for Problem {
    fn from(error: TestError) -> Self {
        match error {
            TestError::NoLink(LinkError::Store(error)) | TestError::Store(error) => error.into(),
            TestError::NoLink(_) => Self::of(&codes::ENTRY_POINT_NOT_SUPPORTED).detail(error),
            TestError::NoSuchTest(_) => Self::of(&codes::NOT_FOUND).detail(error),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Store(error) => error.into(),
            LinkError::NotSupported(_) => Self::of(&codes::ENTRY_POINT_NOT_SUPPORTED).detail(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_may_be_tightened_by_anybody_and_loosened_by_few() {
        let limit = |limit| PolicyOverride {
            budget_limit: limit,
            ..PolicyOverride::default()
        };
        let loosens = |old: PolicyOverride, new: PolicyOverride| loosens(&old.into(), &new);
        assert!(!loosens(limit(None), limit(Some(3))));
        assert!(!loosens(limit(Some(3)), limit(Some(3))));
        assert!(!loosens(limit(Some(3)), limit(Some(2))));
        assert!(loosens(limit(Some(3)), limit(Some(4))));
        assert!(loosens(limit(Some(3)), limit(None)));
    }
}
