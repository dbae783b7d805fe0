//! Referrals: the ads and links through which contacts came.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::id::{ChannelId, ContactId, ConversationId, ReferralId};

use super::body::{Named, Params};
use super::caller::{InChannels, May, Read};
use super::contacts::{OfChannel, narrowed};
use super::list::{List, Paging};
use super::problem::ApiResult;
use super::types::referral::Referral;
use crate::Host;
use crate::accounts::ads::Ad;

/// A contact's origin, and the channel that they contacted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReferralView {
    /// The referral.
    #[serde(flatten)]
    referral: Referral,
    /// The account that they contacted.
    channel_id: ChannelId,
    /// The conversation.
    conversation_id: ConversationId,
    /// The contact.
    contact_id: ContactId,
}

/// List referrals, newest first
#[utoipa::path(get, path = "/v1/referrals", operation_id = "list_referrals", tag = "contacts", params(OfChannel, Paging),
    responses((status = 200, body = List<ReferralView>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(of): Params<OfChannel>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<ReferralView>>> {
    let listed = host
        .store()
        .referrals(caller.workspace_id(), narrowed(&caller, of.channel_id)?, paging.page()?)
        .await?;
    Ok(List::of(listed, |record| ReferralView {
        referral: record.referral.into(),
        channel_id: record.channel_id,
        conversation_id: record.conversation_id,
        contact_id: record.contact_id,
    }))
}

/// Preview the ad that a contact came from
///
/// `preview` is null, with a `reason`, if the platform returns none; this is so for most ads.
#[utoipa::path(get, path = "/v1/referrals/{id}/ad", operation_id = "ad_of_referral", tag = "contacts", params(("id" = ReferralId, Path)),
    responses((status = 200, body = Ad)))]
pub(crate) async fn ad(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ReferralId>,
) -> ApiResult<JsonBody<Ad>> {
    Ok(JsonBody(host.accounts.ad(&caller, id).await?))
}
