//! `weir move`: the database, from SQLite to PostgreSQL or back.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use weir_domain::id::Mint;
use weir_domain::time::Timestamp;
use weir_store::{Act, Location, MasterKey, Progress, StoreError, move_record, reopen};

use super::output::Output;
use super::{Common, Done, Exit, Failure, folder};
use crate::Config;
use crate::core::{folder as directory, keyring};

/// Options of the command.
#[derive(Debug, Args)]
pub(super) struct Move {
    /// Destination: a postgres:// URL, `sqlite` for the data directory, or another directory
    #[arg(
        long,
        env = "WEIR_MOVE_TO",
        hide_env_values = true,
        value_name = "DATABASE",
        required_unless_present = "reopen"
    )]
    to: Option<String>,
    /// Use the configured database again although it was moved away
    #[arg(long)]
    reopen: bool,
}

impl Move {
    pub(super) fn run(self, common: &Common, output: &Output) -> Done {
        let config = common.load()?;
        let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
        // Before the directory is locked, which would create it.
        let from = directory::database(&config).map_err(failed)?;
        let _lock = folder::lock(&config)?;
        let mint = Mint::from_seed(keyring::seed().map_err(failed)?);
        let key = MasterKey::new(keyring::master_key(&config, &mint).map_err(failed)?);
        match self.to {
            Some(to) if !self.reopen => move_to(&config, output, &from, &to, &key, &mint),
            _ => open_again(output, &from, &key, &mint),
        }
    }
}

fn move_to(config: &Config, output: &Output, from: &Location, to: &str, key: &MasterKey, mint: &Mint) -> Done {
    // Held until the end: another directory is locked too.
    let mut elsewhere = None;
    let target = match to {
        url if url.starts_with("postgres://") || url.starts_with("postgresql://") => Location::Postgres(url.to_owned()),
        "sqlite" => Location::Sqlite(directory::record(&config.data)),
        // Not shown: it may hold a password.
        url if url.contains(":/") => {
            return Err(Failure::usage(
                "unknown kind of database; expected a postgres:// URL, sqlite, or a directory",
            ));
        }
        path => {
            let data = PathBuf::from(path);
            if !is_same(&data, &config.data) {
                elsewhere = Some(folder::lock_directory(&data)?);
            }
            Location::Sqlite(directory::record(&data))
        }
    };
    if let (Location::Sqlite(from), Location::Sqlite(to)) = (from, &target)
        && is_same(from, to)
    {
        return Err(Failure::usage(
            "the configured database is that SQLite file already; set WEIR_STORE to the database to move",
        ));
    }
    output.note(&format!("Moving {from} to {target}"));
    let mut progress = |at: &Progress| output.progress(&shown(at));
    let moved = move_record(from, &target, key, mint, now(), &mut progress);
    output.progress("");
    let moved = moved.map_err(|error| failure(&error))?;
    drop(elsewhere);
    let rows: u64 = moved.tables.iter().map(|table| table.rows).sum();
    output.list(
        &json!({ "data": moved.tables }),
        &[("table", "/table"), ("rows", "/rows"), ("digest", "/digest")],
        "",
    );
    output.note(&format!(
        "Moved {rows} rows; every table was read again and is the same as in {}.",
        moved.from
    ));
    output.note(&match &target {
        Location::Postgres(_) => format!(
            "Set `store` (WEIR_STORE) to the new database before the next start, and WEIR_MASTER_KEY{}. Media stay in {}: keep it.",
            match config.master_key {
                Some(_) => " as it is".to_owned(),
                None => format!(" to the content of {}", config.data.join("master.key").display()),
            },
            config.data.display()
        ),
        Location::Sqlite(path) => format!(
            "Set `store` (WEIR_STORE) to sqlite before the next start, and keep WEIR_MASTER_KEY as it is. Media stay in {}{}.",
            config.data.display(),
            if is_same(path, &directory::record(&config.data)) {
                ""
            } else {
                ": copy them to the database's directory"
            }
        ),
    });
    output.note("No host starts on the old database any more; `weir move --reopen` undoes that.");
    Ok(())
}

fn open_again(output: &Output, at: &Location, key: &MasterKey, mint: &Mint) -> Done {
    let was_moved = reopen(at, key, mint).map_err(|error| failure(&error))?;
    output.show(&json!({ "reopened": was_moved }), || {
        output.line(&if was_moved {
            format!("A host can use {at} again. What was recorded since the move is not in it.")
        } else {
            format!("{at} was not moved away; nothing to do")
        });
    });
    Ok(())
}

/// One line of progress.
fn shown(at: &Progress) -> String {
    let act = match at.act {
        Act::Copy => "Copying",
        Act::Verify => "Verifying",
    };
    format!(
        "{act} table {} of {} ({}), {} rows so far",
        at.number, at.of, at.table, at.rows
    )
}

fn failure(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Unavailable { .. } => Exit::Unreachable,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("cannot move the database: {error}"))
}

/// Whether two paths lead to the same place, as far as they exist.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_millis(since.map_or(0, |since: Duration| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }))
}
