//! How contacts came, as events tell it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{Contact, EventData};
use crate::id::{ConversationId, ReferralId};
use crate::message;
use crate::time::Timestamp;

/// How a contact came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Referral)]
pub struct Referral {
    /// Its id; none while it is not yet stored.
    #[serde(default)]
    pub id: Option<ReferralId>,
    /// `ad`, `link`, `post`, `profile`.
    pub source: String,
    /// The ad.
    pub ad_id: Option<String>,
    /// The ad's name.
    pub ad_name: Option<String>,
    /// Who paid for it.
    pub advertiser_id: Option<String>,
    /// The creative that was shown; absent for campaigns that mix creatives by themselves.
    pub creative_id: Option<String>,
    /// Where the ad or post may be seen.
    pub url: Option<String>,
    /// The operator's own value.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The text that the link put into the composer.
    pub prefilled_text: Option<String>,
    /// `pending`, `passed`, `rejected`.
    pub prefill_audit: Option<String>,
    /// When the contact came.
    pub at: Option<Timestamp>,
}

/// How a contact came, and who it is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReferralReceived {
    /// How.
    #[serde(flatten)]
    pub referral: Referral,
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub contact: Contact,
}

impl EventData for ReferralReceived {}

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

impl From<Referral> for message::Referral {
    fn from(given: Referral) -> Self {
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
