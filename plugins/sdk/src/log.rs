//! Log lines for the connector's operator. Never log message content.
//!
//! ```
//! weir_sdk::warn!("the platform sent a message of an unknown type, {}", "voice");
//! ```

pub use crate::bindings::weir::connector::log::Level;

/// Writes one line; the host removes control characters, and drops and counts lines beyond its limit.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::weir::connector::log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testkit::log(level, message);
}

/// Writes a line of level debug.
#[macro_export]
macro_rules! debug { ($($text:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($text)+)) }; }
/// Writes a line of level info.
#[macro_export]
macro_rules! info { ($($text:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($text)+)) }; }
/// Writes a line of level warn.
#[macro_export]
macro_rules! warn { ($($text:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($text)+)) }; }
/// Writes a line of level error.
#[macro_export]
macro_rules! error { ($($text:tt)+) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($text)+)) }; }
