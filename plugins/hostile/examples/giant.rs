//! Returns more than any host accepts: a text or an error of 8 MiB, or twenty thousand events, selected by the
//! webhook's body.

use weir_hostile::{Hostile, component, message};
use weir_sdk::inbound::Webhook;
use weir_sdk::types::{Event, InboundEvent};

struct Giant;

impl Hostile for Giant {
    const NAME: &'static str = "hostile-giant";

    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        match webhook.body.as_slice() {
            b"text" => Ok(vec![message("acme", &"x".repeat(8 << 20))]),
            b"error" => Err("x".repeat(8 << 20)),
            _ => Ok((0..20_000).map(|_| small()).collect()),
        }
    }
}

fn small() -> InboundEvent {
    InboundEvent {
        channel_platform_id: String::new(),
        key: String::new(),
        event: Event::Unknown(String::new()),
    }
}

component!(Giant);
