//! The lock on the data directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::Failure;
use crate::Config;
use crate::core::folder;

/// Creates the directory if it is missing, and locks it while the returned file is open. The operating system releases
/// the lock of a process that was killed.
pub(super) fn lock(config: &Config) -> Result<File, Failure> {
    lock_directory(&config.data)
}

/// The same for a directory that is not the configured one.
pub(super) fn lock_directory(data: &Path) -> Result<File, Failure> {
    let cannot = |error: io::Error| {
        Failure::failed(format!(
            "cannot write to the data directory {} ({error}); set WEIR_DATA, or make this user its owner",
            data.display()
        ))
    };
    folder::prepare(data).map_err(|error| Failure::failed(format!("{error:#}")))?;
    let lock = folder::private().open(data.join("weir.lock")).map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Failure::failed(format!(
            "another Weir process is using the data directory {}; stop it first, or set WEIR_DATA",
            data.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = folder.path().join("data").display().to_string();
        let config = Config::load(None, |name| (name == "WEIR_DATA").then(|| data.clone())).expect("a configuration");
        let first = lock(&config).expect("it is free");
        let refused = lock(&config).expect_err("it is locked").to_string();
        assert!(refused.contains("another Weir process"), "{refused}");
        drop(first);
        assert!(lock(&config).is_ok());
    }
}
