//! PostgreSQL behind [`Db`](crate::db::Db): statements are translated once and kept prepared, with the types of their
//! parameters.

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::Statement;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::db::{Cell, Columns, Driver, Kind, Param, Row};
use crate::postgres::connection::{Connection, LOCK_LOG};
use crate::{Result, StoreError};

impl Driver for Connection {
    fn run(&self, sql: &str, params: &[Param<'_>]) -> Result<usize> {
        let statement = self.prepared(sql, params)?;
        let params = bound(params);
        let changed = self.flight(self.client.execute(&statement, &params));
        changed
            .map(|changed| usize::try_from(changed).unwrap_or(usize::MAX))
            .map_err(|error| self.failed(error))
    }

    fn write(&self, sql: &str, params: &[Param<'_>]) -> Result<()> {
        let statement = self.prepared(sql, params)?;
        let params: Vec<Box<dyn ToSql + Sync + Send>> = params.iter().map(owned).collect();
        let client = Arc::clone(&self.client);
        let sent = self.send(async move { client.execute_raw(&statement, params).await.map(drop) });
        sent.map_err(|error| self.failed(error))
    }

    fn numbers(&self, sql: &str, column: &str, _: usize, params: &[Param<'_>]) -> Result<Vec<i64>> {
        if self.log_end.get().is_none() {
            let client = Arc::clone(&self.client);
            let sent = self.send(async move { client.batch_execute(LOCK_LOG).await });
            sent.map_err(|error| self.failed(error))?;
        }
        let mut numbers = Vec::new();
        self.each(&format!("{sql} RETURNING {column}"), params, &mut |row| {
            numbers.push(row.get(0)?);
            Ok(ControlFlow::Continue(()))
        })?;
        numbers.sort_unstable();
        self.log_end.set(numbers.last().copied());
        Ok(numbers)
    }

    fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let statement = self.prepared(sql, params)?;
        let params = bound(params);
        let rows = self.flight(self.client.query(&statement, &params));
        for row in rows.map_err(|error| self.failed(error))? {
            if read(&Row(&row))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn prepared(&self, sql: &str, params: &[Param<'_>]) -> Result<Statement> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        let types: Vec<Type> = params.iter().map(|param| type_of(param.kind())).collect();
        let prepared = self.flight(self.client.prepare_typed(&translate(sql), &types));
        let prepared = prepared.map_err(|error| self.failed(error))?;
        self.statements.borrow_mut().insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    /// Keeps the error that ended the open transaction.
    fn failed(&self, error: tokio_postgres::Error) -> StoreError {
        let described = StoreError::from(&error);
        *self.failure.borrow_mut() = Some(error);
        described
    }
}

fn type_of(kind: Kind) -> Type {
    match kind {
        Kind::Integer => Type::INT8,
        Kind::Text => Type::TEXT,
        Kind::Blob => Type::BYTEA,
        Kind::Integers => Type::INT8_ARRAY,
        Kind::Texts => Type::TEXT_ARRAY,
    }
}

fn bound<'p>(params: &'p [Param<'p>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

fn owned(param: &Param<'_>) -> Box<dyn ToSql + Sync + Send> {
    match *param {
        Param::Null(Kind::Integer) => Box::new(None::<i64>),
        Param::Null(Kind::Text) => Box::new(None::<String>),
        Param::Null(Kind::Blob) => Box::new(None::<Vec<u8>>),
        Param::Null(Kind::Integers) => Box::new(None::<Vec<i64>>),
        Param::Null(Kind::Texts) => Box::new(None::<Vec<String>>),
        Param::Integer(value) => Box::new(value),
        Param::Text(value) => Box::new(value.to_owned()),
        Param::Blob(value) => Box::new(value.to_owned()),
        Param::Integers(value) => Box::new(value.to_owned()),
        Param::Texts(value) => Box::new(value.to_owned()),
    }
}

/// Translates the common SQL: numbered parameters are `?1`, a list is read by `json_each`, and `CROSS JOIN … ON` and
/// `INDEXED BY` name the join order and the index for SQLite, which PostgreSQL chooses on its own.
fn translate(sql: &str) -> String {
    let mut rest = sql;
    let mut text = String::with_capacity(sql.len());
    while let Some(at) = rest.find(['?', 'I', 'N', 'C']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let list = |head: &str| {
            let number = from
                .strip_prefix(head)?
                .strip_prefix("(SELECT value FROM json_each(?")?;
            let (number, left) = number.split_once("))")?;
            Some((number, left))
        };
        if let Some((number, left)) = list("NOT IN ") {
            text.extend(["<> ALL($", number, ")"]);
            rest = left;
        } else if let Some((number, left)) = list("IN ") {
            text.extend(["= ANY($", number, ")"]);
            rest = left;
        } else if let Some(joined) = from.strip_prefix("CROSS JOIN ") {
            text.push_str("JOIN ");
            rest = joined;
        } else if let Some(named) = from.strip_prefix("INDEXED BY ") {
            rest = named.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        } else {
            let mut chars = from.chars();
            text.push(match chars.next() {
                Some('?') => '$',
                Some(other) => other,
                None => break,
            });
            rest = chars.as_str();
        }
    }
    text.push_str(rest);
    text
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Param::Null(_) => Ok(IsNull::Yes),
            Param::Integer(value) => value.to_sql(ty, out),
            Param::Text(text) => text.to_sql(ty, out),
            Param::Blob(bytes) => bytes.to_sql(ty, out),
            Param::Integers(values) => values.to_sql(ty, out),
            Param::Texts(texts) => texts.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // They are bound by the types that they were prepared with.
        true
    }

    to_sql_checked!();
}

/// A column as the server sent it.
struct Sent<'r>(&'r [u8]);

impl<'r> FromSql<'r> for Sent<'r> {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Columns for tokio_postgres::Row {
    fn cell(&self, column: usize) -> Result<Cell<'_>> {
        let place = || StoreError::Database(format!("a statement has no column {column}"));
        let ty = self.columns().get(column).ok_or_else(place)?.type_();
        let sent: Option<Sent<'_>> = self
            .try_get(column)
            .map_err(|error| StoreError::Database(error.to_string()))?;
        let Some(Sent(raw)) = sent else { return Ok(Cell::Null) };
        let read = |error: Box<dyn Error + Sync + Send>| StoreError::Database(error.to_string());
        Ok(match *ty {
            Type::INT8 => Cell::Integer(i64::from_sql(ty, raw).map_err(read)?),
            Type::INT4 => Cell::Integer(i32::from_sql(ty, raw).map_err(read)?.into()),
            Type::BOOL => Cell::Integer(bool::from_sql(ty, raw).map_err(read)?.into()),
            Type::TEXT | Type::VARCHAR => Cell::Text(raw),
            Type::BYTEA => Cell::Blob(raw),
            _ => return Err(StoreError::Database(format!("a column of type {ty}"))),
        })
    }

    fn name(&self, column: usize) -> String {
        self.columns()
            .get(column)
            .map_or("a column", |column| column.name())
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn the_common_spelling_becomes_postgresqls() {
        assert_eq!(
            translate(
                "SELECT a FROM t INDEXED BY t_a WHERE a = ?1 AND b NOT IN (SELECT value FROM json_each(?2)) AND (c = ?13)"
            ),
            "SELECT a FROM t  WHERE a = $1 AND b <> ALL($2) AND (c = $13)"
        );
        assert_eq!(
            translate("DELETE FROM t WHERE n IN (SELECT value FROM json_each(?1))"),
            "DELETE FROM t WHERE n = ANY($1)"
        );
    }
}
