//! Transactions: everything that the domain can do to a database.

#[cfg(feature = "explain")]
#[path = "../explain/tx.rs"] // for tests only, so it is no part of the product
pub mod explain;

use std::time::Instant;

use crate::{
    Error, Notice, Result, Row, Value, postgres::connection::Connection as PgConnection,
    postgres::recorder::Recorder, sqlite::prepared::Prepared, sqlite::verbs,
};

/// A transaction: the only access to the database.
///
/// Statements are written in the SQL that both engines share, with `?1` parameters. They are
/// `'static`, so nothing that a user typed can become SQL. After a failed statement, every further
/// one fails with the same error, and the transaction is rolled back.
pub struct Tx<'a> {
    on: On<'a>,
    /// The first failure of a statement.
    failed: Option<Error>,
    statements: u64,
    /// How many statements it may have.
    most: u64,
    /// When a scan should end.
    end: Option<Instant>,
    /// What to publish after the commit.
    notices: Vec<Notice>,
}

/// What runs the statements.
pub(crate) enum On<'a> {
    Sqlite(&'a Prepared),
    Postgres(Box<PgConnection<'a>>),
    Recorder(&'a mut Recorder),
}

impl<'a> Tx<'a> {
    pub(crate) fn on(on: On<'a>) -> Self {
        let (statements, most) = (0, u64::MAX);
        Self { on, failed: None, statements, most, end: None, notices: Vec::new() }
    }

    /// For a read of one statement, which nothing but the statement itself begins and ends.
    pub(crate) fn of_one_statement(on: On<'a>) -> Self {
        Self { most: 1, ..Self::on(on) }
    }

    /// Gives the connection back.
    pub(crate) fn into_postgres(self) -> Option<Box<PgConnection<'a>>> {
        match self.on {
            On::Postgres(connection) => Some(connection),
            On::Sqlite(_) | On::Recorder(_) => None,
        }
    }

    /// The first failure of a statement, even if the closure ignored it.
    pub(crate) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn end_by(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// Whether this is a scan ([`crate::Db::scan`]) that has had its time: it should end with what
    /// it has found, and say where another one is to continue. Asks the clock, so not for each row.
    pub fn is_late(&self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    /// How many statements were run so far, including failed ones: the round trips to PostgreSQL.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// Sends a notice to the listeners of all nodes once the transaction is committed.
    pub fn notify(&mut self, notice: Notice) {
        // Consecutive steps of a write often concern the same thing.
        if self.notices.last() != Some(&notice) {
            self.notices.push(notice);
        }
    }

    /// Counts a statement, and refuses to go on after a failure.
    fn begin(&mut self) -> Result<()> {
        self.statements += 1;
        if self.statements > self.most {
            let second = || Error::Engine("a read of one statement has a second one".to_owned());
            self.failed.get_or_insert_with(second);
        }
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// Remembers the failure of a statement. A row that the closure cannot use is none.
    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && !matches!(error, Error::Column { .. } | Error::NoRow)
        {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }

    /// Runs a statement and returns the number of rows that it changed.
    #[cfg_attr(feature = "explain", track_caller)]
    pub fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.begin()?;
        #[cfg(feature = "explain")]
        self.explain(sql, params)?;
        let changed = match &mut self.on {
            On::Sqlite(connection) => verbs::execute(connection, sql, params),
            On::Postgres(connection) => connection.execute(sql, params),
            On::Recorder(recorder) => recorder.refuse(),
        };
        self.note(changed)
    }

    /// Locks the rows that a statement reads until the transaction ends. Nothing happens on SQLite,
    /// which has only one writer.
    #[cfg_attr(feature = "explain", track_caller)]
    pub fn lock(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<()> {
        self.begin()?;
        #[cfg(feature = "explain")]
        if let On::Postgres(_) = self.on {
            self.explain(sql, params)?;
        }
        let locked = match &mut self.on {
            On::Sqlite(_) => Ok(0),
            On::Postgres(connection) => connection.execute(sql, params),
            On::Recorder(recorder) => recorder.refuse(),
        };
        self.note(locked).map(drop)
    }

    /// Inserts a row into a table with a generated `id`, and returns the id.
    ///
    /// # Errors
    /// [`Error::NoRow`] if the statement inserted nothing.
    #[cfg_attr(feature = "explain", track_caller)]
    pub fn insert(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<i64> {
        self.begin()?;
        #[cfg(feature = "explain")]
        self.explain(sql, params)?;
        let inserted = match &mut self.on {
            On::Sqlite(connection) => verbs::insert(connection, sql, params),
            On::Postgres(connection) => connection.insert(sql, params),
            On::Recorder(recorder) => recorder.refuse(),
        };
        self.note(inserted)
    }

    /// The highest id that any table with generated ids has ever given, or 0.
    pub fn last_id(&mut self) -> Result<i64> {
        self.begin()?;
        let last = match &mut self.on {
            On::Sqlite(connection) => verbs::last_id(connection),
            On::Postgres(connection) => connection.last_id(),
            On::Recorder(recorder) => recorder.refuse(),
        };
        self.note(last)
    }

    /// Makes every table with generated ids give only ids above this one, which must not be below
    /// [`Tx::last_id`]. On PostgreSQL that stays done if the transaction is rolled back.
    pub fn skip_ids(&mut self, last: i64) -> Result<()> {
        self.begin()?;
        let skipped = match &mut self.on {
            On::Sqlite(connection) => verbs::skip_ids(connection, last),
            On::Postgres(connection) => connection.skip_ids(last),
            On::Recorder(recorder) => recorder.refuse(),
        };
        self.note(skipped)
    }

    /// Returns all rows.
    #[cfg_attr(feature = "explain", track_caller)]
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
    #[cfg_attr(feature = "explain", track_caller)]
    pub fn query_opt<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        // Read to the end: only then has a statement that changes rows changed all of them.
        self.each(sql, params, |row| {
            if found.is_none() {
                found = Some(map(row)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the first row, which must exist.
    ///
    /// # Errors
    /// [`Error::NoRow`] if there is none.
    #[cfg_attr(feature = "explain", track_caller)]
    pub fn query_one<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.query_opt(sql, params, map)?.ok_or(Error::NoRow)
    }

    /// Runs a statement once for each row of parameters, in order, and returns how many rows
    /// changed in all. PostgreSQL gets all of them in one round trip. Without rows, nothing is run.
    #[cfg_attr(feature = "explain", track_caller)]
    pub fn batch<const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
    ) -> Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        self.begin()?;
        #[cfg(feature = "explain")]
        self.explain(sql, &rows[0])?;
        let changed = match &mut self.on {
            On::Sqlite(connection) => verbs::batch(connection, sql, rows),
            On::Postgres(connection) => connection.batch(sql, rows),
            On::Recorder(recorder) => recorder.refuse(),
        };
        self.note(changed)
    }

    #[cfg_attr(feature = "explain", track_caller)]
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut take: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        self.begin()?;
        #[cfg(feature = "explain")]
        self.explain(sql, params)?;
        let read = match &mut self.on {
            On::Sqlite(connection) => verbs::each(connection, sql, params, take),
            On::Recorder(recorder) => recorder.each(sql, params, take),
            On::Postgres(connection) => connection
                .query(sql, params)
                .and_then(|rows| rows.iter().try_for_each(|row| take(&Row::postgres(row)))),
        };
        self.note(read)
    }
}
