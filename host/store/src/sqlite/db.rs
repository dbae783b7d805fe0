//! A connection inside a transaction, and how columns become the domain's types. What cannot be read is
//! [`StoreError::Damaged`] with its place, never a panic.

use std::fmt::Write;

use rusqlite::types::{FromSqlError, Type, Value};
use rusqlite::{CachedStatement, Connection, ErrorCode, Params, Row, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_domain::id::{Id, Mint};
use weir_domain::time::Timestamp;

use crate::vault::{Place, Vault};
use crate::{Page, Result, StoreError};

/// A connection inside a transaction, with what goes with each of them.
pub(crate) struct Db<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) vault: &'c Vault,
    pub(crate) mint: &'c Mint,
}

impl Db<'_> {
    /// A statement, prepared once and kept.
    pub(crate) fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Runs a statement without parameters; kept prepared.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        self.statement(sql)?.execute([])?;
        Ok(())
    }

    /// Runs a statement; how many rows it changed.
    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        Ok(self.statement(sql)?.execute(params)?)
    }

    /// The first row, if there is one.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params)?;
        Ok(rows.next()?.map(read).transpose()?)
    }

    /// All rows.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The rows that a statement finds by keys: it begins after `WITH wanted (…) AS (VALUES …)`, whose columns are `w1`, `w2` and
    /// so on. `fixed` are its first parameters.
    pub(crate) fn wanted<const N: usize, T>(
        &self,
        keys: impl IntoIterator<Item = [Value; N]>,
        fixed: &[&dyn ToSql],
        sql: &str,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let keys: Vec<[Value; N]> = keys.into_iter().collect();
        let mut found = Vec::new();
        for (some, rows) in in_steps(&keys, true) {
            let columns = (1..=N).map(|n| format!("w{n}")).collect::<Vec<_>>().join(", ");
            let values = placeholders::<N>(fixed.len(), rows);
            let sql = format!("WITH wanted ({columns}) AS (VALUES {values}) {sql}");
            let mut statement = self.statement(&sql)?;
            for (n, value) in fixed.iter().enumerate() {
                statement.raw_bind_parameter(n + 1, value)?;
            }
            for (n, value) in some.iter().flatten().enumerate() {
                statement.raw_bind_parameter(fixed.len() + n + 1, value)?;
            }
            // What is left over is null, which equals nothing.
            for n in some.len() * N..rows * N {
                statement.raw_bind_parameter(fixed.len() + n + 1, Value::Null)?;
            }
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }

    /// Writes rows by as few statements as there can be of few sizes. `head` ends before `VALUES`. Gives each row's number.
    pub(crate) fn insert_all<const N: usize>(&self, head: &str, values: &[[Value; N]]) -> Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(values.len());
        for (some, rows) in in_steps(values, false) {
            let sql = format!("{head} VALUES {}", placeholders::<N>(0, rows));
            let mut statement = self.statement(&sql)?;
            for (n, value) in some.iter().flatten().enumerate() {
                statement.raw_bind_parameter(n + 1, value)?;
            }
            statement.raw_execute()?;
            // The rows of one statement get numbers that follow one another: nobody else writes.
            let last = self.connection.last_insert_rowid();
            let first = last + 1 - i64::try_from(rows).unwrap_or_default();
            numbers.extend(first..=last);
        }
        Ok(numbers)
    }

    /// The moment that a statement without parameters finds, if there is one.
    pub(crate) fn moment(&self, sql: &str) -> Result<Option<Timestamp>> {
        Ok(self.one(sql, [], |row| get_time_if(row, 0))?.flatten())
    }

    /// Whether there is such a row.
    pub(crate) fn exists(&self, sql: &str, params: impl Params) -> Result<bool> {
        Ok(self.one(sql, params, |_| Ok(()))?.is_some())
    }

    /// A new id.
    pub(crate) fn mint<I: Id>(&self, now: Timestamp) -> I {
        self.mint.id(now)
    }

    /// Seals a document for its place.
    pub(crate) fn seal<T: Serialize>(&self, value: &T, place: Place<'_>) -> Result<Vec<u8>> {
        self.vault.seal(json(value)?.as_bytes(), place, self.mint)
    }

    /// Opens what [`Db::seal`] made.
    pub(crate) fn open<T: DeserializeOwned>(&self, sealed: &[u8], place: Place<'_>) -> Result<T> {
        let plain = self.vault.open(sealed, place)?;
        serde_json::from_slice(&plain).map_err(|error| StoreError::Damaged {
            place: place.to_string(),
            // The error's text may quote what it read.
            reason: format!("not the document that was sealed ({:?})", error.classify()),
        })
    }
}

/// How many rows one statement takes: each size is one statement more that is kept prepared.
const STEPS: [usize; 4] = [64, 16, 4, 1];

/// Cuts rows into such steps; `padded` ones may be larger than what is left.
fn in_steps<T>(rows: &[T], padded: bool) -> impl Iterator<Item = (&[T], usize)> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let step = if padded {
            STEPS
                .into_iter()
                .rev()
                .find(|step| *step >= rest.len())
                .unwrap_or(STEPS[0])
        } else {
            STEPS.into_iter().find(|step| *step <= rest.len())?
        };
        if rest.is_empty() {
            return None;
        }
        let (some, left) = rest.split_at(step.min(rest.len()));
        rest = left;
        Some((some, step))
    })
}

