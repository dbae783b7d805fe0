//! Never returns: not from a webhook, and not from a send.

use weir_hostile::{Hostile, component};
use weir_sdk::inbound::Webhook;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::{Failure, InboundEvent};

struct Spin;

impl Hostile for Spin {
    const NAME: &'static str = "hostile-spin";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        spin()
    }

    fn send(_: Draft) -> Result<Sent, Failure> {
        spin()
    }
}

fn spin() -> ! {
    let mut turns: u64 = 0;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

component!(Spin);
