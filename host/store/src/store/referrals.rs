//! How contacts came.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::{ChannelId, ReferralId};
use weir_domain::message::Referral;

use crate::engine::Engine;
use crate::tables::referrals;
use crate::{AdAnswer, Listed, Page, ReferralRecord, Result};

/// How contacts came.
#[async_trait]
pub trait Referrals: Send + Sync {
    /// How contacts came to these channels, to all if none is named; newest first.
    async fn referrals(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<ReferralRecord>>;
    /// How a contact came.
    async fn referral(&self, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>>;
    /// Keeps what was found out of the ad that brought a contact.
    async fn keep_ad(&self, workspace: &str, id: ReferralId, answer: AdAnswer) -> Result<()>;
    /// The newest referral of a channel by a link that put this text into the composer.
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
