//! A connector's key-value state, one for each channel. Writes are kept if the call returns, and dropped if it traps.

pub use crate::bindings::weir::connector::state::Error;

#[cfg(target_arch = "wasm32")]
use crate::bindings::weir::connector::state as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testkit::state as host;

/// The value of `key`, if it was set.
///
/// # Errors
/// In a call that may not use state.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    host::get(key)
}

/// Sets `key`.
///
/// # Errors
/// If it exceeds a quota of the host, or in a call that may not use state.
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    host::set(key, value)
}

/// Removes `key`, if it was set.
///
/// # Errors
/// In a call that may not use state.
pub fn delete(key: &str) -> Result<(), Error> {
    host::delete(key)
}

/// The keys with the prefix `prefix`, sorted.
///
/// # Errors
/// In a call that may not use state.
pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
    host::keys(prefix)
}
