//! One connection to the server: its prepared statements and its transactions.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use tokio_postgres::{Row as PgRow, Statement};

use super::calls::{all, any, typed, with};
use super::failure::{CONSTRAINTS, Catalog};
use super::{config::Config, dialect, driver::Driver, fiber::Waiter};
use crate::{Error, Result, Row, Value};

/// How long the first statements of a connection may take if nobody waits for it.
const SETUP: Duration = Duration::from_secs(5);
/// How long work of a server waits for a lock on its connection. After that it gives the
/// connection to others, and waits for the rest of the lock timeout in line with all such work.
/// Sixteen commits of 10 ms take less.
const LOCK_WAIT: Duration = Duration::from_millis(200);

const COMMIT: &str = "COMMIT";
/// One snapshot for all statements of a read.
pub(super) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
/// Each statement sees what was committed before it; the counters of mailboxes are the locks.
pub(super) const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";
const COMMIT_BEGIN_READ: &str = "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
const COMMIT_BEGIN_WRITE: &str = "COMMIT; BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// Selects something of the sequences that generate the ids of our tables.
macro_rules! identities {
    ($selected:literal) => {
        concat!(
            "SELECT ",
            $selected,
            " FROM pg_class AS sequences
             JOIN pg_depend AS links ON links.objid = sequences.oid AND links.deptype = 'i'
                 AND links.classid = 'pg_class'::regclass AND links.refclassid = links.classid
             JOIN pg_class AS tables ON tables.oid = links.refobjid
             WHERE sequences.relkind = 'S'
                 AND tables.relnamespace = current_schema()::regnamespace"
        )
    };
}

pub(crate) struct Connection<'f> {
    pub(super) driver: Driver<'f>,
    statements: HashMap<Key, Prepared>,
    /// Whether statements are prepared under a name, and the session is ours.
    named: bool,
    /// The settings of the session, or of each transaction if the session is not ours.
    settings: String,
    /// A COMMIT, a BEGIN or both that are sent together with the next statement, which saves a
    /// round trip.
    pub(super) prefix: Option<&'static str>,
    /// Whether each statement is a transaction by itself.
    autocommit: bool,
}

/// A statement, identified by its address, and whether it returns an id.
type Key = (usize, usize, bool);

#[derive(Clone)]
enum Prepared {
    Named(Statement),
    Text(Arc<str>),
}

