//! Referrals, as events carry them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{Contact, EventData};
use crate::id::{ConversationId, ReferralId};
use crate::message;
use crate::time::Timestamp;

/// How a contact arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Referral)]
pub struct Referral {
    /// Its id; null until it is stored.
    #[serde(default)]
    pub id: Option<ReferralId>,
    /// `ad`, `link`, `post`, `profile`.
    pub source: String,
    /// The ad.
    pub ad_id: Option<String>,
    /// The ad's name.
    pub ad_name: Option<String>,
    /// The advertiser.
    pub advertiser_id: Option<String>,
    /// The creative that was shown; absent for campaigns that mix creatives automatically.
    pub creative_id: Option<String>,
    /// The URL of the ad or post.
    pub url: Option<String>,
    /// The operator's own value.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The link's prefilled text.
    pub prefilled_text: Option<String>,
    /// `pending`, `passed`, `rejected`.
    pub prefill_audit: Option<String>,
    /// When the contact arrived.
    pub at: Option<Timestamp>,
}

/// A referral, with its contact.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReferralReceived {
    /// The referral.
    #[serde(flatten)]
    pub referral: Referral,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The contact.
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
