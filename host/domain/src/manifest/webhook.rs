//! How a platform's webhooks prove where they come from.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a platform's webhooks prove themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The proof of each webhook.
    pub proof: Proof,
    /// The question asked by GET before the first one.
    pub challenge: Option<Challenge>,
}

/// The proof that a webhook carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Proof {
    /// HMAC-SHA-256 over declared parts.
    Hmac {
        /// Which of the app's secrets is the key.
        secret: String,
        /// Where the signature stands.
        signature: Located,
        /// How it is written.
        encoding: Encoding,
        /// Where the timestamp stands.
        timestamp: Option<Located>,
        /// What is signed, in order.
        signed: Vec<SignedPart>,
        /// How far the timestamp may be from now, in seconds.
        tolerance_s: u32,
    },
    /// A secret repeated in a header.
    SharedSecret {
        /// The header.
        header: String,
        /// Which of the app's secrets.
        secret: String,
    },
    /// Ed25519 over declared parts; the key is one of the app's secrets, in hex.
    Ed25519 {
        /// Which of the app's secrets is the public key.
        public_key_secret: String,
        /// Where the signature stands, in hex.
        signature: Located,
        /// Where the timestamp stands.
        timestamp: Option<Located>,
        /// What is signed, in order.
        signed: Vec<SignedPart>,
        /// How far the timestamp may be from now, in seconds.
        tolerance_s: u32,
    },
}

impl Webhook {
    /// How far the platform's clock and ours may be apart for a webhook to be taken; none if its proof has no time.
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
    /// What stands before the value.
    pub prefix: String,
}

/// How bytes are written in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Base64, RFC 4648.
    Base64,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignedPart {
    /// The timestamp as it was written.
    Timestamp,
    /// The raw body.
    Body,
    /// A fixed text.
    Literal(String),
}

/// A question by GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// The parameter whose value is the answer.
    pub answer_with: String,
    /// A parameter, and the app's secret that it must equal.
    pub verify: Option<(String, String)>,
}
