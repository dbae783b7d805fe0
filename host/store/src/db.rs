//! A connection inside a transaction, as the acts of the record see it: parameters, rows and how columns become the domain's
//! types. Which engine is behind it only its [`Driver`] knows. What cannot be read is [`StoreError::Damaged`] with its place,
//! never a panic.

use std::fmt::Write;
use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_domain::id::{Id, Mint};
use weir_domain::time::Timestamp;

use crate::vault::{Place, Vault};
use crate::{Page, Result, StoreError};

/// A connection of one engine. Statements number their parameters `?1`, `?2`, …; each is prepared once and kept.
pub(crate) trait Driver {
    /// Runs a statement; how many rows it changed.
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize>;
    /// Runs an `INSERT` of so many rows whose `column` the engine numbers, rising. The numbers, in the order of the rows; no
    /// number can be read by anybody before all smaller ones can.
    fn numbers(&self, sql: &str, column: &str, rows: usize, params: &[Param<'_>]) -> Result<Vec<i64>>;
    /// Reads rows until there are no more or `read` breaks off.
    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;
}

/// A connection inside a transaction, with what goes with each of them.
pub(crate) struct Db<'c> {
    pub(crate) driver: &'c dyn Driver,
    pub(crate) vault: &'c Vault,
    pub(crate) mint: &'c Mint,
}

impl Db<'_> {
    /// Runs a statement without parameters.
    pub(crate) fn batch(&self, sql: &str) -> Result<()> {
        self.driver.run(sql, &[]).map(drop)
    }

    /// Runs a statement; how many rows it changed.
    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        params.with(|params| self.driver.run(sql, params))
    }

    /// Reads rows until there are no more or `read` breaks off.
    pub(crate) fn each(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        params.with(|params| self.driver.each(sql, params, &mut read))
    }

    /// The first row, if there is one.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let (mut read, mut found) = (Some(read), None);
        self.each(sql, params, |row| {
            found = read.take().map(|read| read(row)).transpose()?;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// All rows.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, |row| {
            found.push(read(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The rows that a statement finds by keys: it begins after `WITH wanted (…) AS (VALUES …)`, whose columns are `w1`, `w2` and
    /// so on. `fixed` are its first parameters.
    pub(crate) fn wanted<const N: usize, T>(
        &self,
        keys: impl IntoIterator<Item = [Value; N]>,
        fixed: &[Param<'_>],
        sql: &str,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let keys: Vec<[Value; N]> = keys.into_iter().collect();
        let mut found = Vec::new();
        for (some, rows) in in_steps(&keys, true) {
            let columns = (1..=N).map(|n| format!("w{n}")).collect::<Vec<_>>().join(", ");
            let values = placeholders::<N>(fixed.len(), rows);
            let mut params = fixed.to_vec();
            params.extend(some.iter().flatten().map(Value::to_param));
            // What is left over is null, which equals nothing.
            let left_over = some.iter().take(1).cycle().take(rows - some.len());
            params.extend(left_over.flatten().map(Value::null));
            self.each(
                &format!("WITH wanted ({columns}) AS (VALUES {values}) {sql}"),
                params,
                |row| {
                    found.push(read(row)?);
                    Ok(ControlFlow::Continue(()))
                },
            )?;
        }
        Ok(found)
    }

    /// Writes rows by as few statements as there can be of few sizes. `head` ends before `VALUES`.
    pub(crate) fn insert_all<const N: usize>(&self, head: &str, values: &[[Value; N]]) -> Result<()> {
        for (some, rows) in in_steps(values, false) {
            let params: Vec<Param<'_>> = some.iter().flatten().map(Value::to_param).collect();
            self.driver
                .run(&format!("{head} VALUES {}", placeholders::<N>(0, rows)), &params)?;
        }
        Ok(())
    }

    /// The same for rows that get a number in `column`. Gives each row's.
    pub(crate) fn insert_numbered<const N: usize>(
        &self,
        head: &str,
        column: &str,
        values: &[[Value; N]],
    ) -> Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(values.len());
        for (some, rows) in in_steps(values, false) {
            let params: Vec<Param<'_>> = some.iter().flatten().map(Value::to_param).collect();
            let sql = format!("{head} VALUES {}", placeholders::<N>(0, rows));
            numbers.extend(self.driver.numbers(&sql, column, rows, &params)?);
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

// ---- parameters ------------------------------------------------------------------------------------------------------

/// What is bound to a statement. It has a type also where it is null: an engine that infers the types of parameters needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param<'p> {
    Null(Kind),
    Integer(i64),
    Text(&'p str),
    Blob(&'p [u8]),
    /// A list, which a statement reads by `IN (SELECT value FROM json_each(?1))`.
    Integers(&'p [i64]),
    Texts(&'p [String]),
}

impl Param<'_> {
    /// Its type.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Null(kind) => *kind,
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
            Self::Blob(_) => Kind::Blob,
            Self::Integers(_) => Kind::Integers,
            Self::Texts(_) => Kind::Texts,
        }
    }
}

/// The types of columns, and of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Text,
    Blob,
    Integers,
    Texts,
}

/// What can be bound.
pub(crate) trait ToParam {
    const KIND: Kind;
    fn to_param(&self) -> Param<'_>;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ToParam for $integer {
            const KIND: Kind = Kind::Integer;
            fn to_param(&self) -> Param<'_> {
                Param::Integer(i64::from(*self))
            }
        }
    )*};
}
integers!(i64, i32, u32, u16, u8, bool);

impl ToParam for str {
    const KIND: Kind = Kind::Text;
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for String {
    const KIND: Kind = Kind::Text;
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for [u8] {
    const KIND: Kind = Kind::Blob;
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl ToParam for Vec<u8> {
    const KIND: Kind = Kind::Blob;
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl ToParam for [i64] {
    const KIND: Kind = Kind::Integers;
    fn to_param(&self) -> Param<'_> {
        Param::Integers(self)
    }
}

impl ToParam for [String] {
    const KIND: Kind = Kind::Texts;
    fn to_param(&self) -> Param<'_> {
        Param::Texts(self)
    }
}

impl ToParam for Vec<String> {
    const KIND: Kind = Kind::Texts;
    fn to_param(&self) -> Param<'_> {
        Param::Texts(self)
    }
}

impl<const N: usize> ToParam for [u8; N] {
    const KIND: Kind = Kind::Blob;
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    const KIND: Kind = T::KIND;
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    const KIND: Kind = T::KIND;
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null(T::KIND), ToParam::to_param)
    }
}

