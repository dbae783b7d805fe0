//! Fills most of its memory again and again: each fill is one instruction, and the epoch is checked only between
//! instructions.

use weir_hostile::{Hostile, component};
use weir_sdk::inbound::Webhook;
use weir_sdk::types::InboundEvent;

struct Bulk;

impl Hostile for Bulk {
    const NAME: &'static str = "hostile-bulk";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        // The memory limit of an instance, less its own use.
        let mut memory = vec![0_u8; 60 << 20];
        let mut value = 0;
        loop {
            value = std::hint::black_box(value) ^ 0xff;
            std::hint::black_box(&mut memory).fill(value);
        }
    }
}

component!(Bulk);
