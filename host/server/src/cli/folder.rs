//! The data folder, for the one process that works on it.

use std::fs::{File, TryLockError};
use std::io;

use super::Failure;
use crate::{Config, folder};

/// Makes the folder if it is not there, and takes it: as long as the file is open, no other process has it. The lock is the
/// system's, so that a process that was killed holds nothing.
pub(super) fn take(config: &Config) -> Result<File, Failure> {
    let cannot = |error: io::Error| {
        Failure::failed(format!(
            "the data folder {} cannot be written ({error}); set WEIR_DATA or give it to this user",
            config.data.display()
        ))
    };
    folder::prepare(&config.data).map_err(|error| Failure::failed(format!("{error:#}")))?;
    let lock = folder::private().open(config.data.join("weir.lock")).map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Failure::failed(format!(
            "another Weir works on the data folder {}; stop it first, or set WEIR_DATA",
            config.data.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_process_and_free_when_that_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data").display().to_string();
        let config = Config::load(None, |name| (name == "WEIR_DATA").then(|| data.clone())).expect("a configuration");
        let ours = take(&config).expect("nobody has it");
        let refused = take(&config).expect_err("it is taken").to_string();
        assert!(refused.contains("another Weir works on"), "{refused}");
        drop(ours);
        assert!(take(&config).is_ok());
    }
}
