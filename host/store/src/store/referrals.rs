//! Referrals: how contacts arrived.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::{ChannelId, ReferralId};
use weir_domain::message::Referral;

use crate::engine::Engine;
use crate::tables::referrals;
use crate::{AdAnswer, Listed, Page, ReferralRecord, Result};

/// Referrals: how contacts arrived.
#[async_trait]
pub trait Referrals: Send + Sync {
    /// The referrals of these channels, of all if none is given; newest first.
    async fn referrals(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<ReferralRecord>>;
    /// One referral.
    async fn referral(&self, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>>;
    /// Stores the result of fetching a referral's ad.
    async fn keep_ad(&self, workspace: &str, id: ReferralId, answer: AdAnswer) -> Result<()>;
    /// The newest referral of a channel by a link with this text as its prefill.
    async fn referral_with_prefill(&self, workspace: &str, channel: ChannelId, text: &str) -> Result<Option<Referral>>;
}

#[async_trait]
impl<E: Engine> Referrals for E {
    async fn referrals(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<ReferralRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| referrals::all(db, &workspace, &of, &page)).await
    }
    async fn referral(&self, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| referrals::one(db, &workspace, id)).await
    }
    async fn keep_ad(&self, workspace: &str, id: ReferralId, answer: AdAnswer) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| referrals::keep_ad(db, &workspace, id, &answer))
            .await
    }
    async fn referral_with_prefill(&self, workspace: &str, channel: ChannelId, text: &str) -> Result<Option<Referral>> {
        let workspace = workspace.to_owned();
        let text = text.to_owned();
        self.read(move |db| referrals::with_prefill(db, &workspace, channel, &text))
            .await
    }
}