/// What is bound and owned: a column of a row that [`Db::insert_all`] writes or a key of [`Db::wanted`].
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null(Kind),
    Integer(i64),
    Text(String),
    Id([u8; 16]),
    Blob(Vec<u8>),
}

impl Value {
    pub(crate) fn to_param(&self) -> Param<'_> {
        match self {
            Self::Null(kind) => Param::Null(*kind),
            Self::Integer(value) => Param::Integer(*value),
            Self::Text(text) => Param::Text(text),
            Self::Id(id) => Param::Blob(id),
            Self::Blob(bytes) => Param::Blob(bytes),
        }
    }

    /// A null of the same type.
    fn null(&self) -> Param<'_> {
        Param::Null(match self {
            Self::Null(kind) => *kind,
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
            Self::Id(_) | Self::Blob(_) => Kind::Blob,
        })
    }
}

macro_rules! integer_values {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Self::Integer(value.into())
            }
        }
    )*};
}
integer_values!(i64, i32, u32, u16, u8, bool);

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<[u8; 16]> for Value {
    fn from(id: [u8; 16]) -> Self {
        Self::Id(id)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<T: ToParam + Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
    }
}

/// The parameters of one statement, in their order: [`params!`], or an array of one type.
pub(crate) trait Params {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R;
}

impl Params for &[Param<'_>] {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
        bind(self)
    }
}

impl Params for Vec<Param<'_>> {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
        bind(self)
    }
}

impl Params for [Param<'_>; 0] {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
        bind(self)
    }
}

macro_rules! arrays {
    ($($length:literal),*) => {$(
        impl<T: ToParam> Params for [T; $length] {
            fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
                bind(&self.each_ref().map(ToParam::to_param))
            }
        }
    )*};
}
arrays!(1, 2, 3, 4);

/// The parameters of one statement, each of its own type, borrowed for the call.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::db::ToParam::to_param(&$value)),*] as &[$crate::db::Param<'_>]
    };
}
pub(crate) use params;

// ---- rows ------------------------------------------------------------------------------------------------------------

/// A row that is being read.
pub(crate) struct Row<'r>(pub(crate) &'r dyn Columns);

/// The columns of a row of one engine.
pub(crate) trait Columns {
    fn cell(&self, column: usize) -> Result<Cell<'_>>;
    fn name(&self, column: usize) -> String;
}

/// What a column holds. Text is looked at as UTF-8 only when it is read as that.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'r> {
    Null,
    Integer(i64),
    Real,
    Text(&'r [u8]),
    Blob(&'r [u8]),
}

impl Cell<'_> {
    /// Why it is not of the type that is asked for.
    fn unfit(self) -> String {
        match self {
            Self::Null => "it holds Null".to_owned(),
            Self::Integer(value) => format!("it holds {value}"),
            Self::Real => "it holds Real".to_owned(),
            Self::Text(_) => "it holds Text".to_owned(),
            Self::Blob(bytes) => format!("it holds {} bytes", bytes.len()),
        }
    }
}

/// What a column can be read as.
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
    /// What a column holds.
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
    Value::Id(key(id))
}

/// An id that may be none, as it is kept.
pub(crate) fn key_if<I: Id>(id: Option<I>) -> Option<[u8; 16]> {
    id.map(key)
}

/// A moment that may be none, as it is kept.
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

/// A word of a closed list, as [`word`] wrote it.
pub(crate) fn get_word<T: DeserializeOwned>(row: &Row<'_>, column: usize, place: &'static str) -> Result<T> {
    let text = row.get(column)?;
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|error| unreadable(place, error))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_has_a_type() {
        assert_eq!(None::<u32>.to_param(), Param::Null(Kind::Integer));
        assert_eq!(None::<&String>.to_param(), Param::Null(Kind::Text));
        assert_eq!(None::<[u8; 16]>.to_param(), Param::Null(Kind::Blob));
        assert_eq!(Some(true).to_param(), Param::Integer(1));
    }
}
