//! Names of things that Weir made: a prefix for the eye and a UUIDv7 (RFC 9562), so that they sort by time.
//!
//! One type per kind of thing: handing a channel where a contact belongs does not compile.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::time::Timestamp;

/// The text is no id of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not an id of the form {prefix}_<uuid>")]
pub struct NotAnId {
    text: String,
    prefix: &'static str,
}

/// An id type; made by [`Mint::id`], read from text.
pub trait Id: Sized {
    /// What stands before the underscore.
    const PREFIX: &'static str;
    /// Wraps a UUID that was minted for this kind.
    fn from_uuid(uuid: Uuid) -> Self;
    /// The bare UUID, for a record that keeps ids as sixteen bytes.
    fn uuid(&self) -> Uuid;
    /// The moment it was minted at, by the clock of then (RFC 9562, 5.7).
    fn minted_at(&self) -> Timestamp {
        Timestamp::from_millis((self.uuid().as_u128() >> 80) as i64)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
            fn uuid(&self) -> Uuid {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or_else(|| NotAnId { text: text.chars().take(64).collect(), prefix: $prefix })
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "_[0-9a-f-]{32,36}$")))
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}

id!(/** A connected business account. */ ChannelId, "chn");
id!(/** A person that a channel talks to. */ ContactId, "ctc");
id!(/** The thread between one channel and one contact. */ ConversationId, "cnv");
id!(/** A message, in or out. */ MessageId, "msg");
id!(/** Stored bytes. */ MediaId, "med");
id!(/** A fact that the host tells. */ EventId, "evt");
id!(/** Where an operator wants events. */ EndpointId, "ep");
id!(/** The handing-over of one event to one endpoint. */ DeliveryId, "dlv");
id!(/** One connecting of an account, from link to channel. */ ConnectSessionId, "cs");
id!(/** A verified webhook that could not be translated. */ DeadLetterId, "dl");
id!(/** How a contact came. */ ReferralId, "ref");
id!(/** A judge's no, kept. */ RefusalId, "rfs");
id!(/** An API key. */ KeyId, "key");
id!(/** What crossed the boundary in one call, kept. */ TranscriptId, "trn");
id!(/** One HTTP request to the API. */ RequestId, "req");

/// Makes ids and random bytes from one seed, so that a run under test control makes the same ones every time.
pub struct Mint(Mutex<StdRng>);

impl Mint {
    /// A mint that repeats itself for the same seed. The host seeds it from the operating system.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Mutex::new(StdRng::from_seed(seed)))
    }

    /// A new id, sorted by `now`.
    pub fn id<I: Id>(&self, now: Timestamp) -> I {
        let mut random = [0; 10];
        self.fill(&mut random);
        let ms = u64::try_from(now.as_millis()).unwrap_or(0);
        I::from_uuid(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }

    /// Fills `bytes` with randomness that is fit for secrets when the seed is.
    pub fn fill(&self, bytes: &mut [u8]) {
        // A panic while filling leaves the generator in a state as good as any other.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .fill_bytes(bytes);
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mint")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_documented() {
        let page = include_str!("../../../docs/api.md");
        let kinds = include_str!("id.rs").lines().filter(|line| line.starts_with("id!("));
        let kinds: Vec<&str> = kinds.filter_map(|line| line.rsplit('"').nth(1)).collect();
        assert!(kinds.len() > 10, "{kinds:?}");
        for kind in kinds {
            assert!(page.contains(&format!("`{kind}_…`")), "docs/api.md lacks {kind}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let mint = Mint::from_seed([7; 32]);
        let first: MessageId = mint.id(Timestamp::from_millis(1_000));
        let second: MessageId = mint.id(Timestamp::from_millis(2_000));
        assert!(first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse(), Ok(first));
    }

    #[test]
    fn an_id_of_another_kind_is_not_read() {
        let contact: ContactId = Mint::from_seed([7; 32]).id(Timestamp::from_millis(1_000));
        assert!(contact.to_string().parse::<MessageId>().is_err());
    }

    #[test]
    fn the_same_seed_makes_the_same_ids() {
        let id = || Mint::from_seed([7; 32]).id::<EventId>(Timestamp::from_millis(5));
        assert_eq!(id(), id());
    }
}
