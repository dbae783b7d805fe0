//! A secret that is nobody's: it lies among what a connector is told, no honest connector has a use for it, and one in whose
//! output it stands goes through its pockets and hands on what it finds.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Where it lies: a member of the settings that a connector is given.
const MEMBER: &str = "_secret";

/// One call's canary, and where it was seen. The default is none.
#[derive(Debug, Default)]
pub(crate) struct Canary {
    value: String,
    seen: Option<&'static str>,
}

impl Canary {
    /// That of a connector: the same in every call, over restarts too, so that one which was put aside is known again.
    pub(crate) fn of(key: &[u8; 32], connector: &str) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
        let mac = mac.chain_update(b"weir: canary\0").chain_update(connector).finalize();
        Self {
            value: format!("sk_{}", hex::encode(&mac.into_bytes()[..20])),
            seen: None,
        }
    }

    /// The settings with the canary among them.
    pub(crate) fn plant(&self, settings: &serde_json::Value) -> serde_json::Value {
        let mut members = settings.as_object().cloned().unwrap_or_default();
        members.insert(MEMBER.to_owned(), self.value.as_str().into());
        members.into()
    }

    /// A text with another word in its place: for what is kept and handed on.
    pub(crate) fn without(&self, text: String) -> String {
        if self.is_planted() && text.contains(&self.value) {
            text.replace(&self.value, "sk_planted")
        } else {
            text
        }
    }

    /// Whether the connector of this call was given one.
    pub(crate) fn is_planted(&self) -> bool {
        !self.value.is_empty()
    }

    /// Looks for it in what a connector hands over; gives whether it is there.
    pub(crate) fn look(&mut self, place: &'static str, said: &[u8]) -> bool {
        let value = self.value.as_bytes();
        let there = !value.is_empty() && memchr::memmem::find(said, value).is_some();
        if there {
            self.seen.get_or_insert(place);
        }
        there
    }

    /// Where it was seen first.
    pub(crate) fn seen(&self) -> Option<&'static str> {
        self.seen
    }
}
