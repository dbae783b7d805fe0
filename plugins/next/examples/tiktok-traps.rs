//! Breaks off in every webhook.

use weir_next::weir_sdk::types::InboundEvent;
use weir_next::{Next, tiktok};

struct Traps;

impl Next for Traps {
    const NUMBER: &'static str = "0.2.2";

    fn received(events: &mut Vec<InboundEvent>) {
        panic!("{} events are too many", events.len());
    }
}

tiktok!(Traps);
