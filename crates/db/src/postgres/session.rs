//! One connection, driven by the fiber that owns it: nobody else is woken for a statement.

#[cfg(test)]
mod tests;

mod answers;
mod transaction;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio_postgres::error::Severity;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) use transaction::{BEGIN_READ, BEGIN_WRITE};

use answers::{all, any, typed, with, within};
use transaction::COMMIT;

use super::catalog::{CONSTRAINTS, Catalog};
use super::config::{Config, Stream};
use super::dialect;
use super::failure::{self, Trouble};
use super::fiber::Waits;
use crate::{Error, Result, Value};

/// How long the first statements of a session may take where nobody waits for it.
const SETTLE: Duration = Duration::from_secs(5);
/// How long it may take to tell the server that nobody waits any more.
const CANCEL: Duration = Duration::from_millis(300);

/// A connection to the server, and what is open on it.
pub(crate) struct Session<'f> {
    waits: Waits<'f>,
    client: Arc<Client>,
    connection: Connection<Socket, Stream>,
    tls: MakeRustlsConnect,
    statements: HashMap<Key, Prepared>,
    catalog: Catalog,
    named: bool,
    limits: Limits,
    /// Until when the server may take for what is asked now; nothing is for ever.
    deadline: Option<Instant>,
    /// What must be said before the next statement: it goes with it, without a round trip.
    first: Option<&'static str>,
    /// What to do about the failure that was met, if one was.
    trouble: Option<Trouble>,
    alone: Alone,
    reading: bool,
    /// What the server had to say beside its answer.
    warning: Option<String>,
    dead: bool,
}

/// A statement as it is written, by its address, and whether it shall return an id.
type Key = (usize, usize, bool);

enum Prepared {
    Named(Statement),
    Text(Arc<str>),
}

/// Whether a read of one statement goes without a transaction around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    No,
    Yes,
    Used,
    /// It asked for a second one, which needs the snapshot of the first.
    Exceeded,
}

impl<'f> Session<'f> {
    /// Connects, for work that is over at `deadline`.
    pub(super) fn connect(
        waits: Waits<'f>,
        config: &Config,
        deadline: Option<Instant>,
    ) -> Result<Self> {
        let tls = config.server.tls()?;
        let connected = waits.wait(within(deadline, config.server.connect(&tls)));
        let (client, connection) = match connected {
            Some(connected) => connected?,
            None => return Err(Error::Unavailable("no server answers".to_owned())),
        };
        let mut session = Self {
            waits,
            client: Arc::new(client),
            connection,
            tls,
            statements: HashMap::new(),
            catalog: Catalog::default(),
            named: config.options.named_statements,
            limits: Limits {
                // A little less than work may take in all. A command takes its time.
                statement: deadline.map_or(Duration::ZERO, |_| config.options.patience * 4 / 5),
                lock: config.options.lock_timeout,
            },
            deadline,
            first: None,
            trouble: None,
            alone: Alone::No,
            reading: false,
            warning: None,
            dead: false,
        };
        session.deadline = Some(deadline.unwrap_or_else(|| Instant::now() + SETTLE));
        session.settle_in()?;
        session.deadline = deadline;
        Ok(session)
    }

