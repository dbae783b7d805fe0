//! `tiktok-owns`, one version later.

use weir_variants::weir_sdk::abilities::upgrade::{self, Entry};
use weir_variants::weir_sdk::descriptor::Manifest;
use weir_variants::weir_sdk::outbound::{Draft, Sent};
use weir_variants::weir_sdk::types::{Channel, Conversation, Failure};
use weir_variants::{Variant, owned, tiktok};

struct Later;

impl Variant for Later {
    const NUMBER: &'static str = "0.4.0";

    fn manifest(manifest: &mut Manifest) {
        manifest.release += 2;
    }

    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        owned::send(Self::NUMBER, channel, conversation, draft)
    }
}

impl upgrade::Guest for Later {
    fn migrate(_: String, state: Vec<Entry>) -> Result<Vec<Entry>, String> {
        Ok(owned::migrate(Self::NUMBER, state))
    }
}

tiktok!(Later: upgrade);
