//! Backups of the data directory, created while a host uses it.
//!
//! A backup is a data directory itself: a host started on it resumes from the moment of the backup. It contains no
//! keys, because a person who obtains the backup could otherwise decrypt its credentials.
//!
//! A backup is complete or does not exist. It is written to a temporary directory next to its destination, with a
//! marker that prevents a host from starting on it. It is renamed once every byte is on the disk and a manifest lists
//! its files with their digests. The first start verifies them.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_store::{SqliteStore, StoreError, kill_point};

use crate::core::folder;

/// The directories that the database refers to. Their files never change, so copying them after the database loses
/// nothing that it refers to.
const FOLDERS: [&str; 2] = ["components", "media"];
/// In a backup: its files with their digests, written last.
const MANIFEST: &str = "backup.json";
/// Marks a backup in progress or interrupted. Locked while the backup is being written.
const MARKER: &str = "backup.incomplete";
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// A completed backup.
#[derive(Clone, Debug, Serialize)]
pub struct Copied {
    /// The destination.
    pub folder: PathBuf,
    /// Size of the database.
    pub record_bytes: u64,
    /// Number of components and media files.
    pub files: u64,
}

/// The files of a backup.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The version of Weir that created it.
    weir: String,
    /// The database's.
    schema: i64,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The path within the directory.
    path: PathBuf,
    bytes: u64,
    sha256: String,
}

/// Why no backup was created.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A backup is never overwritten.
    #[error("{} exists; choose a directory that does not", .0.display())]
    Taken(PathBuf),
    /// Another run has not finished.
    #[error("another backup to {} is running; wait for it to finish", .0.display())]
    Running(PathBuf),
    /// There is no data to back up.
    #[error("{} contains no database; set WEIR_DATA to the data directory", .0.display())]
    NoRecord(PathBuf),
    /// A file could not be copied.
    #[error("cannot copy {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The database could not be copied.
    #[error("cannot copy the database: {0}")]
    Store(#[from] StoreError),
}

/// Backs up the data directory `data` to `to`, which must not exist. Blocks until the backup is on the disk. Removes
/// what an interrupted run left next to `to`.
///
/// # Errors
/// See [`BackupError`]; `to` does not exist then.
pub fn copy(data: &Path, to: &Path) -> Result<Copied, BackupError> {
    let record = folder::record(data);
    if !record.is_file() {
        return Err(BackupError::NoRecord(data.to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Taken(to.to_owned()));
    }
    let sibling_path = sibling_path(to);
    let marker = begin(&sibling_path)?;
    kill_point("backup.begun");
    let copied = fill(data, &sibling_path).and_then(|copied| {
        std::fs::remove_file(sibling_path.join(MARKER)).map_err(at(&sibling_path))?;
        sync(&sibling_path)?;
        kill_point("backup.complete");
        std::fs::rename(&sibling_path, to).map_err(at(to))?;
        kill_point("backup.moved");
        sync(
            to.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )?;
        Ok(copied)
    });
    if copied.is_err() {
        // If this fails, the marker identifies the remainder.
        let _ = std::fs::remove_dir_all(&sibling_path);
    }
    drop(marker);
    copied.map(|copied| Copied {
        folder: to.to_owned(),
        ..copied
    })
}

/// Where a backup is written before it is complete.
fn sibling_path(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".incomplete");
    to.with_file_name(name)
}

/// Creates an empty directory with a locked marker.
fn begin(folder: &Path) -> Result<File, BackupError> {
    let marker = folder.join(MARKER);
    if let Ok(left) = File::open(&marker) {
        match left.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Running(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(at(&marker)(error)),
        }
    }
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(folder)(error)),
        _ => {}
    }
    make(folder)?;
    let locked = folder::private().open(&marker).map_err(at(&marker))?;
    locked.lock().map_err(at(&marker))?;
    sync(folder)?;
    Ok(locked)
}

