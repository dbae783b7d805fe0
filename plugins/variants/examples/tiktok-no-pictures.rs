//! Declares no route for images, so the host refuses each that it sends or fetches.

use weir_variants::weir_sdk::descriptor::Manifest;
use weir_variants::{Variant, tiktok};

struct NoPictures;

impl Variant for NoPictures {
    const NUMBER: &'static str = "0.2.5";

    fn manifest(manifest: &mut Manifest) {
        let is_for_bytes = |id: &str| id == "send-image" || id.starts_with("media");
        manifest.routes.retain(|route| !is_for_bytes(&route.id));
    }
}

tiktok!(NoPictures);
