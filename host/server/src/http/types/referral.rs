//! Referrals, in the API's format.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::id::ReferralId;
use weir_domain::message;
use weir_domain::time::Timestamp;

/// A contact's referral.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Referral {
    /// Its id; null while it is not stored yet.
    #[serde(default)]
    pub(crate) id: Option<ReferralId>,
    /// `ad`, `link`, `post`, `profile`.
    pub(crate) source: String,
    /// The ad.
    pub(crate) ad_id: Option<String>,
    /// The ad's name.
    pub(crate) ad_name: Option<String>,
    /// The advertiser.
    pub(crate) advertiser_id: Option<String>,
    /// The creative that was shown; absent for campaigns that mix creatives automatically.
    pub(crate) creative_id: Option<String>,
    /// The URL where the ad or post may be seen.
    pub(crate) url: Option<String>,
    /// The operator's own value.
    #[serde(rename = "ref")]
    pub(crate) reference: Option<String>,
    /// The text that the link put into the composer.
    pub(crate) prefilled_text: Option<String>,
    /// `pending`, `passed`, `rejected`.
    pub(crate) prefill_audit: Option<String>,
    /// When the contact came.
    pub(crate) at: Option<Timestamp>,
}

impl From<message::Referral> for Referral {
    fn from(given: message::Referral) -> Self {
        Self {
            id: given.id,
            source: given.source,
            ad_id: given.ad_id,
            ad_name: given.ad_name,
            advertiser_id: given.advertiser_id,
            creative_id: given.creative_id,
            url: given.url,
            reference: given.reference,
            prefilled_text: given.prefilled_text,
            prefill_audit: given.prefill_audit,
            at: given.at,
        }
    }
}
