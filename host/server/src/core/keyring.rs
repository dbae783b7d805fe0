//! The host's own keys: the master key, the keys derived from it, and the admin key.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use weir_domain::caller::{self, Key, OPERATORS_WORKSPACE, Scope};
use weir_domain::credential::Secret;
use weir_domain::id::Mint;
use weir_domain::time::Timestamp;
use weir_store::Store;

use crate::core::config::{Config, StoreConfig};
use crate::core::folder;

/// Shortest admin key that an operator may choose: 128 random bits in hex.
const ADMIN_KEY_CHARS: usize = 32;

/// The random source for ids and keys.
pub(crate) fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut seed)
        .context("the operating system returns no randomness")?;
    Ok(seed)
}

/// The key that encrypts secrets at rest: the operator's, or one that is generated once and stored in the data
/// directory.
pub(crate) fn master_key(config: &Config, mint: &Mint) -> anyhow::Result<[u8; 32]> {
    if let Some(key) = &config.master_key {
        return given(key, "WEIR_MASTER_KEY");
    }
    let path = config.data.join("master.key");
    if let StoreConfig::Postgres(_) = config.store {
        let value = if path.exists() {
            format!("the content of {}", path.display())
        } else {
            "32 random bytes, from `openssl rand -hex 32`".to_owned()
        };
        bail!(
            "WEIR_MASTER_KEY is not set: with PostgreSQL it is required, since every node needs the same key; set it to {value}"
        );
    }
    if let Some(text) = read(&path)? {
        return parse_master_key(&text).with_context(|| format!("{} does not contain a master key", path.display()));
    }
    let record = folder::record(&config.data);
    if record.exists() {
        bail!(
            "the master key of {} is missing: restore its master.key to {}, or set WEIR_MASTER_KEY to it; the credentials \
             cannot be decrypted with another key",
            record.display(),
            config.data.display()
        );
    }
    let mut key = [0; 32];
    mint.fill(&mut key);
    write(&path, &hex::encode(key))?;
    tracing::warn!(
        "Generated a master key at {}: the stored credentials cannot be decrypted without it; back it up separately, or set \
         WEIR_MASTER_KEY",
        path.display()
    );
    Ok(key)
}

/// A master key that the operator chose.
pub(crate) fn given(key: &Secret, name: &str) -> anyhow::Result<[u8; 32]> {
    parse_master_key(key.expose()).with_context(|| format!("invalid {name}: expected 32 random bytes in hex or base64"))
}

/// The key that replaces the one in the data directory: the one that an earlier run wrote to `path`, or else the
/// operator's or a generated one, which is written to `path`.
pub(crate) fn next_master_key(path: &Path, chosen: Option<&Secret>, mint: &Mint) -> anyhow::Result<[u8; 32]> {
    if let Some(text) = read(path)? {
        return parse_master_key(&text).with_context(|| format!("{} does not contain a master key", path.display()));
    }
    let key = match chosen {
        Some(key) => given(key, "WEIR_NEW_MASTER_KEY")?,
        None => {
            let mut key = [0; 32];
            mint.fill(&mut key);
            key
        }
    };
    write(path, &hex::encode(key))?;
    Ok(key)
}

fn parse_master_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let text = text.trim();
    let bytes = match hex::decode(text) {
        Ok(bytes) => bytes,
        Err(_) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| anyhow::anyhow!("neither hex nor base64"))?,
    };
    let length = bytes.len();
    <[u8; 32]>::try_from(bytes).map_err(|_| anyhow::anyhow!("{length} bytes instead of 32"))
}

/// Derives a key for one purpose, so that a leaked key is useless for others.
pub(crate) fn derive(master: &[u8; 32], for_what: &str) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(master).expect("HMAC takes keys of any length");
    mac.chain_update(for_what).finalize().into_bytes().into()
}

/// The name of the key that the environment sets.
const CONFIGURED: &str = "WEIR_ADMIN_KEY";

