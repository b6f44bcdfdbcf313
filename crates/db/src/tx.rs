//! The verbs: all that the domain can do to a database.

use rusqlite::Connection;

use crate::{Error, Result, Row, Value};

/// A transaction: the only thing that can touch the database.
///
/// Statements are written once, in the subset that the engines share, with `?1` parameters. They
/// are `'static`: there is no SQL made at run time, so nothing that a user typed can become SQL.
pub struct Tx<'a> {
    connection: &'a Connection,
    over: Option<Error>,
    statements: u64,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection, over: None, statements: 0 }
    }

    /// The failure that ended the transaction, whatever the closure made of it.
    pub(crate) fn over(self) -> Option<Error> {
        self.over
    }

    /// How many verbs were run so far, those that failed too: so many times an engine across a
    /// network is asked.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// Counts a verb, and refuses to go on after such a failure: the engine would commit each
    /// statement by itself.
    fn begin(&mut self) -> Result<()> {
        self.statements += 1;
        match &self.over {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && (error.is_fatal() || self.connection.is_autocommit())
        {
            self.over.get_or_insert_with(|| error.clone());
        }
        result
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.begin()?;
        let changed = execute(self.connection, sql, params);
        self.note(changed)
    }

    /// Inserts a row into a table whose `id` the engine gives, and returns that id.
    ///
    /// # Errors
    /// [`Error::NoRow`] where the statement inserted nothing.
    pub fn insert(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<i64> {
        self.begin()?;
        let inserted = execute(self.connection, sql, params);
        match self.note(inserted)? {
            // The engine still knows the id of an earlier row then, perhaps of another write.
            0 => Err(Error::NoRow),
            _ => Ok(self.connection.last_insert_rowid()),
        }
    }

    /// Returns all rows.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.begin()?;
        let mut found = Vec::new();
        let read = each(self.connection, sql, params, |row| {
            found.push(map(row)?);
            Ok(())
        });
        self.note(read)?;
        Ok(found)
    }

    /// Returns the first row, if there is one.
    pub fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.begin()?;
        let mut found = None;
        // Read to the end: a statement that changes rows has done its work only then.
        let read = each(self.connection, sql, params, |row| {
            if found.is_none() {
                found = Some(map(row)?);
            }
            Ok(())
        });
        self.note(read)?;
        Ok(found)
    }

    /// Returns the one row that must be there.
    ///
    /// # Errors
    /// [`Error::NoRow`] where there is none.
    pub fn query_one<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.query_opt(sql, params, map)?.ok_or(Error::NoRow)
    }

    /// Runs one statement for each row of parameters, in order; an engine across a network sends
    /// them all at once. Returns the number of rows that all of them changed.
    pub fn batch<const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
    ) -> Result<u64> {
        self.begin()?;
        let changed = batch(self.connection, sql, rows);
        self.note(changed)
    }
}

fn execute(connection: &Connection, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    Ok(statement.raw_execute()? as u64)
}

fn each(
    connection: &Connection,
    sql: &'static str,
    params: &[Value<'_>],
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        take(&Row::new(row))?;
    }
    Ok(())
}

fn batch<const N: usize>(
    connection: &Connection,
    sql: &'static str,
    rows: &[[Value<'_>; N]],
) -> Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut changed = 0;
    for params in rows {
        bind(&mut statement, params)?;
        changed += statement.raw_execute()? as u64;
    }
    Ok(changed)
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value<'_>]) -> Result<()> {
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}
