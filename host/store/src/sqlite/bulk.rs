//! Whole tables in SQLite.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, params};

use crate::bulk::{Bulk, Column, IN_ORDER, OF_RECORD, TABLES};
use crate::db::{Driver, Kind, Row};
use crate::{Result, StoreError};

impl Bulk for Connection {
    fn driver(&self) -> &dyn Driver {
        self
    }

    fn columns(&self, table: &str) -> Result<Vec<Column>> {
        let mut statement = self.prepare_cached("SELECT name, type FROM pragma_table_info(?1)")?;
        let mut rows = statement.query([table])?;
        let mut columns = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
            let kind = match declared.as_str() {
                "INTEGER" => Kind::Integer,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Blob,
                other => return Err(StoreError::Schema(format!("{table}.{name} is {other}"))),
            };
            columns.push(Column { name, kind });
        }
        if IN_ORDER.contains(&table) {
            columns.push(Column {
                name: "rowid".to_owned(),
                kind: Kind::Integer,
            });
        }
        columns.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(columns)
    }

    fn begin(&self) -> Result<()> {
        Ok(self.execute_batch("BEGIN")?)
    }

    fn commit(&self) -> Result<()> {
        Ok(self.execute_batch("COMMIT")?)
    }

    fn is_shared(&self) -> Result<bool> {
        Ok(false)
    }

    fn scan(&self, _: &str, query: &str, read: &mut dyn FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        self.each(query, &[], &mut |row| read(row).map(ControlFlow::Continue))
    }

    fn clear(&self) -> Result<()> {
        self.begin()?;
        for table in TABLES.iter().rev() {
            let of = if *table == "meta" { OF_RECORD } else { "TRUE" };
            self.execute(&format!("DELETE FROM {table} WHERE {of}"), [])?;
        }
        self.commit()
    }

    fn own_numbers(&self) -> &'static str {
        ""
    }

    fn last_number(&self, table: &str, _: &str) -> Result<Option<i64>> {
        let last = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
        Ok(self.query_row(last, [table], |row| row.get(0)).optional()?)
    }

    /// A table that reuses numbers stores nothing besides its rows.
    fn set_last_number(&self, table: &str, _: &str, last: i64) -> Result<()> {
        let counts: bool = self.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 AND sql LIKE '%AUTOINCREMENT%')",
            [table],
            |row| row.get(0),
        )?;
        if counts {
            self.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
            self.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
                params![table, last],
            )?;
        }
        Ok(())
    }
}
