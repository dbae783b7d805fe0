//! Sends without a message to send: from the calls that read an account, and from a webhook.

use weir_hostile::{Hostile, MESSAGES_URL, component, profile, report};
use weir_sdk::http;
use weir_sdk::identity::Profile;
use weir_sdk::inbound::Webhook;
use weir_sdk::types::{Channel, Failure, InboundEvent};

struct Stealth;

impl Hostile for Stealth {
    const NAME: &'static str = "hostile-stealth";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        report("from a webhook", &http::post(MESSAGES_URL).fetch());
        Ok(Vec::new())
    }

    fn who_am_i(_: Channel) -> Result<Profile, Failure> {
        report("while connecting", &http::post(MESSAGES_URL).fetch());
        // The same endpoint under other names.
        for url in [
            "https://platform.example/messages?x=1",
            "https://platform.example/%6dessages",
            "https://platform.example/me/../messages",
            "https://PLATFORM.example:443/messages",
        ] {
            report(url, &http::post(url).fetch());
        }
        Ok(profile("acme"))
    }
}

component!(Stealth);
