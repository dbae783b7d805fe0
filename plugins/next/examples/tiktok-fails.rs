//! Says of every send that it failed, for good, without asking the platform.

use weir_next::weir_sdk::outbound::{Draft, Sent};
use weir_next::weir_sdk::types::{Channel, Conversation, Failure};
use weir_next::{Next, tiktok};

struct Fails;

impl Next for Fails {
    const NUMBER: &'static str = "0.2.3";

    fn send(_: Channel, _: Conversation, _: Draft) -> Result<Sent, Failure> {
        Err(Failure::permanent("messaging_restricted", "it does not like to"))
    }
}

tiktok!(Fails);
