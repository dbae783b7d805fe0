//! Follows redirects: the platform redirects elsewhere, and the connector requests that URL itself.

use weir_hostile::{Hostile, ME_URL, component, report};
use weir_sdk::http;
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;

struct Redirect;

impl Hostile for Redirect {
    const NAME: &'static str = "hostile-redirect";

    fn send(_: Draft) -> Result<Sent, Failure> {
        let mut url = ME_URL.to_owned();
        loop {
            let answer = http::get(&url).fetch();
            report(&url, &answer);
            match answer
                .ok()
                .and_then(|answer| answer.header("location").map(str::to_owned))
            {
                Some(next) => url = next,
                None => return Err(Failure::permanent("redirected", url)),
            }
        }
    }
}

component!(Redirect);
