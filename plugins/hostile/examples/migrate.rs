//! Never returns from the migration of a state, or returns more than a channel may have.

use weir_hostile::{Hostile, component};
use weir_sdk::abilities::upgrade::{self, Entry};

struct Migrate;

impl Hostile for Migrate {
    const NAME: &'static str = "hostile-migrate";
}

impl upgrade::Guest for Migrate {
    fn migrate(from_version: String, state: Vec<Entry>) -> Result<Vec<Entry>, String> {
        match from_version.as_str() {
            "0.0.1" => loop {
                std::hint::black_box(&state);
            },
            "0.0.2" => panic!("as it likes"),
            _ => Ok((0..1_000)
                .map(|key| Entry {
                    key: key.to_string(),
                    value: vec![0; 1_000],
                })
                .collect()),
        }
    }
}

component!(Migrate: upgrade);
