//! `weir backup`: a copy of the data directory, made while a host runs on it.

use std::path::Path;

use super::output::Output;
use super::{Common, Done, Failure};
use crate::core::backup;
use crate::core::config::StoreConfig;

pub(super) fn run(common: &Common, output: &Output, to: &Path) -> Done {
    let config = common.load()?;
    if matches!(config.store, StoreConfig::Postgres(_)) {
        return Err(Failure::failed(format!(
            "the database is in PostgreSQL; back it up with pg_dump or WAL archiving, together with a copy of {}",
            config.data.display()
        )));
    }
    output.note(&format!("Backing up {}", config.data.display()));
    let copied = backup::copy(&config.data, to).map_err(|error| Failure::failed(error.to_string()))?;
    let shown = serde_json::to_value(&copied).unwrap_or_default();
    output.show(&shown, || {
        output.line(&format!(
            "{}: database ({} bytes) and {} files",
            copied.folder.display(),
            copied.record_bytes,
            copied.files
        ));
    });
    if config.master_key.is_none() {
        output.note(&format!(
            "Back up {} separately: the secrets in the backup cannot be decrypted without it.",
            config.data.join("master.key").display()
        ));
    }
    Ok(())
}
