//! What crosses the boundary in a call: recorded as a transcript, replayed from one, compared, and masked.

pub(crate) mod blob;
pub(crate) mod recorder;
pub(crate) mod replay;
mod scrub;
pub(crate) mod transcript;
