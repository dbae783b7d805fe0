//! `weir reseal`: a new master key.

use weir_domain::credential::Secret;

use super::output::Output;
use super::{Common, Done, Failure, folder};
use crate::core::{folder as directory, reseal};

pub(super) fn run(common: &Common, output: &Output, new: Option<String>) -> Done {
    let config = common.load()?;
    let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
    // Before the directory is locked, which would create it.
    directory::database(&config).map_err(failed)?;
    let _lock = folder::lock(&config)?;
    let new = new.map(Secret::new);
    let resealed = reseal::reseal(&config, new.as_ref()).map_err(failed)?;
    let shown = serde_json::to_value(&resealed).unwrap_or_default();
    output.show(&shown, || {
        output.line(&format!(
            "Re-encrypted {} secrets with the new master key",
            resealed.values
        ));
    });
    match &resealed.kept_at {
        Some(path) => output.note(&format!(
            "The new key is in {}; back it up separately. Backups made before now need the old key.",
            path.display()
        )),
        None => output.note(
            "Set WEIR_MASTER_KEY to the new key before the next start. Backups made before now need the old key.",
        ),
    }
    Ok(())
}
