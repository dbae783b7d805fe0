//! The data folder: what lies in it, and that nobody else on the machine reads it: it holds keys, and what people wrote.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folders in it.
const FOLDERS: [&str; 3] = ["components", "cache", "media"];
/// What group and others may do.
const OTHERS: u32 = 0o077;

/// The record of a data folder.
pub(crate) fn record(data: &Path) -> PathBuf {
    data.join("weir.db")
}

/// The record's write-ahead log.
pub(crate) fn log(data: &Path) -> PathBuf {
    data.join("weir.db-wal")
}

/// Makes the folder, for its owner only. One that is there and that others can enter is closed to them, with all that is in it.
///
/// # Errors
/// One line that says what is in the way.
pub(crate) fn prepare(data: &Path) -> anyhow::Result<()> {
    let cannot = || {
        format!(
            "the data folder {} cannot be used; set WEIR_DATA or give it to this user",
            data.display()
        )
    };
    make(data).with_context(cannot)?;
    if is_open_to_others(data).with_context(cannot)? {
        close_to_others(data).with_context(|| {
            format!(
                "others can enter the data folder {}, and this user may not change that; chmod 700 it, or set WEIR_DATA to a \
                 folder in it",
                data.display()
            )
        })?;
        tracing::warn!(
            "Others could enter the data folder {}; now only its owner can",
            data.display()
        );
    }
    Ok(())
}

/// Makes the folders in a data folder that a host is about to work on.
///
/// # Errors
/// One line that says what is in the way: among others, files of a record that is not there.
pub(crate) fn furnish(data: &Path) -> anyhow::Result<()> {
    let holds_files =
        |folder: &str| std::fs::read_dir(data.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
    if !record(data).exists() && (holds_files("components") || holds_files("media")) {
        bail!(
            "{} holds connectors or media, and no record: weir.db is missing; put it back, restore a backup, or name an empty folder",
            data.display()
        );
    }
    for folder in FOLDERS {
        make(&data.join(folder)).with_context(|| format!("the data folder {} cannot be used", data.display()))?;
    }
    Ok(())
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// How a file in the folder is opened to be written from its beginning: whatever the umask allows, for its owner only.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & OTHERS != 0)
}

/// The inner ones first: as long as the folder itself is open, the next start goes through all of it again.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_open_to_others_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("media")).expect("a folder");
        std::fs::write(data.join("media/picture"), b"x").expect("a file");
        for (path, wide) in [("", 0o755), ("media", 0o755), ("media/picture", 0o644)] {
            std::fs::set_permissions(data.join(path), Permissions::from_mode(wide)).expect("our own");
        }
        prepare(&data).expect("a folder");
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&data.join("media")), 0o700);
        assert_eq!(mode(&data.join("media/picture")), 0o600);
    }

    #[test]
    fn files_without_a_record_are_no_empty_host() {
        let folder = tempfile::tempdir().expect("a folder");
        furnish(folder.path()).expect("an empty folder is a new one");
        std::fs::write(folder.path().join("media/picture"), b"x").expect("a file");
        let refused = furnish(folder.path()).expect_err("weir.db is missing").to_string();
        assert!(refused.contains("weir.db is missing"), "{refused}");
    }
}
