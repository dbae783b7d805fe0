//! Maps one field differently: a contact's display name is the handle.

use weir_variants::weir_sdk::types::{Event, InboundEvent};
use weir_variants::{Variant, tiktok};

struct Mapped;

impl Variant for Mapped {
    const NUMBER: &'static str = "0.2.1";

    fn received(events: &mut Vec<InboundEvent>) {
        for event in events {
            if let Event::Message(message) = &mut event.event {
                message.contact.display_name = message.contact.username.clone();
            }
        }
    }
}

tiktok!(Mapped);
