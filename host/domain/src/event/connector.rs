//! Versions of connectors, as events carry them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::event::EventData;
use crate::rollout::VersionStage;

/// A version of a connector, as events carry it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConnectorVersionEventData {
    /// The connector's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Rises with each version.
    pub release: u32,
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Its stage.
    #[schema(value_type = String)]
    pub state: VersionStage,
    /// Its signature.
    #[schema(value_type = Value)]
    pub signature: SignatureEventData,
    /// Why it has this stage; absent if a person changed it and gave no reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For a canary, the percentage of accounts that it serves; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

impl EventData for ConnectorVersionEventData {}

/// The signature of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignatureEventData {
    /// The result of verifying it.
    pub status: String,
    /// The public key that verified it.
    pub key: Option<String>,
}
