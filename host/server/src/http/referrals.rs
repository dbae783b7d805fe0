//! Referrals: how contacts came.

use axum::Json as Answered;
use axum::extract::State;
use weir_domain::id::ReferralId;

use super::body::Named;
use super::caller::{May, Read};
use super::problem::Answer;
use crate::Host;
use crate::ads::Ad;

/// See what the ad looked like that brought a contact
///
/// `preview` is null, with a `reason`, where the platform tells nothing; that is most ads.
#[utoipa::path(get, path = "/v1/referrals/{id}/ad", operation_id = "ad_of_referral", tag = "contacts", params(("id" = ReferralId, Path)),
    responses((status = 200, body = Ad)))]
pub(crate) async fn ad(
    caller: May<Read>,
    State(host): State<Host>,
    Named(id): Named<ReferralId>,
) -> Answer<Answered<Ad>> {
    Ok(Answered(host.ad(&caller, id).await?))
}
