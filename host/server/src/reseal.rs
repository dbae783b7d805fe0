//! Another master key for a data folder on which no host works.
//!
//! A key that Weir keeps itself is written beside the old one before anything is sealed with it, and takes its place after
//! the record's commit: a run that was broken off is finished by another.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;
use weir_domain::credential::Secret;
use weir_domain::id::Mint;
use weir_store::{MasterKey, SqliteStore};

use crate::config::Config;
use crate::host::seed;
use crate::{folder, keyring};

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Resealed {
    /// Values that were sealed again.
    pub values: u64,
    /// Where the new key is kept; none if the operator keeps it.
    pub kept_at: Option<PathBuf>,
}

/// The record of `config`, which must be there: a key that is made for a folder that was mistyped helps nobody.
///
/// # Errors
/// There is none.
pub fn record(config: &Config) -> anyhow::Result<PathBuf> {
    let record = folder::record(&config.data);
    if !record.is_file() {
        bail!("{} holds no record; is it the data folder?", config.data.display());
    }
    Ok(record)
}

/// Seals everything in the record of `config` with another key: the operator's `new`, or one that is made and kept in the
/// data folder as the old one was.
///
/// # Errors
/// One line that says what is in the way; the record is as it was.
pub fn reseal(config: &Config, new: Option<&Secret>) -> anyhow::Result<Resealed> {
    let record = record(config)?;
    let mint = Mint::from_seed(seed()?);
    let old = keyring::master_key(config, &mint)?;
    let kept_at = match (&config.master_key, new) {
        (Some(_), None) => {
            bail!("WEIR_MASTER_KEY is set, so the next one is yours to choose too: set WEIR_NEW_MASTER_KEY")
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
        .with_context(|| format!("the record at {} cannot be sealed anew", record.display()))?;
    if let (Some(from), Some(to)) = (&next, &kept_at) {
        std::fs::rename(from, to).with_context(|| {
            format!(
                "the new key is at {} and must be moved to {}",
                from.display(),
                to.display()
            )
        })?;
    }
    Ok(Resealed { values, kept_at })
}
