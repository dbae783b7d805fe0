//! Fills its channel's state with keys and values without end, then returns the number that it wrote.

use weir_hostile::{Hostile, component};
use weir_sdk::outbound::{Draft, Sent};
use weir_sdk::state;
use weir_sdk::types::Failure;

struct Hoard;

impl Hostile for Hoard {
    const NAME: &'static str = "hostile-hoard";

    fn send(_: Draft) -> Result<Sent, Failure> {
        let mut kept = 0;
        let mut last = String::new();
        for key in 0..200 {
            match state::set(&format!("key {key}"), &[0; 60 << 10]) {
                Ok(()) => kept += 1,
                Err(error) => last = format!("{error:?}"),
            }
        }
        let one = state::set("one", &vec![0; 1 << 20]);
        let long = state::set(&"k".repeat(100_000), b"");
        Err(Failure::permanent(
            "hoarded",
            format!("{kept} kept; {last}; one great value: {one:?}; one long key: {long:?}"),
        ))
    }
}

component!(Hoard);
