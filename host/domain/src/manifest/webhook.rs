//! The signature schemes of webhooks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A platform's signature scheme for webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The signature of each webhook.
    pub proof: Proof,
    /// The verification request by GET before the first webhook.
    pub challenge: Option<Challenge>,
}

/// The signature scheme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Proof {
    /// HMAC-SHA-256 over declared parts.
    Hmac {
        /// The app's secret that is the key.
        secret: String,
        /// The place of the signature.
        signature: Located,
        /// The encoding of the signature.
        encoding: Encoding,
        /// The place of the timestamp.
        timestamp: Option<Located>,
        /// The signed parts, in order.
        signed: Vec<SignedPart>,
        /// The largest difference of the timestamp from now, in seconds.
        tolerance_s: u32,
    },
    /// A secret that is repeated in a header.
    SharedSecret {
        /// The header.
        header: String,
        /// The app's secret.
        secret: String,
    },
    /// Ed25519 over declared parts; the key is one of the app's secrets, in hex.
    Ed25519 {
        /// The app's secret that is the public key.
        public_key_secret: String,
        /// The place of the signature, in hex.
        signature: Located,
        /// The place of the timestamp.
        timestamp: Option<Located>,
        /// The signed parts, in order.
        signed: Vec<SignedPart>,
        /// The largest difference of the timestamp from now, in seconds.
        tolerance_s: u32,
    },
}

impl Webhook {
    /// The largest difference between the platform's clock and the host's at which a webhook is accepted; `None` if its
    /// scheme has no time.
    pub fn tolerance(&self) -> Option<Duration> {
        match &self.proof {
            Proof::Hmac { tolerance_s, .. } | Proof::Ed25519 { tolerance_s, .. } => {
                Some(Duration::from_secs(u64::from(*tolerance_s)))
            }
            Proof::SharedSecret { .. } => None,
        }
    }
}

/// A value in a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Located {
    /// The header.
    pub header: String,
    /// The name of a `name=value` part.
    pub part: Option<String>,
    /// The text before the value.
    pub prefix: String,
}

/// The encoding of bytes in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Base64, RFC 4648.
    Base64,
}

/// A signed part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignedPart {
    /// The timestamp as sent.
    Timestamp,
    /// The raw body.
    Body,
    /// A fixed text.
    Literal(String),
}

/// A verification request by GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// The parameter whose value is the response.
    pub answer_with: String,
    /// A parameter, and the app's secret that it must equal.
    pub verify: Option<(String, String)>,
}
