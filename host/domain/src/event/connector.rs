//! Versions of connectors, as events tell of them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::EventData;
use crate::rollout::VersionStage;

/// A version of a connector, as events tell of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ToldVersion {
    /// The connector's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Rises with each version.
    pub release: u32,
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: VersionStage,
    /// Who signed it.
    #[schema(value_type = Value)]
    pub signature: ToldSignature,
    /// Why it came to stand there; absent if a person wanted it and gave no reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of a canary, how many of a hundred accounts it serves; absent from all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

impl EventData for ToldVersion {}

/// Who signed a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldSignature {
    /// What became of checking it.
    pub status: String,
    /// The public key that verified it.
    pub key: Option<String>,
}
