//! Points in the middle of an act at which a test simulates a power failure.
//!
//! Compiled in with debug assertions, and not by a cargo feature: tests run the `weir` that `cargo build` makes, and
//! need no second build of it. In a release build a kill point does nothing, and the variable is not read.

/// Ends the process at once, as `SIGKILL` would, if the variable `WEIR_KILL_AT` names this point: nothing unwinds,
/// nothing is flushed, and no other thread continues. It ends with `SIGABRT`, by which a test recognizes that the point
/// was reached.
#[inline]
pub fn kill_point(point: &str) {
    #[cfg(debug_assertions)]
    {
        static AT: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var("WEIR_KILL_AT").ok());
        if AT.as_deref() == Some(point) {
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}
