//! The host's clock: the same in every call of a test, recorded for replay.

use crate::types::Timestamp;

/// Now, in milliseconds since the Unix epoch, UTC.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::weir::connector::clock::now();
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testkit::now();
}
