//! Changes nothing but its number.

use weir_next::{Next, tiktok};

struct Same;

impl Next for Same {
    const NUMBER: &'static str = "0.2.0";
}

tiktok!(Same);