fn fill(data: &Path, to: &Path) -> Result<Copied, BackupError> {
    let record = folder::record(to);
    // SQLite would create it with the permissions of the umask.
    folder::private().open(&record).map_err(at(&record))?;
    SqliteStore::copy_of(&folder::record(data), &record)?;
    kill_point("backup.copied");
    let (schema, _) = SqliteStore::schema_of(&record)?;
    let mut entries = vec![entry(to, &record)?];
    for folder in FOLDERS {
        copy_folder(data, to, Path::new(folder), &mut entries)?;
    }
    let manifest = Manifest {
        weir: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        files: entries,
    };
    let path = to.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| at(&path)(error.into()))?;
    write_synced(&path, &mut text.as_slice())?;
    sync(to)?;
    kill_point("backup.listed");
    Ok(Copied {
        folder: to.to_owned(),
        record_bytes: manifest.files.first().map_or(0, |record| record.bytes),
        files: manifest.files.len().saturating_sub(1) as u64,
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::File { path, error }
}

/// Creates a directory for its owner only.
fn make(folder: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(at(folder))
}

/// Writes a directory's entries to the disk.
fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

/// The manifest entry of a file, once it is on the disk.
fn entry(root: &Path, path: &Path) -> Result<Entry, BackupError> {
    let mut file = File::open(path).map_err(at(path))?;
    file.sync_all().map_err(at(path))?;
    let (bytes, digest) = pass(&mut file, &mut io::sink()).map_err(at(path))?;
    Ok(entry_of(root, path, bytes, digest))
}

fn entry_of(root: &Path, path: &Path, bytes: u64, sha256: String) -> Entry {
    Entry {
        path: path.strip_prefix(root).unwrap_or(path).to_owned(),
        bytes,
        sha256,
    }
}

/// Copies bytes; returns their number and digest.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut chunk, mut bytes, mut digest) = (vec![0; CHUNK], 0, Sha256::new());
    loop {
        let read = from.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            return Ok((bytes, hex::encode(digest.finalize())));
        };
        digest.update(part);
        to.write_all(part)?;
        bytes += part.len() as u64;
    }
}

fn write_synced(path: &Path, from: &mut impl Read) -> Result<(u64, String), BackupError> {
    let written = folder::private().open(path).and_then(|mut file| {
        let passed = pass(from, &mut file)?;
        file.sync_all()?;
        Ok(passed)
    });
    written.map_err(at(path))
}

/// Copies a directory with its subdirectories. A file that disappears meanwhile was erased, and belongs in no backup; a
/// partial file is not in the database yet.
fn copy_folder(from: &Path, to: &Path, folder: &Path, copied: &mut Vec<Entry>) -> Result<(), BackupError> {
    make(&to.join(folder))?;
    let source = from.join(folder);
    let entries = match std::fs::read_dir(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(&source))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(&source))?;
        let name = folder.join(entry.file_name());
        if entry.file_type().map_err(at(&source))?.is_dir() {
            copy_folder(from, to, &name, copied)?;
            continue;
        }
        if name.extension().is_some_and(|extension| extension == "part") {
            continue;
        }
        match File::open(from.join(&name)) {
            Ok(mut file) => {
                let path = to.join(&name);
                let (bytes, digest) = write_synced(&path, &mut file)?;
                copied.push(entry_of(to, &path, bytes, digest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&source)(error)),
        }
    }
    sync(&to.join(folder))
}

