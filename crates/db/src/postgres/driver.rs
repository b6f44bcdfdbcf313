//! The driver of one connection. The task that waits for an answer runs it: no other must wake.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Config, TlsStream};
use super::failure::{self, Catalog, Recovery};
use super::{calls::within, fiber::Waiter};
use crate::{Error, Result};

/// How long it may take to cancel a statement that nobody waits for any more.
const CANCEL: Duration = Duration::from_millis(300);

pub(super) struct Driver<'f> {
    waiter: Waiter<'f>,
    /// Shared with the futures of answers, which outlive a borrow of the driver.
    client: Arc<Client>,
    /// Sends and receives; polled only while somebody waits.
    connection: Connection<Socket, TlsStream>,
    /// Connects once more to cancel a statement.
    tls: MakeRustlsConnect,
    /// The names of constraints, for errors.
    pub(super) catalog: Catalog,
    /// How long the server itself allows a statement to take; zero means without limit.
    pub(super) statement_timeout: Duration,
    /// When waiting for the server ends.
    pub(super) deadline: Option<Instant>,
    /// Whether the current transaction only reads, so that an attempt to write is its own fault.
    pub(super) reading: bool,
    /// What to do about the last failure of the current transaction.
    pub(super) recovery: Option<Recovery>,
    warning: Option<String>,
    /// Whether the connection can no longer be used.
    dead: bool,
}

impl<'f> Driver<'f> {
    pub(super) fn connect(
        waiter: Waiter<'f>,
        config: &Config,
        deadline: Option<Instant>,
    ) -> Result<Self> {
        let tls = config.server.tls()?;
        let connected = waiter.wait(within(deadline, config.server.connect(&tls)));
        let Some(connected) = connected else {
            return Err(Error::Unavailable("no server answers".to_owned()));
        };
        let (client, connection) = connected?;
        Ok(Self {
            waiter,
            client: Arc::new(client),
            connection,
            tls,
            catalog: Catalog::default(),
            // A little less than the request may take. A command has all the time it needs.
            statement_timeout: deadline.map_or(Duration::ZERO, |_| config.options.patience * 4 / 5),
            deadline,
            reading: false,
            recovery: None,
            warning: None,
            dead: false,
        })
    }

    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.dead
    }

    /// Leaves the connection: nothing can be run on it any more.
    pub(super) fn give_up(&mut self) {
        self.dead = true;
        self.recovery.get_or_insert(Recovery::Reconnect);
    }

    /// Runs statements of the engine itself.
    pub(super) fn simple(&mut self, sql: &str) -> Result<()> {
        let client = self.client();
        self.wait(client.batch_execute(sql))
    }

    /// The server warns when a commit is not replicated as requested, because somebody cancelled
    /// the wait for a standby. Such a commit counts as one without an answer.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.warning = None;
        self.simple("COMMIT")?;
        let Some(warning) = self.warning.take() else { return Ok(()) };
        tracing::warn!(warning, "a commit is not acknowledged");
        self.dead = true;
        self.recovery = Some(Recovery::Reconnect);
        Err(Error::Unknown)
    }

    /// Undoes the transaction. A connection that fails to do so is dead.
    pub(super) fn rollback(&mut self) {
        if !self.dead {
            self.deadline = Some(Instant::now() + CANCEL);
            let recovery = self.recovery;
            self.dead = self.simple("ROLLBACK").is_err();
            self.recovery = recovery;
        }
    }

    /// Sends a statement without waiting for its answer, which is read before that of the next one.
    pub(super) fn send(&mut self, sql: &str) {
        if self.dead {
            return;
        }
        let Self { waiter, connection, client, .. } = self;
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
        self.dead = waiter.wait(ended);
    }

    /// Waits for an answer of the server, and drives the connection meanwhile.
    pub(super) fn wait<T>(
        &mut self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        if self.dead {
            return Err(Error::Unavailable("the connection is lost".to_owned()));
        }
        let began = Instant::now();
        let Self { waiter, connection, deadline, warning, .. } = self;
        let (mut ended, mut why) = (false, None);
        let mut answer = pin!(answer);
        let driven = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            while !ended {
                match connection.poll_message(cx) {
                    Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                        if notice.parsed_severity() == Some(Severity::Warning) {
                            *warning = Some(notice.message().to_owned());
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
                // Without the connection, the answer would never be ready.
                Poll::Pending if ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        let answered = waiter.wait(within(*deadline, driven));
        self.dead |= ended;
        let error = match answered {
            Some(Some(Ok(answer))) => return Ok(answer),
            // Why the connection ended says more than that it is closed.
            Some(Some(Err(error))) if error.is_closed() => why.or(Some(error)),
            Some(Some(Err(error))) => Some(error),
            Some(None) => why,
            None => {
                self.dead = true;
                // A working server would have cancelled the statement by itself, unless this work
                // had less time than that.
                let gone = began.elapsed() >= self.statement_timeout;
                let recovery = if gone { Recovery::ReconnectAll } else { Recovery::Reconnect };
                self.recovery = Some(recovery);
                return Err(Error::Unavailable("the server does not answer in time".to_owned()));
            }
        };
        let closed = || Error::Unavailable("the connection was closed".to_owned());
        let (error, recovery) = error.map_or_else(
            || (closed(), Recovery::Reconnect),
            |error| failure::sort(&error, &self.catalog, self.reading),
        );
        self.dead |= matches!(recovery, Recovery::Reconnect | Recovery::ReconnectAll);
        self.recovery = Some(recovery);
        Err(error)
    }

    /// Waits until the server has done everything that it was sent, however long that takes.
    pub(super) fn finish(self) -> impl Future<Output = ()> + use<> {
        let Self { client, connection, .. } = self;
        async move {
            // Answered after everything before it, or failed with the connection.
            let last = async move { drop(client.batch_execute("SELECT 1").await) };
            // Ends once the client is dropped.
            tokio::join!(last, async { drop(connection.await) });
        }
    }

    /// Cancels the current statement on the server, which may be gone.
    pub(super) fn cancel(self) {
        let token = self.client.cancel_token();
        let cancel = within(Some(Instant::now() + CANCEL), token.cancel_query(self.tls.clone()));
        drop(self.waiter.wait(cancel));
    }
}