/// `(?1, ?2), (?3, ?4)`, beginning after `from`.
fn placeholders<const N: usize>(from: usize, rows: usize) -> String {
    let mut text = String::with_capacity(rows * N * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=N {
            let comma = if column == 1 { "" } else { ", " };
            let _ = write!(text, "{comma}?{}", from + row * N + column);
        }
        text.push(')');
    }
    text
}

/// What stands in a column and cannot be what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
struct Unreadable {
    place: &'static str,
    reason: String,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqliteFailure, Utf8Error,
        };
        let damaged = |place: String, reason: String| Self::Damaged { place, reason };
        match error {
            SqliteFailure(ref failure, _) => match failure.code {
                ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure => Self::Unavailable {
                    reason: error.to_string(),
                },
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    damaged("the file".to_owned(), error.to_string())
                }
                _ => Self::Database(error.to_string()),
            },
            FromSqlConversionFailure(column, _, ref inner) => match inner.downcast_ref::<Unreadable>() {
                Some(found) => damaged(found.place.to_owned(), found.reason.clone()),
                None => damaged(format!("column {column}"), inner.to_string()),
            },
            InvalidColumnType(_, ref name, kind) => damaged(name.clone(), format!("it holds {kind}")),
            IntegralValueOutOfRange(column, value) => damaged(format!("column {column}"), format!("it holds {value}")),
            Utf8Error(..) => damaged("a text".to_owned(), error.to_string()),
            other => Self::Database(other.to_string()),
        }
    }
}

fn unreadable(column: usize, place: &'static str, reason: impl ToString) -> rusqlite::Error {
    let reason = reason.to_string();
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(Unreadable { place, reason }))
}

/// A document to be written.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(format!("cannot write a document: {error}")))
}

/// The same, where there may be none.
pub(crate) fn json_if<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(json).transpose()
}

/// A word of a closed list, as serde spells it.
pub(crate) fn word<T: Serialize>(value: T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreError::Database(format!("not a word: {other:?}"))),
    }
}

/// An id, as it is kept.
pub(crate) fn key<I: Id>(id: I) -> [u8; 16] {
    id.uuid().into_bytes()
}

/// An id, as a value of [`Db::wanted`] and [`Db::insert_all`].
pub(crate) fn key_value<I: Id>(id: I) -> Value {
    Value::Blob(key(id).to_vec())
}

/// An id that may be none, as it is kept.
pub(crate) fn key_if<I: Id>(id: Option<I>) -> Option<[u8; 16]> {
    id.map(key)
}

/// A moment that may be none, as it is kept.
pub(crate) fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

pub(crate) fn get_id<I: Id>(row: &Row<'_>, column: usize) -> rusqlite::Result<I> {
    Ok(I::from_uuid(uuid::Uuid::from_bytes(row.get(column)?)))
}

pub(crate) fn get_id_if<I: Id>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<I>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| I::from_uuid(uuid::Uuid::from_bytes(bytes))))
}

pub(crate) fn get_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(crate) fn get_time_if(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let at: Option<i64> = row.get(column)?;
    Ok(at.map(Timestamp::from_millis))
}

pub(crate) fn get_json<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: &'static str) -> rusqlite::Result<T> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|error| wrong_type(column, place, error))?;
    serde_json::from_str(text).map_err(|error| unreadable(column, place, error))
}

pub(crate) fn get_json_if<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    place: &'static str,
) -> rusqlite::Result<Option<T>> {
    let text = row
        .get_ref(column)?
        .as_str_or_null()
        .map_err(|error| wrong_type(column, place, error))?;
    text.map(|text| serde_json::from_str(text).map_err(|error| unreadable(column, place, error)))
        .transpose()
}

/// A word of a closed list, as [`word`] wrote it.
pub(crate) fn get_word<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: &'static str) -> rusqlite::Result<T> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|error| wrong_type(column, place, error))?;
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|error| unreadable(column, place, error))
}

fn wrong_type(column: usize, place: &'static str, error: FromSqlError) -> rusqlite::Error {
    unreadable(column, place, error)
}

/// One page of rows, and where to go on.
pub(crate) fn listed<T>(page: &Page, mut rows: Vec<T>, cursor: impl FnOnce(&T) -> String) -> crate::Listed<T> {
    let limit = limit(page);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(cursor);
    crate::Listed { rows, next }
}

/// How many rows a page asks for, within the bound.
pub(crate) fn limit(page: &Page) -> usize {
    page.limit.clamp(1, weir_domain::limits::PAGE) as usize
}

/// One more than the page holds, so that its end is known.
pub(crate) fn fetch(page: &Page) -> i64 {
    i64::from(page.limit.clamp(1, weir_domain::limits::PAGE)) + 1
}

/// A cursor that is an id; without one the greatest, so that the index is entered where the page begins.
pub(crate) fn cursor_id<I: Id + std::str::FromStr>(page: &Page) -> [u8; 16] {
    let id = page.cursor.as_deref().and_then(|text| text.parse::<I>().ok());
    id.map_or([u8::MAX; 16], key)
}

/// A cursor that is a number; without one the greatest.
pub(crate) fn cursor_number(page: &Page) -> i64 {
    let number = page.cursor.as_deref().and_then(|text| text.parse().ok());
    number.unwrap_or(i64::MAX)
}
