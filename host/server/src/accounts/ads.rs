//! Previews of the ads that contacts came from, if the platform returns them; cached, not fetched for every request.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use weir_domain::caller::Caller;
use weir_domain::delivery::Verdict;
use weir_domain::id::ReferralId;
use weir_domain::message::Referral;
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;
use weir_runtime::CallError;
use weir_store::{AdAnswer, ReferralRecord};

use crate::accounts::Accounts;
use crate::accounts::calls::ActError;
use crate::accounts::calls::CallFailure;

/// How long a result is cached, including a negative one: ads change over days, and previews are requested often.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// The ad that a contact came from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ad {
    /// The platform's document about the ad; null if it has none.
    #[schema(value_type = Option<Object>)]
    pub preview: Option<Value>,
    /// Why there is no preview: `smart_plus_campaign`, `not_an_ad`, `no_preview`, or the platform's refusal in Weir's
    /// wording.
    pub reason: Option<String>,
    /// The reason as a sentence.
    pub detail: Option<String>,
    /// Who could fix it: `platform`; null with a preview.
    pub fault: Option<Fault>,
    /// The ad, if the platform reports it.
    pub ad_id: Option<String>,
    /// Its name.
    pub ad_name: Option<String>,
    /// The creative that was shown; null for campaigns that mix creatives automatically.
    pub creative_id: Option<String>,
    /// When this was fetched; it is cached for a day.
    pub at: Timestamp,
}

impl Accounts {
    /// The preview of the ad that a contact came from.
    ///
    /// # Errors
    /// See [`ActError`]; a result that the platform could not return now is not cached.
    pub async fn ad(&self, caller: &Caller, id: ReferralId) -> Result<Ad, ActError> {
        let workspace = caller.workspace_id();
        let record = self.core.store().referral(workspace, id).await?;
        let record = record.filter(|record| caller.sees(Some(record.channel_id)));
        let record = record.ok_or(ActError::NotFound)?;
        let now = self.core.now();
        if let Some(kept) = record.ad.clone().filter(|kept| now < kept.until) {
            return Ok(Ad::of(&record.referral, kept));
        }
        let found = match without_lookup(&record.referral) {
            Some((reason, detail)) => Found::none(reason, detail),
            None => self.fetch_ad(workspace, &record).await?,
        };
        let answer = AdAnswer {
            preview: found.preview,
            reason: found.reason,
            detail: found.detail,
            at: now,
            until: now.after(KEPT),
        };
        self.core.store().keep_ad(workspace, id, answer.clone()).await?;
        Ok(Ad::of(&record.referral, answer))
    }

    async fn fetch_ad(&self, workspace: &str, record: &ReferralRecord) -> Result<Found, ActError> {
        let channel = self
            .core
            .store()
            .channel(workspace, record.channel_id)
            .await?
            .ok_or(ActError::NotFound)?;
        let asked = self
            .call(&channel, |connector, context| {
                let referral = record.referral.clone();
                Box::pin(async move { connector.ad_preview(context, &referral).await })
            })
            .await;
        match asked {
            Ok(Some(preview)) => Ok(Found {
                preview: Some(preview),
                ..Found::default()
            }),
            Ok(None) | Err(CallFailure::Call(CallError::NotProvided { .. })) => Ok(Found::none(
                "no_preview",
                "the platform returns no preview of this ad to this account",
            )),
            Err(CallFailure::Call(CallError::Failed {
                verdict: Verdict::Permanent,
                error,
            })) => Ok(Found::none(&error.code, &error.detail)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The result of a request to the platform.
#[derive(Default)]
struct Found {
    preview: Option<Value>,
    reason: Option<String>,
    detail: Option<String>,
}

impl Found {
    fn none(reason: &str, detail: &str) -> Self {
        Self {
            preview: None,
            reason: Some(reason.to_owned()),
            detail: Some(detail.to_owned()),
        }
    }
}

impl Ad {
    fn of(referral: &Referral, answer: AdAnswer) -> Self {
        Self {
            fault: answer.reason.is_some().then_some(Fault::Platform),
            preview: answer.preview,
            reason: answer.reason,
            detail: answer.detail,
            ad_id: referral.ad_id.clone(),
            ad_name: referral.ad_name.clone(),
            creative_id: creative(referral).map(str::to_owned),
            at: answer.at,
        }
    }
}

/// An empty id is treated as missing.
fn creative(referral: &Referral) -> Option<&str> {
    referral.creative_id.as_deref().filter(|id| !id.is_empty())
}

/// Why no request is needed.
fn without_lookup(referral: &Referral) -> Option<(&'static str, &'static str)> {
    if referral.source != "ad" {
        return Some(("not_an_ad", "the contact did not come from an ad"));
    }
    if creative(referral).is_none() {
        return Some((
            "smart_plus_campaign",
            "the platform names no creative, as for Smart+ campaigns, which make many variants of an ad: it cannot report which one \
             this contact saw",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referral(source: &str, creative: Option<&str>) -> Referral {
        Referral {
            id: None,
            source: source.to_owned(),
            ad_id: Some("1".to_owned()),
            ad_name: None,
            advertiser_id: None,
            creative_id: creative.map(str::to_owned),
            url: None,
            reference: None,
            prefilled_text: None,
            prefill_audit: None,
            at: None,
        }
    }

    #[test]
    fn ad_without_creative_is_not_looked_up() {
        let reason = |source, creative| without_lookup(&referral(source, creative)).map(|(reason, _)| reason);
        assert_eq!(reason("ad", None), Some("smart_plus_campaign"));
        assert_eq!(reason("ad", Some("")), Some("smart_plus_campaign"));
        assert_eq!(reason("ad", Some("c1")), None);
        assert_eq!(reason("link", None), Some("not_an_ad"));
    }
}
