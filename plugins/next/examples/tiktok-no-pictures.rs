//! Does what it always did, and declares no route for pictures: the host refuses each that it sends or fetches.

use weir_next::weir_sdk::descriptor::Manifest;
use weir_next::{Next, tiktok};

struct NoPictures;

impl Next for NoPictures {
    const NUMBER: &'static str = "0.2.5";

    fn manifest(manifest: &mut Manifest) {
        let is_for_bytes = |id: &str| id == "send-image" || id.starts_with("media");
        manifest.routes.retain(|route| !is_for_bytes(&route.id));
    }
}

tiktok!(NoPictures);
