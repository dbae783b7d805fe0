//! Rows, and the conversion of columns to the domain's types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_domain::id::Id;
use weir_domain::time::Timestamp;

use crate::db::params::Value;
use crate::{Page, Result, StoreError};
/// A row that is being read.
pub(crate) struct Row<'r>(pub(crate) &'r dyn Columns);

/// The columns of a row of one engine.
pub(crate) trait Columns {
    fn cell(&self, column: usize) -> Result<Cell<'_>>;
    fn name(&self, column: usize) -> String;
}

/// The value of a column. Text is validated as UTF-8 only when it is read as text.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'r> {
    Null,
    Integer(i64),
    Real,
    Text(&'r [u8]),
    Blob(&'r [u8]),
}

impl Cell<'_> {
    /// Why it is not of the requested type.
    fn unfit(self) -> String {
        match self {
            Self::Null => "it contains Null".to_owned(),
            Self::Integer(value) => format!("it contains {value}"),
            Self::Real => "it contains Real".to_owned(),
            Self::Text(_) => "it contains Text".to_owned(),
            Self::Blob(bytes) => format!("it contains {} bytes", bytes.len()),
        }
    }
}

/// A type that a column can be read as.
pub(crate) trait Column<'r>: Sized {
    /// # Errors
    /// The reason, for people.
    fn read(cell: Cell<'r>) -> std::result::Result<Self, String>;
}

impl Column<'_> for i64 {
    fn read(cell: Cell<'_>) -> std::result::Result<Self, String> {
        match cell {
            Cell::Integer(value) => Ok(value),
            other => Err(other.unfit()),
        }
    }
}

macro_rules! narrow {
    ($($integer:ty),*) => {$(
        impl Column<'_> for $integer {
            fn read(cell: Cell<'_>) -> std::result::Result<Self, String> {
                i64::read(cell)?.try_into().map_err(|_| cell.unfit())
            }
        }
    )*};
}
narrow!(i32, u64, u32, u16);

impl Column<'_> for bool {
    fn read(cell: Cell<'_>) -> std::result::Result<Self, String> {
        i64::read(cell).map(|value| value != 0)
    }
}

impl<'r> Column<'r> for &'r str {
    fn read(cell: Cell<'r>) -> std::result::Result<Self, String> {
        match cell {
            Cell::Text(text) => std::str::from_utf8(text).map_err(|error| error.to_string()),
            other => Err(other.unfit()),
        }
    }
}

impl Column<'_> for String {
    fn read(cell: Cell<'_>) -> std::result::Result<Self, String> {
        <&str>::read(cell).map(str::to_owned)
    }
}

/// Bytes, also those of a text.
impl<'r> Column<'r> for &'r [u8] {
    fn read(cell: Cell<'r>) -> std::result::Result<Self, String> {
        match cell {
            Cell::Text(bytes) | Cell::Blob(bytes) => Ok(bytes),
            other => Err(other.unfit()),
        }
    }
}

impl Column<'_> for Vec<u8> {
    fn read(cell: Cell<'_>) -> std::result::Result<Self, String> {
        match cell {
            Cell::Blob(bytes) => Ok(bytes.to_vec()),
            other => Err(other.unfit()),
        }
    }
}

impl<const N: usize> Column<'_> for [u8; N] {
    fn read(cell: Cell<'_>) -> std::result::Result<Self, String> {
        match cell {
            Cell::Blob(bytes) => bytes.try_into().map_err(|_| cell.unfit()),
            other => Err(other.unfit()),
        }
    }
}

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn read(cell: Cell<'r>) -> std::result::Result<Self, String> {
        match cell {
            Cell::Null => Ok(None),
            cell => T::read(cell).map(Some),
        }
    }
}

impl Row<'_> {
    /// Reads a column.
    pub(crate) fn get<'r, T: Column<'r>>(&'r self, column: usize) -> Result<T> {
        T::read(self.0.cell(column)?).map_err(|reason| StoreError::Damaged {
            place: self.0.name(column),
            reason,
        })
    }
}

fn unreadable(place: &str, reason: impl ToString) -> StoreError {
    StoreError::Damaged {
        place: place.to_owned(),
        reason: reason.to_string(),
    }
}

/// Serializes a document.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(format!("cannot write a document: {error}")))
}

/// The same for an optional document.
pub(crate) fn json_if<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(json).transpose()
}

/// An enum value, as serde spells it.
pub(crate) fn enum_text<T: Serialize>(value: T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(enum_text)) => Ok(enum_text),
        other => Err(StoreError::Database(format!("not an enum value: {other:?}"))),
    }
}

/// An id, as stored.
pub(crate) fn key<I: Id>(id: I) -> [u8; 16] {
    id.uuid().into_bytes()
}

/// An id, as a value of [`Db::wanted`] and [`Db::insert_all`].
pub(crate) fn key_value<I: Id>(id: I) -> Value {
    Value::Id(key(id))
}

/// An optional id, as stored.
pub(crate) fn key_if<I: Id>(id: Option<I>) -> Option<[u8; 16]> {
    id.map(key)
}

/// An optional moment, as stored.
pub(crate) fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

pub(crate) fn get_id<I: Id>(row: &Row<'_>, column: usize) -> Result<I> {
    Ok(I::from_uuid(uuid::Uuid::from_bytes(row.get(column)?)))
}

pub(crate) fn get_id_if<I: Id>(row: &Row<'_>, column: usize) -> Result<Option<I>> {
    let bytes: Option<[u8; 16]> = row.get(column)?;
    Ok(bytes.map(|bytes| I::from_uuid(uuid::Uuid::from_bytes(bytes))))
}

pub(crate) fn get_time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(crate) fn get_time_if(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    let at: Option<i64> = row.get(column)?;
    Ok(at.map(Timestamp::from_millis))
}

pub(crate) fn get_json<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: &'static str) -> Result<T> {
    let text = row.get(column)?;
    serde_json::from_str(text).map_err(|error| unreadable(place, error))
}

pub(crate) fn get_json_if<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: &'static str) -> Result<Option<T>> {
    let text: Option<&str> = row.get(column)?;
    text.map(|text| serde_json::from_str(text).map_err(|error| unreadable(place, error)))
        .transpose()
}

/// An enum value, as [`enum_text`] wrote it.
pub(crate) fn get_enum<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: &'static str) -> Result<T> {
    let text = row.get(column)?;
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|error| unreadable(place, error))
}

/// One page of rows, and where to continue.
pub(crate) fn listed<T>(page: &Page, mut rows: Vec<T>, cursor: impl FnOnce(&T) -> String) -> crate::Listed<T> {
    let limit = limit(page);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(cursor);
    crate::Listed { rows, next }
}

/// The number of rows that a page requests, within the bound.
pub(crate) fn limit(page: &Page) -> usize {
    page.limit.clamp(1, weir_domain::limits::PAGE) as usize
}

/// One more than the page's limit, to detect its end.
pub(crate) fn fetch(page: &Page) -> i64 {
    i64::from(page.limit.clamp(1, weir_domain::limits::PAGE)) + 1
}

/// A cursor that is an id; without one the greatest, so that the index scan starts at the page.
pub(crate) fn cursor_id<I: Id + std::str::FromStr>(page: &Page) -> [u8; 16] {
    let id = page.cursor.as_deref().and_then(|text| text.parse::<I>().ok());
    id.map_or([u8::MAX; 16], key)
}

/// A cursor that is a number; without one the greatest.
pub(crate) fn cursor_number(page: &Page) -> i64 {
    let number = page.cursor.as_deref().and_then(|text| text.parse().ok());
    number.unwrap_or(i64::MAX)
}
