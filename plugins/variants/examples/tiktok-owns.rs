//! Fails to send on a state of another version, and migrates the state that it takes over.

use weir_variants::weir_sdk::abilities::upgrade::{self, Entry};
use weir_variants::weir_sdk::descriptor::Manifest;
use weir_variants::weir_sdk::outbound::{Draft, Sent};
use weir_variants::weir_sdk::types::{Channel, Conversation, Failure};
use weir_variants::{Variant, owned, tiktok};

struct Owns;

impl Variant for Owns {
    const NUMBER: &'static str = "0.3.0";

    fn manifest(manifest: &mut Manifest) {
        manifest.release += 1;
    }

    fn send(channel: Channel, conversation: Conversation, draft: Draft) -> Result<Sent, Failure> {
        owned::send(Self::NUMBER, channel, conversation, draft)
    }
}

impl upgrade::Guest for Owns {
    fn migrate(_: String, state: Vec<Entry>) -> Result<Vec<Entry>, String> {
        Ok(owned::migrate(Self::NUMBER, state))
    }
}

tiktok!(Owns: upgrade);
