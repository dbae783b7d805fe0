//! A planted secret that opens nothing: it is among the settings that a connector is given, no honest connector has a
//! use for it, and a connector in whose output it appears collects secrets and leaks them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The member of a connector's settings that holds it.
const MEMBER: &str = "_secret";

/// One call's honeytoken, and where it was seen. The default is none.
#[derive(Debug, Default)]
pub(crate) struct Honeytoken {
    value: String,
    seen: Option<&'static str>,
}

impl Honeytoken {
    /// The honeytoken of a connector: the same in every call and after a restart, so that what leaked earlier is
    /// recognized.
    pub(crate) fn of(key: &[u8; 32], connector: &str) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
        let mac = mac.chain_update(b"weir: canary\0").chain_update(connector).finalize();
        Self {
            value: format!("sk_{}", hex::encode(&mac.into_bytes()[..20])),
            seen: None,
        }
    }

    /// The settings with the honeytoken in them.
    pub(crate) fn plant(&self, settings: &serde_json::Value) -> serde_json::Value {
        let mut members = settings.as_object().cloned().unwrap_or_default();
        members.insert(MEMBER.to_owned(), self.value.as_str().into());
        members.into()
    }

    /// `text` with a placeholder instead: for what is stored and shown.
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

    /// Whether it appears in what a connector hands over.
    pub(crate) fn inspect(&mut self, place: &'static str, output: &[u8]) -> bool {
        let value = self.value.as_bytes();
        let there = !value.is_empty() && memchr::memmem::find(output, value).is_some();
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
