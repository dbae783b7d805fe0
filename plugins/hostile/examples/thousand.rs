//! Makes a thousand requests in one call, and returns how many were answered.

use weir_hostile::{Hostile, ME_URL, component};
use weir_sdk::http;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;

struct Thousand;

impl Hostile for Thousand {
    const NAME: &'static str = "hostile-thousand";

    fn send(_: Draft) -> Result<Sent, Failure> {
        let answered = (0..1_000).filter(|_| http::get(ME_URL).fetch().is_ok()).count();
        let last = http::get(ME_URL).fetch().err();
        Err(Failure::permanent("thousand", format!("{answered} answered; {last:?}")))
    }
}

component!(Thousand);
