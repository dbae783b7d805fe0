//! TikTok Business Messaging for Weir: direct messages of TikTok Business Accounts, over the Business API v1.3.
//!
//! * [`manifest`](mod@manifest): the platform's policies and this connector's permissions, as data.
//! * [`receive`](mod@receive): webhooks into events; [`content`] reads one message's block.
//! * [`send`]: drafts into requests; [`wire`] implements TikTok's envelope and [`errors`] maps its codes.
//! * [`history`], [`media`], [`automations`], [`identity`]: the rest of the platform, a file each.
//!
//! Where TikTok does not document its behavior, the code uses the least harmful reading, and a comment says so.
//! References are to the pages of TikTok's API for Business portal, by their titles.

// As a component, the generated exports are the one exception.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
// A failure is a record of the interface, and boxing it here would only unbox it at the boundary.
#![allow(clippy::result_large_err)]

pub mod automations;
pub mod content;
pub mod errors;
pub mod history;
pub mod identity;
pub mod manifest;
pub mod media;
pub mod receive;
pub mod send;
pub mod wire;

#[cfg(test)]
mod fixture;

use weir_sdk::Connector;
use weir_sdk::abilities::Ads;
use weir_sdk::descriptor::Manifest;
use weir_sdk::identity::{Finding as Check, Profile};
use weir_sdk::inbound::Webhook;
use weir_sdk::outbound::{Draft, Finding, Sent};
use weir_sdk::types::{Channel, Conversation, Failure, InboundEvent, Json, Referral};

/// The connector for TikTok.
pub struct TikTok;

impl Connector for TikTok {
    fn describe() -> Manifest {
        manifest::manifest()
    }

    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        receive::receive(&webhook.body)
    }

    fn prepare(draft: Draft) -> Vec<Finding> {
        send::prepare(&draft)
    }

    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        send::send(&channel, &conversation, &draft)
    }

    fn who_am_i(channel: Channel) -> Result<Profile, Failure> {
        identity::who_am_i(&channel)
    }

    fn connected(channel: Channel) -> Result<(), Failure> {
        identity::subscribe(&channel)?;
        identity::may_message(&channel)
    }

    fn check(channel: Channel) -> Result<Vec<Check>, Failure> {
        Ok(identity::check(&channel))
    }
}

impl Ads for TikTok {
    /// Always none: a preview needs an advertiser's authorization, which is another token than the account's
    /// (Compatibility changes for Upgraded Smart+ Campaigns).
    fn preview(_channel: Channel, _referral: Referral) -> Result<Option<Json>, Failure> {
        Ok(None)
    }
}

#[cfg(feature = "component")]
weir_sdk::export!(TikTok: signals, media_transfer, probing, history, contacts, automations, ads);
