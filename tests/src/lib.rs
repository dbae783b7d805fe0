//! Weir's promises, tested on the built host with real components.
