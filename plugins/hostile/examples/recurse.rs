//! Recurses until the stack is exhausted.

use weir_hostile::{Hostile, component};
use weir_sdk::inbound::Webhook;
use weir_sdk::types::InboundEvent;

struct Recurse;

impl Hostile for Recurse {
    const NAME: &'static str = "hostile-recurse";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        Err(deeper(1).to_string())
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    // Used after the call, so that no frame can be optimized away.
    let frame = std::hint::black_box([depth; 8]);
    if depth == u64::MAX {
        return depth;
    }
    deeper(depth + 1) + std::hint::black_box(frame)[7]
}

component!(Recurse);
