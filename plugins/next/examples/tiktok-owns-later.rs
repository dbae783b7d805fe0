//! As `tiktok-owns`, one version later.

use weir_next::weir_sdk::abilities::upgrade::{self, Entry};
use weir_next::weir_sdk::descriptor::Manifest;
use weir_next::weir_sdk::outbound::{Draft, Sent};
use weir_next::weir_sdk::types::{Channel, Conversation, Failure};
use weir_next::{Next, owned, tiktok};

struct Later;

impl Next for Later {
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