    /// The settings of the session, and what the server calls its constraints.
    fn settle_in(&mut self) -> Result<()> {
        if self.named {
            // What is outside a transaction must change nothing: the first statement of one goes
            // with its BEGIN, and must not be done where that fails.
            let settings = settings("SET", &self.limits);
            self.simple(&format!("SET default_transaction_read_only = on; {settings}"))?;
        }
        let rows = self.query(CONSTRAINTS, &[])?;
        let column = |row: &Row, column| row.try_get::<_, String>(column);
        let named = rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?, column(row, 2)?)));
        let named = named.collect::<Result<Vec<_>, tokio_postgres::Error>>();
        self.catalog = Catalog::new(&named.map_err(|error| Error::Engine(error.to_string()))?);
        Ok(())
    }

    /// Whether it can be used at all.
    pub(super) fn is_alive(&self) -> bool {
        !self.dead
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Runs statements of the engine's own.
    pub(super) fn simple(&mut self, sql: &str) -> Result<()> {
        let client = Arc::clone(&self.client);
        self.wait(client.batch_execute(sql))
    }

    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.allowed()?;
        let prepared = self.prepared(sql, false, params)?;
        let (client, first) = (Arc::clone(&self.client), self.first.take());
        match prepared {
            Prepared::Named(statement) => {
                self.wait(with(&client, first, client.execute_raw(&statement, params)))
            }
            Prepared::Text(text) => {
                self.first(first)?;
                self.wait(client.execute_typed(&text, &typed(params)))
            }
        }
    }

    pub(crate) fn insert(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<i64> {
        let rows = self.rows(sql, true, params)?;
        let row = rows.first().ok_or(Error::NoRow)?;
        row.try_get(0).map_err(|error| Error::Engine(error.to_string()))
    }

    pub(crate) fn query(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        self.rows(sql, false, params)
    }

    fn rows(
        &mut self,
        sql: &'static str,
        returning: bool,
        params: &[Value<'_>],
    ) -> Result<Vec<Row>> {
        self.allowed()?;
        let prepared = self.prepared(sql, returning, params)?;
        let (client, first) = (Arc::clone(&self.client), self.first.take());
        match prepared {
            Prepared::Named(statement) => {
                let values: Vec<_> = params.iter().map(any).collect();
                self.wait(with(&client, first, client.query(&statement, &values)))
            }
            Prepared::Text(text) => {
                self.first(first)?;
                self.wait(client.query_typed(&text, &typed(params)))
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
            self.allowed()?;
            let (client, first) = (Arc::clone(&self.client), self.first.take());
            // All are sent before the first is answered; the first failure is that of all.
            let sent = rows.iter().map(|row| Box::pin(client.execute_raw(&statement, row)));
            return self.wait(with(&client, first, all(sent.collect())));
        }
        rows.iter().map(|row| self.execute(sql, row)).sum()
    }

    /// Says what must come first in a round trip of its own: without names a statement is several
    /// messages, and without the settings of the session a failed BEGIN must be known before it.
    fn first(&mut self, first: Option<&'static str>) -> Result<()> {
        match first {
            None => Ok(()),
            Some(COMMIT) => self.simple(COMMIT),
            Some(begin) => {
                let settings = settings("SET LOCAL", &self.limits);
                self.simple(&format!("{begin}; {settings}"))
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
        match self.statements.get(&key) {
            Some(Prepared::Named(statement)) => return Ok(Prepared::Named(statement.clone())),
            Some(Prepared::Text(text)) => return Ok(Prepared::Text(Arc::clone(text))),
            None => {}
        }
        let mut text = dialect::statement(sql);
        if returning {
            text.push_str(" RETURNING id");
        }
        let (kept, prepared) = if self.named {
            let kinds: Vec<Type> = params.iter().map(Value::kind).collect();
            let client = Arc::clone(&self.client);
            let statement = self.wait(client.prepare_typed(&text, &kinds))?;
            (Prepared::Named(statement.clone()), Prepared::Named(statement))
        } else {
            let text: Arc<str> = text.into();
            (Prepared::Text(Arc::clone(&text)), Prepared::Text(text))
        };
        self.statements.insert(key, kept);
        Ok(prepared)
    }

    /// Sends a statement whose answer nobody needs; it is read before the next one's.
    fn send(&mut self, sql: &str) {
        let Self { waits, connection, client, .. } = self;
        let mut sent = pin!(client.batch_execute(sql));
        let ended = poll_fn(|cx| {
            drop(sent.as_mut().poll(cx));
            loop {
                match connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(_) => return Poll::Ready(true),
                    Poll::Pending => return Poll::Ready(false),
                }
            }
        });
        self.dead |= waits.wait(ended);
    }

    /// Waits for an answer of the server, and drives the connection meanwhile.
    fn wait<T>(
        &mut self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        if self.dead {
            return Err(Error::Unavailable("the connection is lost".to_owned()));
        }
        let began = Instant::now();
        let Self { waits, connection, deadline, warning, .. } = self;
        let (mut ended, mut why) = (false, None);
        let mut answer = pin!(answer);
        let driven = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            while !ended {
                match connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(AsyncMessage::Notice(said)))) => {
                        if said.parsed_severity() == Some(Severity::Warning) {
                            *warning = Some(said.message().to_owned());
                        }
                    }
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => (ended, why) = (true, Some(error)),
                    Poll::Ready(None) => ended = true,
                    Poll::Pending => break,
                }
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // Nobody will answer any more, and nobody says so.
                Poll::Pending if ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        let answered = waits.wait(within(*deadline, driven));
        self.dead |= ended;
        let error = match answered {
            Some(Some(Ok(answer))) => return Ok(answer),
            // The connection's own end says more than that it is closed.
            Some(Some(Err(error))) => match why {
                Some(why) if error.is_closed() => Some(why),
                _ => Some(error),
            },
            Some(None) => why,
            None => {
                self.dead = true;
                // A server that is there would have given up a statement by itself; where the work
                // came late, only its time was too short.
                let gone = began.elapsed() >= self.limits.statement;
                self.trouble = Some(if gone { Trouble::AllLost } else { Trouble::Lost });
                return Err(Error::Unavailable("the server does not answer in time".to_owned()));
            }
        };
        let (error, trouble) = match error {
            Some(error) => failure::sort(&error, &self.catalog, self.reading),
            None => (Error::Unavailable("the connection was closed".to_owned()), Trouble::Lost),
        };
        self.dead |= matches!(trouble, Trouble::Lost | Trouble::AllLost);
        self.trouble = Some(trouble);
        Err(error)
    }

    /// What is to be done to wait until the server has done what it was asked for, however long
    /// that takes.
    pub(super) fn finish(self) -> impl Future<Output = ()> + use<> {
        let Self { client, connection, .. } = self;
        async move {
            // Its answer comes after that of the commit; a connection that is gone ends it as well.
            let asked = async move { drop(client.batch_execute("SELECT 1").await) };
            // The connection ends with its client.
            tokio::join!(asked, async { drop(connection.await) });
        }
    }

    /// Tells the server that nobody waits any more for a statement.
    pub(super) fn abandon(self) {
        let token = self.client.cancel_token();
        let cancel = within(Some(Instant::now() + CANCEL), token.cancel_query(self.tls.clone()));
        // It is only a courtesy, to a server that may not be there.
        drop(self.waits.wait(cancel));
    }
}

/// How long the server waits by itself.
struct Limits {
    statement: Duration,
    lock: Duration,
}

/// What a session, or a transaction where sessions are not ours, must be told.
fn settings(set: &str, limits: &Limits) -> String {
    let Limits { statement, lock } = limits;
    // Commits are waited for, whatever the role is used to.
    format!(
        "{set} statement_timeout = {};
         {set} lock_timeout = {};
         {set} idle_in_transaction_session_timeout = 10000;
         SELECT set_config('synchronous_commit', 'on', {})
         WHERE current_setting('synchronous_commit') IN ('off', 'local')",
        statement.as_millis(),
        lock.as_millis(),
        set == "SET LOCAL",
    )
}
