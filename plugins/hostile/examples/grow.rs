//! Allocates memory without end, and touches every page of it.

use weir_hostile::{Hostile, component};
use weir_sdk::inbound::Webhook;
use weir_sdk::types::InboundEvent;

struct Grow;

impl Hostile for Grow {
    const NAME: &'static str = "hostile-grow";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        let mut kept: Vec<Vec<u8>> = Vec::new();
        loop {
            kept.push(std::hint::black_box(vec![1; 1 << 20]));
        }
    }
}

component!(Grow);
