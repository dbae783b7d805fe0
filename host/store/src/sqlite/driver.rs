//! SQLite behind [`Db`](crate::db::Db).

use std::ops::ControlFlow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};

use crate::db::{Cell, Columns, Driver, Param, Row};
use crate::{Result, StoreError};

impl Driver for Connection {
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        Ok(self.prepare_cached(sql)?.execute(params_from_iter(params))?)
    }

    fn numbers(&self, sql: &str, _: &str, rows: usize, params: &[Param<'_>]) -> Result<Vec<i64>> {
        self.run(sql, params)?;
        // The rows of one statement get consecutive numbers: there is only one writer.
        let last = self.last_insert_rowid();
        let first = last + 1 - i64::try_from(rows).unwrap_or_default();
        Ok((first..=last).collect())
    }

    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            if read(&Row(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let list = |list: serde_json::Result<String>| {
            let text = list.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            Ok(ToSqlOutput::from(text))
        };
        Ok(ToSqlOutput::Borrowed(match *self {
            Param::Null(_) => ValueRef::Null,
            Param::Integer(value) => ValueRef::Integer(value),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
            Param::Integers(values) => return list(serde_json::to_string(values)),
            Param::Texts(texts) => return list(serde_json::to_string(texts)),
        }))
    }
}

impl Columns for rusqlite::Row<'_> {
    fn cell(&self, column: usize) -> Result<Cell<'_>> {
        Ok(match self.get_ref(column)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Real(_) => Cell::Real,
            ValueRef::Text(text) => Cell::Text(text),
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
        })
    }

    fn name(&self, column: usize) -> String {
        self.as_ref().column_name(column).unwrap_or("a column").to_owned()
    }
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
            FromSqlConversionFailure(column, _, ref inner) => damaged(format!("column {column}"), inner.to_string()),
            InvalidColumnType(_, ref name, kind) => damaged(name.clone(), format!("it contains {kind}")),
            IntegralValueOutOfRange(column, value) => {
                damaged(format!("column {column}"), format!("it contains {value}"))
            }
            Utf8Error(..) => damaged("a text".to_owned(), error.to_string()),
            other => Self::Database(other.to_string()),
        }
    }
}
