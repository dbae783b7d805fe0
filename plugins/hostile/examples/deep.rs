//! Returns JSON that is nested thirty thousand levels deep, where a document is allowed.

use weir_hostile::{Hostile, component, message, profile};
use weir_sdk::identity::Profile;
use weir_sdk::inbound::Webhook;
use weir_sdk::types::{Channel, Event, Failure, InboundEvent};

struct Deep;

impl Hostile for Deep {
    const NAME: &'static str = "hostile-deep";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        let mut event = message("acme", "deep");
        if let Event::Message(message) = &mut event.event {
            message.platform_data = Some(nested());
        }
        Ok(vec![event])
    }

    fn who_am_i(_: Channel) -> Result<Profile, Failure> {
        Ok(Profile {
            platform_data: Some(nested()),
            ..profile("acme")
        })
    }
}

fn nested() -> String {
    "[".repeat(30_000) + &"]".repeat(30_000)
}

component!(Deep);
