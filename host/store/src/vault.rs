//! Encryption at rest: values that must not be stored as plain text are sealed, bound to their place.
//!
//! XChaCha20-Poly1305 with the table, the column and the row's id as associated data: bytes moved to another row do not
//! open. Nonces are 192 random bits, so that no counter has to survive a restart (draft-irtf-cfrg-xchacha, section 3).

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use weir_domain::id::Mint;

use crate::StoreError;

const NONCE: usize = 24;
/// The first byte of a sealed value, so that another cipher can be distinguished later.
const VERSION: u8 = 1;

/// The key that seals secrets at rest. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// From 256 random bits.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The place of a sealed value.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) row: &'a str,
}

impl Place<'_> {
    fn associated(&self) -> Vec<u8> {
        // Table and column are constants without a zero byte, so the encoding is unambiguous.
        [self.table, self.column, self.row].join("\0").into_bytes()
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.table, self.column, self.row)
    }
}

pub(crate) struct Vault(XChaCha20Poly1305);

impl Vault {
    pub(crate) fn new(key: &MasterKey) -> Self {
        Self(XChaCha20Poly1305::new(&key.0.into()))
    }

    pub(crate) fn seal(&self, plain: &[u8], place: Place<'_>, mint: &Mint) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE];
        mint.fill(&mut nonce);
        let payload = Payload {
            msg: plain,
            aad: &place.associated(),
        };
        let cipher = self
            .0
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| StoreError::Database(format!("cannot seal {place}")))?;
        Ok([&[VERSION], nonce.as_slice(), &cipher].concat())
    }

    pub(crate) fn open(&self, sealed: &[u8], place: Place<'_>) -> Result<Vec<u8>, StoreError> {
        let damaged = |reason: &str| StoreError::Damaged {
            place: place.to_string(),
            reason: reason.to_owned(),
        };
        let (version, rest) = sealed.split_first().ok_or_else(|| damaged("it is empty"))?;
        if *version != VERSION {
            return Err(damaged("it was sealed by a newer Weir"));
        }
        let (nonce, cipher) = rest
            .split_first_chunk::<NONCE>()
            .ok_or_else(|| damaged("it is too short"))?;
        let payload = Payload {
            msg: cipher,
            aad: &place.associated(),
        };
        self.0
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| damaged("it does not open with this master key, or belongs to another row"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: &str) -> Place<'_> {
        Place {
            table: "credentials",
            column: "sealed",
            row,
        }
    }

    #[test]
    fn what_is_sealed_opens_only_at_its_place_and_with_its_key() {
        let mint = Mint::from_seed([1; 32]);
        let vault = Vault::new(&MasterKey::new([2; 32]));
        let sealed = vault.seal(b"canary", place("a"), &mint).expect("sealed");
        assert_eq!(vault.open(&sealed, place("a")).expect("opens"), b"canary");
        assert!(vault.open(&sealed, place("b")).is_err());
        assert!(Vault::new(&MasterKey::new([3; 32])).open(&sealed, place("a")).is_err());
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
    }

    #[test]
    fn cut_or_changed_bytes_do_not_open_and_do_not_panic() {
        let mint = Mint::from_seed([1; 32]);
        let vault = Vault::new(&MasterKey::new([2; 32]));
        let sealed = vault.seal(b"canary", place("a"), &mint).expect("sealed");
        for cut in 0..sealed.len() {
            assert!(vault.open(&sealed[..cut], place("a")).is_err(), "{cut}");
            let mut changed = sealed.clone();
            changed[cut] ^= 1;
            assert!(vault.open(&changed, place("a")).is_err(), "{cut}");
        }
    }
}
