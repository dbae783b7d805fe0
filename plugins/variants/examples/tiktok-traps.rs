//! Traps in each webhook.

use weir_variants::weir_sdk::types::InboundEvent;
use weir_variants::{Variant, tiktok};

struct Traps;

impl Variant for Traps {
    const NUMBER: &'static str = "0.2.2";

    fn received(events: &mut Vec<InboundEvent>) {
        panic!("{} events are too many", events.len());
    }
}

tiktok!(Traps);
