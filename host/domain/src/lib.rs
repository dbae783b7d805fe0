//! What is true and what is allowed: Weir's rules as pure functions.