/// Ensures that an admin key exists: the operator's, if the environment of a host sets it, or one that is generated
/// once and written to a file that only its owner can read.
pub(crate) async fn first_key(config: &Config, store: &dyn Store, mint: &Mint, now: Timestamp) -> anyhow::Result<()> {
    let configured = config.admin_key.as_ref().map(Secret::expose);
    if let Some(text) = configured
        && (text.chars().count() < ADMIN_KEY_CHARS || !text.is_ascii())
    {
        bail!(
            "WEIR_ADMIN_KEY must have at least {ADMIN_KEY_CHARS} ASCII characters; generate one with `openssl rand -hex 32`"
        );
    }
    if let Some(text) = configured {
        let key = admin(text, CONFIGURED, mint, now)?;
        if let Some(known) = store.key_by_prefix(&key.prefix).await?
            && known.name != CONFIGURED
            && !same(&known.digest, &key.digest)
        {
            bail!("WEIR_ADMIN_KEY has the same prefix as another API key; choose another key");
        }
        return Ok(store.put_configured_key(key, now).await?);
    }
    let keys = store.keys(OPERATORS_WORKSPACE).await?;
    let (named, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.name == CONFIGURED);
    let named: Vec<_> = named.into_iter().filter(|key| key.revoked_at.is_none()).collect();
    if !named.is_empty() && matches!(config.store, StoreConfig::Postgres(_)) {
        // It may be the key of other nodes, which are started with it.
        return Ok(());
    }
    for key in named {
        store.revoke_key(OPERATORS_WORKSPACE, key.id, now).await?;
        tracing::info!("Revoked the API key of WEIR_ADMIN_KEY, which is no longer set");
    }
    if !others.is_empty() {
        return Ok(());
    }
    let path = config.data.join("admin.key");
    let known = read(&path)?;
    let is_new = known.is_none();
    let text = match known {
        Some(text) => text.trim().to_owned(),
        None => {
            let text = caller::new_key(mint);
            write(&path, &text)?;
            text
        }
    };
    let key = admin(&text, "admin", mint, now)?;
    if store.insert_first_key(key, CONFIGURED).await? {
        if is_new {
            tracing::info!("Generated the admin key at {}", path.display());
        }
    } else if is_new {
        // Another node that is starting now was first.
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        tracing::info!(
            "Another node generated the admin key, in its data directory; set WEIR_ADMIN_KEY on all of them to choose it"
        );
    }
    Ok(())
}

fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

fn admin(text: &str, name: &str, mint: &Mint, now: Timestamp) -> anyhow::Result<Key> {
    Ok(Key {
        id: mint.id(now),
        workspace_id: OPERATORS_WORKSPACE.to_owned(),
        name: name.to_owned(),
        prefix: caller::prefix(text).context("the API key is too short")?.to_owned(),
        digest: caller::digest(text),
        scopes: [Scope::Admin].into(),
        channels: BTreeSet::new(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    })
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_store::{MasterKey, SqliteStore};

    use super::*;

    #[test]
    fn master_key_is_hex_or_base64_of_32_bytes() {
        let hex = "00".repeat(32);
        assert_eq!(parse_master_key(&hex).ok(), Some([0; 32]));
        let base64 = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        assert_eq!(parse_master_key(&base64).ok(), Some([7; 32]));
        assert!(parse_master_key(&"00".repeat(31)).is_err());
        assert!(parse_master_key("password").is_err());
    }

    #[tokio::test]
    async fn a_node_without_an_admin_key_revokes_none() {
        let folder = tempfile::TempDir::new().expect("a directory");
        let (mint, now) = (Arc::new(Mint::from_seed([1; 32])), Timestamp::from_millis(0));
        // The secrets that the nodes share, in a file here.
        let store = SqliteStore::open(
            folder.path().join("weir.db"),
            &MasterKey::new([2; 32]),
            Arc::clone(&mint),
        );
        let store: &dyn Store = &store.expect("a database");
        let starts = async |key: Option<&str>| {
            let config = Config {
                admin_key: key.map(Secret::new),
                store: StoreConfig::Postgres(Secret::new("postgres:///weir")),
                ..Config::for_testing(folder.path())
            };
            first_key(&config, store, &mint, now).await.expect("a key");
            let keys = store.keys(OPERATORS_WORKSPACE).await.expect("a database");
            keys.iter().filter(|key| key.revoked_at.is_none()).count()
        };
        assert_eq!(starts(Some(&"a".repeat(ADMIN_KEY_CHARS))).await, 1);
        assert_eq!(starts(None).await, 1);
        assert!(!folder.path().join("admin.key").exists(), "it needs no other");
        assert_eq!(starts(Some(&"b".repeat(ADMIN_KEY_CHARS))).await, 1);
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        assert_ne!(derive(&[1; 32], "media links"), derive(&[1; 32], "else"));
    }
}
