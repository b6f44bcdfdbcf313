//! Records the one statement of a read, and runs the read again with the rows.

use tokio_postgres::Row as PgRow;

use crate::{Error, Result, Row, Value, value::OwnedValue};

pub(super) struct Recorded {
    pub(super) sql: &'static str,
    params: Vec<OwnedValue>,
}

/// A read in one of its two runs.
pub(crate) struct Recorder {
    statement: Option<Recorded>,
    /// The rows of the statement; `None` in the first run.
    rows: Option<Vec<PgRow>>,
    /// Whether the rows have been returned.
    used: bool,
    /// Whether the closure runs anything but one statement that reads rows.
    exceeded: bool,
}

impl Recorder {
    /// The first run: every statement fails, and the first one is recorded.
    pub(super) fn record() -> Self {
        Self { statement: None, rows: None, used: false, exceeded: false }
    }

    /// The second run: the same statement gets its rows.
    pub(super) fn play(statement: Recorded, rows: Vec<PgRow>) -> Self {
        Self { statement: Some(statement), rows: Some(rows), used: false, exceeded: false }
    }

    pub(super) fn recorded(self) -> Option<Recorded> {
        self.statement
    }

    pub(super) fn exceeded(&self) -> bool {
        self.exceeded
    }

    pub(crate) fn each(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut take: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some(rows) = &self.rows else {
            self.statement.get_or_insert_with(|| {
                let params = params.iter().map(OwnedValue::from).collect();
                Recorded { sql, params }
            });
            return Err(Error::Busy);
        };
        let same = self.statement.as_ref().is_some_and(|recorded| recorded.is(sql, params));
        if self.used || !same {
            return self.refuse();
        }
        self.used = true;
        rows.iter().try_for_each(|row| take(&Row::postgres(row)))
    }

    /// Refuses what only a fiber can run.
    pub(crate) fn refuse<T>(&mut self) -> Result<T> {
        self.exceeded = true;
        Err(Error::Busy)
    }
}

impl Recorded {
    pub(super) fn params(&self) -> Vec<Value<'_>> {
        self.params.iter().map(OwnedValue::borrow).collect()
    }

    fn is(&self, sql: &'static str, params: &[Value<'_>]) -> bool {
        self.sql == sql && self.params.iter().map(OwnedValue::borrow).eq(params.iter().copied())
    }
}
