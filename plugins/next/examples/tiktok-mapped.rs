//! Maps one field otherwise: a contact's display name is the handle.

use weir_next::weir_sdk::types::{Event, InboundEvent};
use weir_next::{Next, tiktok};

struct Mapped;

impl Next for Mapped {
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
