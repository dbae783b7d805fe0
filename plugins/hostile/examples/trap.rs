//! Traps in every webhook and every send.

use weir_hostile::{Hostile, component};
use weir_sdk::inbound::Webhook;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::{Failure, InboundEvent};

struct Trap;

impl Hostile for Trap {
    const NAME: &'static str = "hostile-trap";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        panic!("as it likes")
    }

    fn send(_: Draft) -> Result<Sent, Failure> {
        panic!("as it likes")
    }
}

component!(Trap);
