//! Identifiers in TikTok's formats, deterministic by seed.
//!
//! Each is a digest of the seed, a kind and a consecutive number (or a name), so a test can quote one run's ids. No
//! value here is a real secret: it is a sandbox.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest as _, Sha256};

/// Generates identifiers; number `n` of a kind depends only on the seed and `n`.
#[derive(Debug)]
pub struct Mint {
    seed: u64,
    count: u64,
}

impl Mint {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    fn digest(&self, kind: &str, name: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update([u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        hash.update(kind);
        hash.update(name);
        hash.finalize().into()
    }

    fn fresh(&mut self, kind: &str) -> [u8; 32] {
        self.count += 1;
        let name = self.count.to_string();
        self.digest(kind, &name)
    }

    /// A message id: 28 characters of base64, ending `==`.
    pub fn message_id(&mut self) -> String {
        BASE64_STANDARD.encode(&self.fresh("message")[..19])
    }

    /// A conversation id: as a message id, and always with a `+`, which TikTok's own example has
    /// and which a client must send as `%2B` in a query (TikTok API reference, Get a list of messages).
    pub fn conversation_id(&mut self) -> String {
        let mut id = BASE64_STANDARD.encode(&self.fresh("conversation")[..19]);
        id.replace_range(21..22, "+");
        id
    }

    /// A media id of an uploaded or received file.
    pub fn media_id(&mut self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&self.fresh("media")[..24])
    }

    /// A 19-digit decimal id as posts, comments, ads and automatic messages have.
    pub fn snowflake(&mut self) -> String {
        decimal(&self.fresh("snowflake"))
    }

    /// A token or code: random in appearance, with a prefix that names its kind.
    pub fn token(&mut self, mark: &str) -> String {
        format!("{mark}.{}", BASE64_URL_SAFE_NO_PAD.encode(self.fresh(mark)))
    }

    /// The id of a business account for one app: 36 characters beginning `-000`.
    pub fn open_id(&self, client_key: &str, account: &str) -> String {
        let digest = self.digest("open_id", &format!("{client_key}\n{account}"));
        format!("-000{}", BASE64_URL_SAFE_NO_PAD.encode(&digest[..24]))
    }

    /// The identifier of a person across apps: 64 characters of base64.
    pub fn unique_identifier(&self, person: &str) -> String {
        let mut bytes = self.digest("person", person).to_vec();
        bytes.extend(&self.digest("person again", person)[..16]);
        BASE64_STANDARD.encode(bytes)
    }

    /// A post id of an account: 19 digits, stable by name and number.
    pub fn post_id(&self, account: &str, number: u32) -> String {
        decimal(&self.digest("post", &format!("{account}\n{number}")))
    }
}

fn decimal(digest: &[u8; 32]) -> String {
    let mut number = [0_u8; 8];
    number.copy_from_slice(&digest[..8]);
    // 7.0e18 to 7.5e18: nineteen digits beginning 7, beyond 2^53 as real ones are.
    (7_000_000_000_000_000_000 + u64::from_be_bytes(number) % 500_000_000_000_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_tiktoks_shapes() {
        let mut mint = Mint::new(7);
        let conversation = mint.conversation_id();
        assert_eq!(conversation.len(), 28);
        assert!(conversation.contains('+') && conversation.ends_with("=="));
        assert_eq!(mint.message_id().len(), 28);
        assert_eq!(mint.snowflake().len(), 19);
        let open_id = mint.open_id("7000000000000000001", "acme_store");
        assert!(open_id.len() == 36 && open_id.starts_with("-000"));
        assert_eq!(mint.unique_identifier("jane_doe").len(), 64);
    }

    #[test]
    fn the_same_seed_mints_the_same_ids_and_another_does_not() {
        assert_eq!(Mint::new(1).message_id(), Mint::new(1).message_id());
        assert_ne!(Mint::new(1).message_id(), Mint::new(2).message_id());
    }
}
