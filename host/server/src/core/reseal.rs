//! Re-encrypts a data directory with a new master key, while no host uses it.
//!
//! A key that Weir stores itself is written beside the old one before anything is encrypted with it, and replaces it after the
//! database's commit: an interrupted run is finished by the next one.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;
use weir_domain::credential::Secret;
use weir_domain::id::Mint;
use weir_store::{MasterKey, SqliteStore};

use crate::core::config::Config;
use crate::core::config::StoreConfig;
use crate::core::folder;
use crate::core::keyring;
use crate::core::keyring::seed;

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Resealed {
    /// Number of values that were re-encrypted.
    pub values: u64,
    /// File of the new key; none if the operator stores it.
    pub kept_at: Option<PathBuf>,
}

/// The database file of `config`. It must exist, so that no key is created in a mistyped directory.
///
/// # Errors
/// It does not exist.
pub fn record(config: &Config) -> anyhow::Result<PathBuf> {
    if matches!(config.store, StoreConfig::Postgres(_)) {
        bail!("the database is in PostgreSQL; re-encrypting its secrets with a new master key is not supported yet");
    }
    let record = folder::record(&config.data);
    if !record.is_file() {
        bail!(
            "{} contains no database; set WEIR_DATA to the data directory",
            config.data.display()
        );
    }
    Ok(record)
}

/// Re-encrypts all secrets in the database of `config` with the operator's key `new`, or with one that is generated and stored in
/// the data directory like the old one.
///
/// # Errors
/// One line with the reason; the database is unchanged.
pub fn reseal(config: &Config, new: Option<&Secret>) -> anyhow::Result<Resealed> {
    let record = record(config)?;
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
    let values = SqliteStore::reseal(&record, &MasterKey::new(old), &MasterKey::new(key), &mint)
        .with_context(|| format!("cannot re-encrypt the database {}", record.display()))?;
    if let (Some(from), Some(to)) = (&next, &kept_at) {
        std::fs::rename(from, to)
            .with_context(|| format!("the new key is in {}; move it to {}", from.display(), to.display()))?;
    }
    Ok(Resealed { values, kept_at })
}
