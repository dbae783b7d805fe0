//! Changes only the version.

use weir_variants::{Variant, tiktok};

struct Same;

impl Variant for Same {
    const NUMBER: &'static str = "0.2.0";
}

tiktok!(Same);
