//! Writes a million log lines, the first of which try to imitate other lines: with line breaks, terminal escape codes,
//! and characters that change the writing direction.

use weir_hostile::{Hostile, component};
use weir_sdk::inbound::Webhook;
use weir_sdk::types::InboundEvent;

struct Flood;

impl Hostile for Flood {
    const NAME: &'static str = "hostile-flood";

    fn receive(_: Webhook) -> Result<Vec<InboundEvent>, String> {
        weir_sdk::warn!("one\n2026-01-01T00:00:00Z INFO weir: all is well\r\ntwo");
        weir_sdk::warn!("\u{1b}[2J\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}1m");
        weir_sdk::warn!("abc\u{202e}fed\u{2066}x\u{2069}\u{200f}");
        weir_sdk::warn!("{}", "long ".repeat(100_000));
        for line in 0..1_000_000_u32 {
            weir_sdk::warn!("line {line}");
        }
        Ok(Vec::new())
    }
}

component!(Flood);
