//! The data directory: its layout and permissions. It contains keys and message texts, so only its owner may read it.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use weir_store::Location;

use crate::core::config::{Config, StoreConfig};

/// Its subdirectories.
const FOLDERS: [&str; 3] = ["components", "cache", "media"];
/// The permission bits of group and others.
const OTHERS: u32 = 0o077;

/// The database file of a data directory.
pub(crate) fn record(data: &Path) -> PathBuf {
    data.join("weir.db")
}

/// The database of `config`, for a command that uses it while no host does. A file must exist, so that no key is
/// created in a mistyped directory.
///
/// # Errors
/// The file is missing.
pub(crate) fn database(config: &Config) -> anyhow::Result<Location> {
    match &config.store {
        StoreConfig::Postgres(url) => Ok(Location::Postgres(url.expose().to_owned())),
        StoreConfig::Sqlite => {
            let record = record(&config.data);
            if !record.is_file() {
                bail!(
                    "{} contains no database; set WEIR_DATA to the data directory, or WEIR_STORE to the database",
                    config.data.display()
                );
            }
            Ok(Location::Sqlite(record))
        }
    }
}

/// The database's write-ahead log.
pub(crate) fn log(data: &Path) -> PathBuf {
    data.join("weir.db-wal")
}

/// Creates the directory for its owner only. Access of others to an existing one, and to everything in it, is removed.
///
/// # Errors
/// One line with the reason and the fix.
pub(crate) fn prepare(data: &Path) -> anyhow::Result<()> {
    let cannot = || {
        format!(
            "cannot use the data directory {}; set WEIR_DATA, or make this user its owner",
            data.display()
        )
    };
    make(data).with_context(cannot)?;
    if is_open_to_others(data).with_context(cannot)? {
        close_to_others(data).with_context(|| {
            format!(
                "other users can access the data directory {}, and this user cannot change its permissions; run chmod 700 on \
                 it, or set WEIR_DATA to a directory in it",
                data.display()
            )
        })?;
        tracing::warn!(
            "Other users could access the data directory {}; restricted it to its owner",
            data.display()
        );
    }
    Ok(())
}

/// Creates the subdirectories before a host starts.
///
/// # Errors
/// One line with the reason and the fix; for example, the database is missing.
pub(crate) fn furnish(data: &Path, store: &StoreConfig) -> anyhow::Result<()> {
    let holds_files =
        |folder: &str| std::fs::read_dir(data.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
    let is_missing = matches!(store, StoreConfig::Sqlite) && !record(data).exists();
    if is_missing && (holds_files("components") || holds_files("media")) {
        bail!(
            "{} contains connectors or media, but weir.db is missing; restore it or a backup, or use an empty directory",
            data.display()
        );
    }
    for folder in FOLDERS {
        make(&data.join(folder)).with_context(|| format!("cannot use the data directory {}", data.display()))?;
    }
    Ok(())
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Options that create or truncate a file that only its owner can access, whatever the umask.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & OTHERS != 0)
}

/// Starts with the contents: while the directory itself is accessible, the next start repeats all of it.
fn close_to_others(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            close_to_others(&entry.path())?;
        } else if kind.is_file() {
            close(&entry.path())?;
        }
    }
    close(path)
}

fn close(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    std::fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 & !OTHERS))
}

/// The names of the files in a folder; those after an unreadable entry are left to the next call.
pub(crate) async fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
        return names;
    };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names
}

/// Removes a file; whether it does not exist now.
pub(crate) async fn remove_file(path: &Path) -> bool {
    match tokio::fs::remove_file(path).await {
        Ok(()) => true,
        // It was never created, or was removed before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::error!("{} cannot be removed, and is tried again: {error}", path.display());
            false
        }
    }
}

/// Syncs a folder; whether a removal in it is now durable after a power failure.
pub(crate) async fn sync_folder(folder: &Path) -> bool {
    match tokio::fs::File::open(folder).await {
        Ok(folder) => folder.sync_all().await.is_ok(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn access_of_others_is_removed() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("media")).expect("a directory");
        std::fs::write(data.join("media/picture"), b"x").expect("a file");
        for (path, wide) in [("", 0o755), ("media", 0o755), ("media/picture", 0o644)] {
            std::fs::set_permissions(data.join(path), Permissions::from_mode(wide)).expect("our own");
        }
        prepare(&data).expect("a directory");
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&data.join("media")), 0o700);
        assert_eq!(mode(&data.join("media/picture")), 0o600);
    }

    #[test]
    fn missing_database_is_refused() {
        let folder = tempfile::tempdir().expect("a directory");
        furnish(folder.path(), &StoreConfig::Sqlite).expect("an empty folder is a new one");
        std::fs::write(folder.path().join("media/picture"), b"x").expect("a file");
        let refused = furnish(folder.path(), &StoreConfig::Sqlite)
            .expect_err("weir.db is missing")
            .to_string();
        assert!(refused.contains("weir.db is missing"), "{refused}");
    }
}
