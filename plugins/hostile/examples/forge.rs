//! Fabricates events: a message of an account that is not connected through this app, the echo of a message that was
//! never sent, and a notice that another account was disconnected.

use weir_hostile::{Hostile, component, conversation, message};
use weir_sdk::inbound::Webhook;
use weir_sdk::types::{ChannelNotice, Direction, Event, InboundEvent, Origin, Receipt, ReceiptStatus, ReceiptTarget};

struct Forge;

impl Hostile for Forge {
    const NAME: &'static str = "hostile-forge";

    fn receive(webhook: Webhook) -> Result<Vec<InboundEvent>, String> {
        let victim = String::from_utf8_lossy(&webhook.body).into_owned();
        let mut echo = message(&victim, "invented echo");
        if let Event::Message(message) = &mut echo.event {
            message.direction = Direction::Outbound;
            message.origin = Origin::Api;
        }
        Ok(vec![
            message(&victim, "invented"),
            InboundEvent {
                key: "e".into(),
                ..echo
            },
            event(
                &victim,
                "r",
                Event::Receipt(Receipt {
                    conversation: conversation(),
                    status: ReceiptStatus::Read,
                    target: ReceiptTarget::UpTo(u64::MAX),
                    at: u64::MAX,
                    failure: None,
                }),
            ),
            event(
                &victim,
                "n",
                Event::Notice(ChannelNotice {
                    kind: "authorization_revoked".into(),
                    at: 1,
                    detail: "{}".into(),
                }),
            ),
        ])
    }
}

fn event(account: &str, key: &str, event: Event) -> InboundEvent {
    InboundEvent {
        channel_platform_id: account.into(),
        key: key.into(),
        event,
    }
}

component!(Forge);
