//! Re-encrypts a data directory with a new master key, while no host uses it.
//!
//! A key that Weir stores itself is first written next to the old one, before anything is encrypted with it, and
//! replaces the old one after the database's commit. The next run completes an interrupted one.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;
use weir_domain::credential::Secret;
use weir_domain::id::Mint;
use weir_store::{Location, MasterKey, PostgresStore, SqliteStore};

use crate::core::config::Config;
use crate::core::folder;
use crate::core::keyring;
use crate::core::keyring::seed;

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Resealed {
    /// Number of values that were re-encrypted.
    pub values: u64,
    /// File of the new key; `None` if the operator stores it.
    pub kept_at: Option<PathBuf>,
}

/// Re-encrypts all secrets in the database of `config` with the operator's key `new`, or with one that is generated and
/// stored in the data directory like the old one.
///
/// # Errors
/// One line with the reason; the database is unchanged. A PostgreSQL database is re-encrypted in steps, and the next
/// run completes an interrupted one.
pub fn reseal(config: &Config, new: Option<&Secret>) -> anyhow::Result<Resealed> {
    let database = folder::database(config)?;
    let mint = Mint::from_seed(seed()?);
    let old = keyring::master_key(config, &mint)?;
    let kept_at = match (&config.master_key, new) {
        (Some(_), None) => {
            bail!("WEIR_MASTER_KEY is set, so the new key is not generated; set WEIR_NEW_MASTER_KEY")
        }
        (Some(_), Some(_)) => None,
        (None, _) => Some(config.data.join("master.key")),
    };
    let next = kept_at.as_ref().map(|path| path.with_extension("key.new"));
    let key = match &next {
        Some(path) => keyring::next_master_key(path, new, &mint)?,
        None => keyring::given(new.context("no key")?, "WEIR_NEW_MASTER_KEY")?,
    };
    let (old, key) = (MasterKey::new(old), MasterKey::new(key));
    let values = match &database {
        Location::Sqlite(path) => SqliteStore::reseal(path, &old, &key, &mint),
        Location::Postgres(url) => PostgresStore::reseal(url, &old, &key, &mint),
    };
    let values = values.with_context(|| format!("cannot re-encrypt {database}"))?;
    if let (Some(from), Some(to)) = (&next, &kept_at) {
        std::fs::rename(from, to)
            .with_context(|| format!("the new key is in {}; move it to {}", from.display(), to.display()))?;
    }
    Ok(Resealed { values, kept_at })
}