impl<'f> Connection<'f> {
    /// Connects, for work that ends at `deadline`.
    pub(super) fn open(
        waiter: Waiter<'f>,
        config: &Config,
        deadline: Option<Instant>,
    ) -> Result<Self> {
        let mut driver = Driver::connect(waiter, config, deadline)?;
        let named = config.options.named_statements;
        let set = if named { "SET" } else { "SET LOCAL" };
        let lock_timeout = config.options.lock_timeout;
        let lock_wait = deadline.map_or(lock_timeout, |_| LOCK_WAIT.min(lock_timeout));
        // Commits wait for the disk, whatever the default of the role.
        let settings = format!(
            "{set} statement_timeout = {};
             {set} lock_timeout = {};
             {set} idle_in_transaction_session_timeout = 10000;
             SELECT set_config('synchronous_commit', 'on', {})
             WHERE current_setting('synchronous_commit') IN ('off', 'local')",
            driver.statement_timeout.as_millis(),
            lock_wait.as_millis(),
            !named,
        );
        driver.deadline = Some(deadline.unwrap_or_else(|| Instant::now() + SETUP));
        if named {
            // A first statement sent together with its BEGIN must change nothing if that fails.
            driver.simple(&format!("SET default_transaction_read_only = on; {settings}"))?;
        }
        let (statements, prefix, autocommit) = (HashMap::new(), None, false);
        let mut connection = Self { driver, statements, named, settings, prefix, autocommit };
        let rows = connection.query(CONSTRAINTS, &[])?;
        connection.driver.catalog = Catalog::new(&rows)?;
        connection.driver.deadline = deadline;
        Ok(connection)
    }

    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        let prepared = self.prepared(sql, false, params)?;
        let (client, prefix) = (self.driver.client(), self.prefix.take());
        match prepared {
            Prepared::Named(statement) => {
                self.driver.wait(with(&client, prefix, client.execute_raw(&statement, params)))
            }
            Prepared::Text(text) => {
                self.send_prefix(prefix)?;
                self.driver.wait(client.execute_typed(&text, &typed(params)))
            }
        }
    }

    pub(crate) fn insert(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<i64> {
        let rows = self.rows(sql, true, params)?;
        Row::postgres(rows.first().ok_or(Error::NoRow)?).int(0)
    }

    pub(crate) fn query(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<Vec<PgRow>> {
        self.rows(sql, false, params)
    }

    pub(crate) fn last_id(&mut self) -> Result<i64> {
        let last = identities!("coalesce(max(pg_sequence_last_value(sequences.oid)), 0)");
        Row::postgres(self.query(last, &[])?.first().ok_or(Error::NoRow)?).int(0)
    }

    pub(crate) fn skip_ids(&mut self, last: i64) -> Result<()> {
        // Unlike `ALTER SEQUENCE`, this waits for nobody who uses the table.
        let skip = identities!("setval(sequences.oid, ?1)");
        self.query(skip, &[Value::Int(last)]).map(drop)
    }

    fn rows(
        &mut self,
        sql: &'static str,
        returning: bool,
        params: &[Value<'_>],
    ) -> Result<Vec<PgRow>> {
        let prepared = self.prepared(sql, returning, params)?;
        let (client, prefix) = (self.driver.client(), self.prefix.take());
        match prepared {
            Prepared::Named(statement) => {
                let values: Vec<_> = params.iter().map(any).collect();
                self.driver.wait(with(&client, prefix, client.query(&statement, &values)))
            }
            Prepared::Text(text) => {
                self.send_prefix(prefix)?;
                self.driver.wait(client.query_typed(&text, &typed(params)))
            }
        }
    }

    pub(crate) fn batch<const N: usize>(
        &mut self,
        sql: &'static str,
        rows: &[[Value<'_>; N]],
    ) -> Result<u64> {
        if let [one, _, ..] = rows
            && let Prepared::Named(statement) = self.prepared(sql, false, one)?
        {
            let (client, prefix) = (self.driver.client(), self.prefix.take());
            // All are sent before the first is answered.
            let sent = rows.iter().map(|row| Box::pin(client.execute_raw(&statement, row)));
            return self.driver.wait(with(&client, prefix, all(sent.collect())));
        }
        rows.iter().map(|row| self.execute(sql, row)).sum()
    }

    /// Sends the prefix in a round trip of its own: a statement without a name takes several
    /// messages, and if the session is not ours, nothing else stops it after a failed BEGIN.
    pub(super) fn send_prefix(&mut self, prefix: Option<&'static str>) -> Result<()> {
        match prefix {
            None => Ok(()),
            Some(COMMIT) => self.driver.simple(COMMIT),
            Some(begin) => {
                let begin = format!("{begin}; {}", self.settings);
                self.driver.simple(&begin)
            }
        }
    }

    fn prepared(
        &mut self,
        sql: &'static str,
        returning: bool,
        params: &[Value<'_>],
    ) -> Result<Prepared> {
        let key = (sql.as_ptr().addr(), sql.len(), returning);
        if let Some(prepared) = self.statements.get(&key) {
            return Ok(prepared.clone());
        }
        let mut text = dialect::statement(sql);
        if returning {
            text.push_str(" RETURNING id");
        }
        let prepared = if self.named {
            let types: Vec<Type> = params.iter().map(Value::sql_type).collect();
            let client = self.driver.client();
            Prepared::Named(self.driver.wait(client.prepare_typed(&text, &types))?)
        } else {
            Prepared::Text(text.into())
        };
        self.statements.insert(key, prepared.clone());
        Ok(prepared)
    }

    /// Begins a transaction with the next statement, or none if `begin` is `None`.
    pub(super) fn begin(&mut self, begin: Option<&'static str>, deadline: Option<Instant>) {
        self.prefix = match (self.prefix.take(), begin) {
            (Some(COMMIT), Some(BEGIN_READ)) => Some(COMMIT_BEGIN_READ),
            (Some(COMMIT), Some(BEGIN_WRITE)) => Some(COMMIT_BEGIN_WRITE),
            (Some(COMMIT), None) => Some(COMMIT),
            (_, begin) => begin,
        };
        self.autocommit = begin.is_none();
        self.driver.reading = begin != Some(BEGIN_WRITE);
        self.driver.recovery = None;
        self.driver.deadline = deadline;
    }

    /// Begins a write that may wait so long for each lock, in a round trip of its own.
    pub(super) fn begin_waiting(&mut self, lock_wait: Duration, deadline: Option<Instant>) {
        self.begin(Some(BEGIN_WRITE), deadline);
        let begin = self.prefix.take().unwrap_or(BEGIN_WRITE);
        let settings = if self.named { "" } else { &self.settings };
        // 0 would be no limit.
        let wait = lock_wait.as_millis().max(1);
        let begin = format!("{begin}; {settings}; SET LOCAL lock_timeout = {wait}");
        if self.driver.simple(&begin).is_err() {
            // Nothing may run outside of the transaction.
            self.driver.give_up();
        }
    }

    /// Whether the transaction was begun, which only its first statement does.
    pub(super) fn has_begun(&self) -> bool {
        !self.autocommit && self.prefix.is_none()
    }

    /// Leaves a read open; the next work commits it with its first statement.
    pub(super) fn commit_later(&mut self) {
        self.prefix = Some(COMMIT);
    }

    /// Commits a read that was left open, before the fiber waits for work.
    pub(super) fn commit_now(&mut self) {
        if self.prefix.take() == Some(COMMIT) {
            self.driver.send(COMMIT);
        }
    }

    /// Forgets a transaction that was not begun.
    pub(super) fn forget(&mut self) {
        let prefix = self.prefix.take();
        if matches!(prefix, Some(COMMIT | COMMIT_BEGIN_READ | COMMIT_BEGIN_WRITE)) {
            // The previous one is still open. A statement that could not be prepared has broken it.
            match self.driver.recovery {
                None => self.prefix = Some(COMMIT),
                Some(_) => self.driver.rollback(),
            }
        }
    }
}
