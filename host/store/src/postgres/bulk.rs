//! Whole tables in PostgreSQL.

use std::ops::ControlFlow;

use crate::bulk::{Bulk, Column, OF_RECORD, TABLES};
use crate::db::{Driver, Kind, Param, Row};
use crate::postgres::connection::Connection;
use crate::{Result, StoreError};

/// Fetches some rows at a time, of about one MiB at most each.
const FETCH: &str = "FETCH 64 FROM copied_";
/// Fetches one row at a time from `components` and `media_bytes`, whose rows have up to 16 MiB and 256 KiB.
const FETCH_LARGE: &str = "FETCH 1 FROM copied_";

impl Bulk for Connection {
    fn driver(&self) -> &dyn Driver {
        self
    }

    fn columns(&self, table: &str) -> Result<Vec<Column>> {
        let query = "SELECT column_name::text, data_type::text FROM information_schema.columns
            WHERE table_schema = current_schema() AND table_name = ?1";
        let mut columns = Vec::new();
        self.each(query, &[Param::Text(table)], &mut |row| {
            let (name, declared): (String, &str) = (row.get(0)?, row.get(1)?);
            let kind = match declared {
                "bigint" => Kind::Integer,
                "text" => Kind::Text,
                "bytea" => Kind::Blob,
                other => return Err(StoreError::Schema(format!("{table}.{name} is {other}"))),
            };
            columns.push(Column { name, kind });
            Ok(ControlFlow::Continue(()))
        })?;
        columns.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(columns)
    }

    fn begin(&self) -> Result<()> {
        Ok(self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")?)
    }

    fn commit(&self) -> Result<()> {
        Ok(self.execute("COMMIT")?)
    }

    fn is_shared(&self) -> Result<bool> {
        Self::is_shared(self)
    }

    fn scan(&self, name: &str, query: &str, read: &mut dyn FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        self.execute(&format!("DECLARE copied_{name} NO SCROLL CURSOR FOR {query}"))?;
        let fetch = if matches!(name, "components" | "media_bytes") {
            FETCH_LARGE
        } else {
            FETCH
        };
        loop {
            let mut rows = 0;
            self.each(&format!("{fetch}{name}"), &[], &mut |row| {
                rows += 1;
                read(row).map(ControlFlow::Continue)
            })?;
            if rows == 0 {
                break;
            }
        }
        Ok(self.execute(&format!("CLOSE copied_{name}"))?)
    }

    fn clear(&self) -> Result<()> {
        let names: Vec<&str> = TABLES.into_iter().filter(|table| *table != "meta").collect();
        let names = names.join(", ");
        Ok(self.execute(&format!(
            "BEGIN; TRUNCATE {names}; DELETE FROM meta WHERE {OF_RECORD}; COMMIT"
        ))?)
    }

    fn own_numbers(&self) -> &'static str {
        " OVERRIDING SYSTEM VALUE"
    }

    fn last_number(&self, table: &str, column: &str) -> Result<Option<i64>> {
        let query = "SELECT last_value FROM pg_sequences
            WHERE format('%I.%I', schemaname, sequencename) = pg_get_serial_sequence(?1, ?2)";
        let mut last = None;
        self.each(query, &[Param::Text(table), Param::Text(column)], &mut |row| {
            last = row.get(0)?;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(last)
    }

    fn set_last_number(&self, table: &str, column: &str, last: i64) -> Result<()> {
        let set = "SELECT setval(pg_get_serial_sequence(?1, ?2)::regclass, ?3)";
        let params = [Param::Text(table), Param::Text(column), Param::Integer(last)];
        self.each(set, &params, &mut |_| Ok(ControlFlow::Break(())))
    }
}
