//! The statements of a transaction, run by SQLite.

use rusqlite::Connection;

use super::prepared::Prepared;
use crate::{Error, Result, Row, Value};

pub(crate) fn execute(
    connection: &Prepared,
    sql: &'static str,
    params: &[Value<'_>],
) -> Result<u64> {
    connection.lend(sql, |statement| {
        bind(statement, params)?;
        Ok(statement.raw_execute()? as u64)
    })
}

pub(crate) fn insert(
    connection: &Prepared,
    sql: &'static str,
    params: &[Value<'_>],
) -> Result<i64> {
    match execute(connection, sql, params)? {
        // SQLite would return the id of an earlier row, perhaps of another write.
        0 => Err(Error::NoRow),
        _ => Ok(connection.last_insert_rowid()),
    }
}

pub(crate) fn each(
    connection: &Prepared,
    sql: &'static str,
    params: &[Value<'_>],
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    connection.lend(sql, |statement| {
        bind(statement, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            take(&Row::sqlite(row))?;
        }
        Ok(())
    })
}

pub(crate) fn batch<const N: usize>(
    connection: &Prepared,
    sql: &'static str,
    rows: &[[Value<'_>; N]],
) -> Result<u64> {
    connection.lend(sql, |statement| {
        let mut changed = 0;
        for params in rows {
            bind(statement, params)?;
            changed += statement.raw_execute()? as u64;
        }
        Ok(changed)
    })
}

pub(crate) fn last_id(connection: &Connection) -> Result<i64> {
    let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence";
    Ok(connection.query_row(last, [], |row| row.get(0))?)
}

pub(crate) fn skip_ids(connection: &Connection, last: i64) -> Result<()> {
    connection.execute("DELETE FROM sqlite_sequence", [])?;
    // A table that never had a row is not listed there yet.
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT name, ?1 FROM sqlite_schema
         WHERE type = 'table' AND instr(sql, 'INTEGER PRIMARY KEY AUTOINCREMENT') > 0",
        [last],
    )?;
    Ok(())
}

#[cfg(feature = "explain")]
pub(crate) fn plan(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        steps.push(row.get(3)?);
    }
    Ok(steps)
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value<'_>]) -> Result<()> {
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}
