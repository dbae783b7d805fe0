//! Connectors: which versions there are, which of them serves, and what their calls come to.

pub mod apps;
pub(crate) mod forged;
pub mod pacing;
pub mod provenance;
pub(crate) mod quarantine;
pub mod registry;
pub mod rollout;
pub mod transcripts;
pub(crate) mod version_failures;