/// Verifies a backup before the first start on it; later, its files change. No effect in any other data directory.
///
/// # Errors
/// One line with the reason; nothing was changed.
pub(crate) fn restore(data: &Path) -> anyhow::Result<()> {
    if data.join(MARKER).exists() {
        bail!(
            "{} is an incomplete backup: it contains {MARKER}; use a complete one",
            data.display()
        );
    }
    let path = data.join(MANIFEST);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let manifest: Manifest = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is not a valid backup manifest; copy the backup again",
            path.display()
        )
    })?;
    let corrupt = |file: &Path, reason: &str| {
        format!(
            "the backup in {} is corrupt: {} {reason}; copy it again",
            data.display(),
            file.display()
        )
    };
    for listed in &manifest.files {
        match entry(data, &data.join(&listed.path)) {
            Ok(found) if found.sha256 == listed.sha256 => {}
            Ok(found) if found.bytes != listed.bytes => bail!(corrupt(&listed.path, "has the wrong size")),
            Ok(_) => bail!(corrupt(&listed.path, "has the wrong digest")),
            Err(_) => bail!(corrupt(&listed.path, "is missing or cannot be read")),
        }
    }
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    tracing::info!("Verified a backup of {} files; starting on it", manifest.files.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_domain::id::Mint;
    use weir_store::MasterKey;

    use super::*;
    use crate::core::config::StoreConfig;

    /// A data directory with a database and a picture, and the destination of its backup.
    fn data(folder: &tempfile::TempDir) -> (PathBuf, PathBuf) {
        let data = folder.path().join("data");
        folder::prepare(&data).expect("a directory");
        folder::furnish(&data, &StoreConfig::Sqlite).expect("a directory");
        let mint = std::sync::Arc::new(Mint::from_seed([1; 32]));
        SqliteStore::open(folder::record(&data), &MasterKey::new([2; 32]), mint).expect("a database");
        std::fs::write(data.join("media/picture"), b"bytes").expect("a file");
        std::fs::write(data.join("media/other.part"), b"byt").expect("a file");
        (data, folder.path().join("copy"))
    }

    #[test]
    fn backup_needs_a_database_and_a_new_directory() {
        let folder = tempfile::tempdir().expect("a directory");
        let (empty, to) = (folder.path().join("empty"), folder.path().join("copy"));
        assert!(matches!(copy(&empty, &to), Err(BackupError::NoRecord(_))));
        assert!(!to.exists());
        let (data, to) = data(&folder);
        std::fs::create_dir(&to).expect("a directory");
        assert!(matches!(copy(&data, &to), Err(BackupError::Taken(_))));
    }

    #[test]
    fn corrupt_backup_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let (data, to) = data(&folder);
        assert_eq!(copy(&data, &to).expect("a copy").files, 1);
        let picture = to.join("media/picture");
        for (bytes, words) in [(&b"byt"[..], "wrong size"), (b"BYTES", "wrong digest")] {
            std::fs::write(&picture, bytes).expect("a file");
            let refused = restore(&to).expect_err("another picture").to_string();
            assert!(refused.contains(words), "{refused}");
        }
        std::fs::remove_file(&picture).expect("a file");
        assert!(restore(&to).expect_err("no picture").to_string().contains("missing"));
        std::fs::write(&picture, b"bytes").expect("a file");
        restore(&to).expect("it is complete again");
        // It is a host's data directory now, and its files change.
        std::fs::remove_file(&picture).expect("a file");
        restore(&to).expect("no backup any more");
    }

    #[test]
    fn interrupted_backup_does_not_exist() {
        let folder = tempfile::tempdir().expect("a directory");
        let (data, to) = data(&folder);
        // Files left by a run that was killed after it copied the database.
        let left = sibling_path(&to);
        drop(begin(&left).expect("a directory"));
        std::fs::copy(folder::record(&data), folder::record(&left)).expect("a database");
        assert!(!to.exists());
        let refused = restore(&left).expect_err("it is not complete").to_string();
        assert!(refused.contains("incomplete"), "{refused}");
        copy(&data, &to).expect("the next run succeeds");
        assert!(!left.exists());
        restore(&to).expect("a copy");
    }

    #[test]
    fn concurrent_backups_are_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        let (data, to) = data(&folder);
        let running = begin(&sibling_path(&to)).expect("a directory");
        assert!(matches!(copy(&data, &to), Err(BackupError::Running(_))));
        drop(running);
        copy(&data, &to).expect("no host is running");
    }
}
