//! Provenance of a component: its signature, in minisign's format
//! (<https://jedisct1.github.io/minisign/#signature-format>), verified with the keys that the operator trusts.
//!
//! A signature covers every byte of the component, including its manifest: name, version, release counter, routes. It
//! is verified when a component is installed and each time one is loaded, so that removing a key from the configuration
//! revokes trust in what it signed. An invalid signature is rejected even where unsigned components are accepted: the
//! file was modified.

use std::collections::BTreeMap;

use minisign_verify::{Error, PublicKey, Signature as Minisign};
use weir_store::Signature;

/// Longest signature file; minisign's own have about 300 bytes.
pub(crate) const SIGNATURE_BYTES: usize = 2 << 10;

/// Keys that are trusted, by the operator's names for them.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(BTreeMap<String, PublicKey>);

impl TrustedKeys {
    /// From names and public keys in minisign's base64, the second line of a `.pub` file.
    ///
    /// # Errors
    /// The name of the key that cannot be read.
    pub fn parse(keys: &BTreeMap<String, String>) -> Result<Self, String> {
        let parse = |(name, text): (&String, &String)| match PublicKey::from_base64(text.trim()) {
            Ok(key) => Ok((name.clone(), key)),
            Err(_) => Err(name.clone()),
        };
        keys.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a component's signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTrusted {
    /// Unsigned.
    #[error(
        "the component is not signed, and this host requires a trusted signature; sign it (minisign -S -m FILE), or \
         set allow_unsigned"
    )]
    Unsigned,
    /// Signed with a key that is not trusted.
    #[error(
        "the component is signed by a key that is not among trusted_keys; add the signer's public key if you trust it"
    )]
    UnknownKey,
    /// It does not match these bytes.
    #[error("the signature does not match the component: one of them was modified")]
    Wrong,
    /// It is not a signature.
    #[error("the signature cannot be read; send the contents of FILE.minisig")]
    Unreadable,
}

/// The signer of these bytes, or the reason why a signature is not required.
///
/// # Errors
/// They may not be run here.
pub(crate) fn judge(
    component: &[u8],
    signature: Option<&str>,
    trusted: &TrustedKeys,
    allow_unsigned: bool,
) -> Result<Signature, NotTrusted> {
    let untrusted = |status: &str, no: NotTrusted| {
        let signed = Signature {
            status: status.to_owned(),
            key: None,
            text: signature.map(str::to_owned),
        };
        allow_unsigned.then_some(signed).ok_or(no)
    };
    let Some(text) = signature else {
        return untrusted("unsigned", NotTrusted::Unsigned);
    };
    if text.len() > SIGNATURE_BYTES {
        return Err(NotTrusted::Unreadable);
    }
    let decoded = Minisign::decode(text).map_err(|_| NotTrusted::Unreadable)?;
    for (name, key) in &trusted.0 {
        // Prehashed or not: minisign writes the one, and `-l` the other.
        match key.verify(component, &decoded, true) {
            Ok(()) => {
                return Ok(Signature {
                    status: "trusted".to_owned(),
                    key: Some(name.clone()),
                    text: Some(text.to_owned()),
                });
            }
            Err(Error::UnexpectedKeyId) => {}
            Err(_) => return Err(NotTrusted::Wrong),
        }
    }
    untrusted("unknown_key", NotTrusted::UnknownKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ed25519_compact::{KeyPair, Seed};

    /// A key pair whose id repeats the same byte.
    fn keys(id: u8) -> (u8, KeyPair) {
        (id, KeyPair::from_seed(Seed::new([id; 32])))
    }

    fn trusting((id, pair): &(u8, KeyPair)) -> TrustedKeys {
        let key = [b"Ed", [*id; 8].as_slice(), pair.pk.as_slice()].concat();
        TrustedKeys::parse(&[("release".to_owned(), STANDARD.encode(key))].into()).expect("a key")
    }

    /// The output of `minisign -S -l`.
    fn sign((id, pair): &(u8, KeyPair), bytes: &[u8]) -> String {
        let comment = "connector";
        let signature = pair.sk.sign(bytes, None);
        let line = [b"Ed", [*id; 8].as_slice(), signature.as_slice()].concat();
        let whole = pair.sk.sign([signature.as_slice(), comment.as_bytes()].concat(), None);
        format!(
            "untrusted comment: signature\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode(line),
            STANDARD.encode(whole.as_slice())
        )
    }

    /// The example of minisign's own documentation, prehashed.
    #[test]
    fn what_minisign_wrote_is_read() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let text = "untrusted comment: signature from minisign secret key\n\
            RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
            trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
            wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
        let trusted = TrustedKeys::parse(&[("release".to_owned(), key.to_owned())].into()).expect("a key");
        assert_eq!(
            judge(b"test", Some(text), &trusted, false).expect("trusted").status,
            "trusted"
        );
        assert_eq!(judge(b"tests", Some(text), &trusted, false), Err(NotTrusted::Wrong));
    }

    #[test]
    fn a_trusted_keys_signature_is_for_these_bytes_and_no_others() {
        let pair = keys(1);
        let component = vec![7; 4_096];
        let text = sign(&pair, &component);
        let signed = judge(&component, Some(&text), &trusting(&pair), false).expect("trusted");
        assert_eq!(
            (signed.status.as_str(), signed.key.as_deref()),
            ("trusted", Some("release"))
        );
        for at in (0..component.len()).step_by(component.len() / 64) {
            let mut changed = component.clone();
            changed[at] ^= 1;
            for allow_unsigned in [false, true] {
                let judged = judge(&changed, Some(&text), &trusting(&pair), allow_unsigned);
                assert_eq!(judged, Err(NotTrusted::Wrong), "{at}");
            }
        }
        assert_eq!(
            judge(&component[1..], Some(&text), &trusting(&pair), false),
            Err(NotTrusted::Wrong)
        );
    }

    #[test]
    fn the_comment_that_was_signed_cannot_be_changed() {
        let pair = keys(1);
        let text = sign(&pair, b"component").replace("trusted comment: connector", "trusted comment: something");
        assert_eq!(
            judge(b"component", Some(&text), &trusting(&pair), true),
            Err(NotTrusted::Wrong)
        );
    }

    #[test]
    fn untrusted_components_need_operator_consent() {
        let (ours, theirs) = (keys(1), keys(2));
        let text = sign(&theirs, b"component");
        let trusted = trusting(&ours);
        let status = |signature, allow| judge(b"component", signature, &trusted, allow).map(|signed| signed.status);
        assert_eq!(status(None, false), Err(NotTrusted::Unsigned));
        assert_eq!(status(None, true), Ok("unsigned".to_owned()));
        assert_eq!(status(Some(&text), false), Err(NotTrusted::UnknownKey));
        assert_eq!(status(Some(&text), true), Ok("unknown_key".to_owned()));
        assert_eq!(status(Some("no signature"), true), Err(NotTrusted::Unreadable));
        assert_eq!(
            status(Some(&"x".repeat(SIGNATURE_BYTES + 1)), true),
            Err(NotTrusted::Unreadable)
        );
    }

    #[test]
    fn a_key_that_cannot_be_read_is_named() {
        let keys = [("release".to_owned(), "not a key".to_owned())].into();
        assert_eq!(TrustedKeys::parse(&keys).err().as_deref(), Some("release"));
    }
}
