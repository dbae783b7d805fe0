//! A connection inside a transaction, as acts use it: parameters, rows, and the conversion of columns to the domain's
//! types. Only the [`Driver`] knows the engine. A value that cannot be read is [`StoreError::Damaged`] with its
//! position, never a panic.

mod params;
mod rows;

use std::fmt::Write;
use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_domain::id::{Id, Mint};
use weir_domain::time::Timestamp;

pub(crate) use params::{Kind, Param, Params, ToParam, Value, params};
pub(crate) use rows::{
    Cell, Columns, Row, cursor_id, cursor_number, enum_text, fetch, get_enum, get_id, get_id_if, get_json, get_json_if,
    get_time, get_time_if, json, json_if, key, key_if, key_value, limit, listed, ms,
};

use crate::vault::{Place, Vault};
use crate::{Result, StoreError};

/// A connection of one engine. Statements number their parameters `?1`, `?2`, …; each is prepared once and kept.
pub(crate) trait Driver {
    /// Runs a statement; returns the number of changed rows.
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize>;
    /// Runs a statement that changes any number of rows. If it fails, a later statement of the transaction or its
    /// commit may return the error.
    fn write(&self, sql: &str, params: &[Param<'_>]) -> Result<()> {
        self.run(sql, params).map(drop)
    }
    /// Runs an `INSERT` of `rows` rows whose `column` the engine numbers, rising. Returns the numbers, in the order of
    /// the rows; no number is visible before all smaller ones are.
    fn numbers(&self, sql: &str, column: &str, rows: usize, params: &[Param<'_>]) -> Result<Vec<i64>>;
    /// Reads rows until there are no more or `read` stops.
    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;
}

/// A connection inside a transaction, with its context.
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

    /// Runs a statement; returns the number of changed rows.
    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        params.with(|params| self.driver.run(sql, params))
    }

    /// Runs a statement that changes any number of rows. If it fails, a later statement of the transaction or its
    /// commit may return the error.
    pub(crate) fn write(&self, sql: &str, params: impl Params) -> Result<()> {
        params.with(|params| self.driver.write(sql, params))
    }

    /// Reads rows until there are no more or `read` stops.
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

    /// The rows that a statement finds by keys: `sql` continues after `WITH wanted (…) AS (VALUES …)`, whose columns
    /// are `w1`, `w2` and so on. `fixed` are its first parameters.
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
            let values = placeholders(N, fixed.len(), rows);
            let mut params = fixed.to_vec();
            params.extend(some.iter().flatten().map(Value::to_param));
            // Unused keys are null, which equals nothing.
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

    /// Inserts rows with few statements of few sizes. `head` ends before `VALUES`.
    pub(crate) fn insert_all<V: AsRef<[Value]>>(&self, head: &str, values: &[V]) -> Result<()> {
        for (some, rows) in in_steps(values, false) {
            let params: Vec<Param<'_>> = some.iter().flat_map(AsRef::as_ref).map(Value::to_param).collect();
            let columns = some.first().map_or(0, |row| row.as_ref().len());
            self.driver
                .write(&format!("{head} VALUES {}", placeholders(columns, 0, rows)), &params)?;
        }
        Ok(())
    }

    /// The same for rows that get a number in `column`. Returns each row's.
    pub(crate) fn insert_numbered<const N: usize>(
        &self,
        head: &str,
        column: &str,
        values: &[[Value; N]],
    ) -> Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(values.len());
        for (some, rows) in in_steps(values, false) {
            let params: Vec<Param<'_>> = some.iter().flatten().map(Value::to_param).collect();
            let sql = format!("{head} VALUES {}", placeholders(N, 0, rows));
            numbers.extend(self.driver.numbers(&sql, column, rows, &params)?);
        }
        Ok(numbers)
    }

    /// The moment that a statement without parameters finds, if any.
    pub(crate) fn moment(&self, sql: &str) -> Result<Option<Timestamp>> {
        Ok(self.one(sql, [], |row| get_time_if(row, 0))?.flatten())
    }

    /// Whether the statement finds a row.
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

    /// Opens a document that [`Db::seal`] sealed.
    pub(crate) fn open<T: DeserializeOwned>(&self, sealed: &[u8], place: Place<'_>) -> Result<T> {
        let plain = self.vault.open(sealed, place)?;
        serde_json::from_slice(&plain).map_err(|error| StoreError::Damaged {
            place: place.to_string(),
            // The error's text may quote the document.
            reason: format!("not the document that was sealed ({:?})", error.classify()),
        })
    }
}

/// Rows per statement: each size is one more prepared statement.
const STEPS: [usize; 4] = [64, 16, 4, 1];

/// Splits rows into these sizes; `padded` steps may be larger than the remaining rows.
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
fn placeholders(columns: usize, from: usize, rows: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            let _ = write!(text, "{comma}?{}", from + row * columns + column);
        }
        text.push(')');
    }
    text
}
