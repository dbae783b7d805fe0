//! A copy of everything that a host keeps, made while it is at work.
//!
//! The copy is a data folder itself: a host started on it goes on from the moment of the copy. The keys are not in it, since
//! whoever finds the copy could then read the credentials in it.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use weir_store::{SqliteStore, StoreError};

/// The record, within a data folder.
const RECORD: &str = "weir.db";
/// What lies beside the record and is needed with it. Files are never changed once they are there, so copying them after the
/// record loses nothing that it names.
const FOLDERS: [&str; 2] = ["components", "media"];

/// What a copy holds.
#[derive(Clone, Debug, Serialize)]
pub struct Copied {
    /// Where it is.
    pub folder: PathBuf,
    /// Bytes of the record.
    pub record_bytes: u64,
    /// Components and media files.
    pub files: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A copy is never written over another.
    #[error("{} is there already; name a folder that is not", .0.display())]
    Taken(PathBuf),
    /// There is nothing to copy.
    #[error("{} holds no record; is it the data folder?", .0.display())]
    NoRecord(PathBuf),
    /// A file could not be copied.
    #[error("{} could not be copied: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The record could not be copied.
    #[error("the record could not be copied: {0}")]
    Store(#[from] StoreError),
}

/// Copies the data folder `data` to `to`, which must not be there. Blocks until the copy is on the disk.
///
/// # Errors
/// See [`BackupError`]; what was copied until then is left for a person to look at.
pub fn copy(data: &Path, to: &Path) -> Result<Copied, BackupError> {
    let record = data.join(RECORD);
    if !record.is_file() {
        return Err(BackupError::NoRecord(data.to_owned()));
    }
    make(to)?;
    SqliteStore::copy_of(&record, &to.join(RECORD))?;
    let mut files = 0;
    for folder in FOLDERS {
        files += copy_folder(&data.join(folder), &to.join(folder))?;
    }
    let copied = to.join(RECORD);
    let record_bytes = std::fs::metadata(&copied).map_err(at(&copied))?.len();
    Ok(Copied {
        folder: to.to_owned(),
        record_bytes,
        files,
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::File { path, error }
}

/// A new folder that nobody else can read.
fn make(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Taken(folder.to_owned())),
        made => made.map_err(at(folder)),
    }
}

/// Copies the files of a folder and of those in it. How many. One that is gone meanwhile was erased, and belongs in no copy.
fn copy_folder(from: &Path, to: &Path) -> Result<u64, BackupError> {
    make(to)?;
    let mut files = 0;
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(at(from))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at(&from))?.is_dir() {
            files += copy_folder(&from, &to)?;
            continue;
        }
        match std::fs::copy(&from, &to) {
            Ok(_) => files += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&from)(error)),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_never_written_over_and_never_made_of_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, to) = (folder.path().join("data"), folder.path().join("copy"));
        assert!(matches!(copy(&data, &to), Err(BackupError::NoRecord(_))));
        assert!(!to.exists());
        std::fs::create_dir_all(&data).expect("a folder");
        std::fs::write(data.join(RECORD), b"").expect("a file");
        std::fs::create_dir(&to).expect("a folder");
        assert!(matches!(copy(&data, &to), Err(BackupError::Taken(_))));
    }
}
