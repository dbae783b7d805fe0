//! Bytes in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes: a string if they are UTF-8, otherwise an object with base64 (RFC 4648).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob(#[serde(serialize_with = "serialize", deserialize_with = "deserialize")] pub(crate) Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<T> {
    Text(T),
    Bytes { base64: String },
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let written = std::str::from_utf8(bytes).map_or_else(
        |_| Written::Bytes {
            base64: STANDARD.encode(bytes),
        },
        Written::Text,
    );
    written.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Written::<String>::deserialize(deserializer)? {
        Written::Text(text) => Ok(text.into_bytes()),
        Written::Bytes { base64 } => STANDARD.decode(base64).map_err(serde::de::Error::custom),
    }
}
