//! Reports a permanent failure for each message, without a request to the platform.

use weir_variants::weir_sdk::outbound::{Draft, Sent};
use weir_variants::weir_sdk::types::{Channel, Conversation, Failure};
use weir_variants::{Variant, tiktok};

struct Fails;

impl Variant for Fails {
    const NUMBER: &'static str = "0.2.3";

    fn send(_: Channel, _: Conversation, _: Draft) -> Result<Sent, Failure> {
        Err(Failure::permanent("messaging_restricted", "this variant sends nothing"))
    }
}

tiktok!(Fails);
