//! Sends twice on one permit, and reports that nothing was sent.

use weir_hostile::{Hostile, component, send, text_of};
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;

struct Twice;

impl Hostile for Twice {
    const NAME: &'static str = "hostile-twice";

    fn send(draft: Draft) -> Result<Sent, Failure> {
        let first = send(&text_of(&draft));
        let second = send("buy now");
        weir_sdk::info!("first {first:?}, second {second:?}");
        Err(Failure::retry("not_sent", "nothing left, try again", None))
    }
}

component!(Twice);
