//! The verbs: all that the domain can do to a database.

use rusqlite::Connection;

use crate::notice::Notice;
use crate::postgres::{Recall, Session};
use crate::{Error, Result, Row, Value, sqlite};

/// A transaction: the only thing that can touch the database.
///
/// Statements are written once, in the subset that the engines share, with `?1` parameters. They
/// are `'static`: there is no SQL made at run time, so nothing that a user typed can become SQL.
/// After a statement that failed the transaction can only end: every further verb answers the same
/// failure, and nothing is kept.
pub struct Tx<'a> {
    on: On<'a>,
    failed: Option<Error>,
    statements: u64,
    notices: Vec<Notice>,
}

/// The engine beneath it.
enum On<'a> {
    Sqlite(&'a Connection),
    Postgres(Box<Session<'a>>),
    Recall(&'a mut Recall),
}

impl<'a> Tx<'a> {
    pub(crate) fn sqlite(connection: &'a Connection) -> Self {
        Self::new(On::Sqlite(connection))
    }

    pub(crate) fn postgres(session: Box<Session<'a>>) -> Self {
        Self::new(On::Postgres(session))
    }

    /// Gives the connection back.
    pub(crate) fn into_session(self) -> Option<Box<Session<'a>>> {
        match self.on {
            On::Postgres(session) => Some(session),
            On::Sqlite(_) | On::Recall(_) => None,
        }
    }

    pub(crate) fn recall(recall: &'a mut Recall) -> Self {
        Self::new(On::Recall(recall))
    }

    fn new(on: On<'a>) -> Self {
        Self { on, failed: None, statements: 0, notices: Vec::new() }
    }

    /// The failure of a statement, whatever the closure made of it.
    pub(crate) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// How many verbs were run so far, those that failed too: so many times an engine across a
    /// network is asked.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// Tells whoever listens, on this node and on others, once this is committed.
    pub fn notify(&mut self, notice: Notice) {
        // Many steps of one write are about the same.
        if self.notices.last() != Some(&notice) {
            self.notices.push(notice);
        }
    }

    /// Counts a verb, and refuses to go on after a failure.
    fn begin(&mut self) -> Result<()> {
        self.statements += 1;
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// Remembers the failure of a statement; what a closure makes of the rows is not one.
    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && !matches!(error, Error::Column { .. } | Error::NoRow)
        {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }

    /// Runs a statement and returns the number of rows that it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.begin()?;
        let changed = match &mut self.on {
            On::Sqlite(connection) => sqlite::verbs::execute(connection, sql, params),
            On::Postgres(session) => session.execute(sql, params),
            On::Recall(recall) => recall.more(),
        };
        self.note(changed)
    }

    /// Runs a statement that only locks rows, so that what is read after it stays as it is until
    /// the end. It is written for a server; a file has one writer, who needs no locks.
    pub fn lock(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<()> {
        self.begin()?;
        let locked = match &mut self.on {
            On::Sqlite(_) => Ok(0),
            On::Postgres(session) => session.execute(sql, params),
            On::Recall(recall) => recall.more(),
        };
        self.note(locked).map(drop)
    }

    /// Inserts a row into a table whose `id` the engine gives, and returns that id.
    ///
    /// # Errors
    /// [`Error::NoRow`] where the statement inserted nothing.
    pub fn insert(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<i64> {
        self.begin()?;
        let inserted = match &mut self.on {
            On::Sqlite(connection) => sqlite::verbs::insert(connection, sql, params),
            On::Postgres(session) => session.insert(sql, params),
            On::Recall(recall) => recall.more(),
        };
        self.note(inserted)
    }

    /// Returns all rows.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(sql, params, |row| {
            found.push(map(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the first row, if there is one.
    pub fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        // Read to the end: a statement that changes rows has done its work only then.
        self.each(sql, params, |row| {
            if found.is_none() {
                found = Some(map(row)?);
            }
            Ok(())
        })?;
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
        let changed = match &mut self.on {
            On::Sqlite(connection) => sqlite::verbs::batch(connection, sql, rows),
            On::Postgres(session) => session.batch(sql, rows),
            On::Recall(recall) => recall.more(),
        };
        self.note(changed)
    }

    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut take: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        self.begin()?;
        let read = match &mut self.on {
            On::Sqlite(connection) => sqlite::verbs::each(connection, sql, params, take),
            On::Recall(recall) => recall.each(sql, params, take),
            On::Postgres(session) => session
                .query(sql, params)
                .and_then(|rows| rows.iter().try_for_each(|row| take(&Row::postgres(row)))),
        };
        self.note(read)
    }
}
