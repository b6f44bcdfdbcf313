//! Work that is done for an owner.

use std::time::Instant;

use crate::job::{Job, job};
use crate::{Db, Engine, Error, Owner, Purpose, Result, SCAN, Tx};

/// A database that does work for one owner; made by [`Db::of`].
///
/// Those that write or scan are plain functions that return futures: each `async fn` around another
/// one would hold the closure once more, and copy it.
#[derive(Clone, Copy)]
pub struct Of<'d> {
    db: &'d Db,
    owner: Owner,
    length: Length,
}

/// How long work takes, so that the short work of an owner does not wait behind their long work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Length {
    Short,
    Long,
    /// It also holds the locks of many mailboxes.
    Wide,
}

impl Db {
    /// The same database, for work that is done for this owner.
    pub fn of(&self, owner: impl Into<Owner>) -> Of<'_> {
        Of { db: self, owner: owner.into(), length: Length::Short }
    }

    /// Runs `f` in a transaction and returns after the commit.
    ///
    /// `f` may run more than once, so it must have no effects except through its [`Tx`], and its
    /// result counts only once the commit has succeeded. It must wait for nothing but its [`Tx`],
    /// because others need its thread, and must not change the schema. SQLite runs writes one after
    /// the other, those of one owner in the order of the calls. PostgreSQL runs them concurrently,
    /// and each statement sees what others have committed: lock what must not change by updating it
    /// first.
    ///
    /// # Errors
    /// What `f` returned; [`Error::Busy`] if the queue is full or a lock is not released;
    /// [`Error::Full`] if the disk is; [`Error::Unavailable`] if no server answers in time;
    /// [`Error::Failed`] after a storage failure. Nothing is written in any of these cases, except
    /// that a write which met the storage failure may be found after the next start.
    /// [`Error::Unknown`] if the connection was lost during the commit.
    pub fn write<R, E, F>(&self, f: F) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.of(Owner::Server).write(f)
    }

    /// Like [`Db::write`], for work that may be there to free space.
    ///
    /// # Errors
    /// As [`Db::write`]; [`Error::Full`] for what frees space only once the reserve is used up.
    pub fn write_for<R, E, F>(
        &self,
        purpose: Purpose,
        f: F,
    ) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.of(Owner::Server).write_for(purpose, f)
    }

    /// Like [`Db::write`], but does not wait, for work that may be lost.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full.
    pub fn write_later<F>(&self, f: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        self.of(Owner::Server).write_later(f)
    }

    /// Runs a short read of one snapshot; on SQLite at once, on the calling thread.
    ///
    /// Short means a fixed number of index look-ups; use [`Db::scan`] for anything longer. `f` may
    /// run more than once.
    ///
    /// # Errors
    /// What `f` returned, or the failure to read.
    pub fn read<R, E, F>(&self, f: F) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.of(Owner::Server).read(f)
    }

    /// Runs a read of at most one statement, which has its snapshot without a transaction; on
    /// PostgreSQL that is one round trip.
    ///
    /// # Errors
    /// As [`Db::read`]; [`Error::Engine`] if `f` runs a second statement.
    pub fn read_one<R, E, F>(&self, f: F) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.of(Owner::Server).read_one(f)
    }

    /// Runs a read that may take long, where it does not delay short ones.
    ///
    /// What requests cause must be bounded by itself, and end when [`Tx::is_late`] says so: others
    /// wait for its thread, and for as long as it has its snapshot, SQLite's log grows by all that
    /// is written. While that log is long, scans wait up to a second for its restart.
    ///
    /// # Errors
    /// What `f` returned; [`Error::Busy`] if too many scans wait.
    pub fn scan<R, E, F>(&self, f: F) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.of(Owner::Server).scan(f)
    }
}

impl Of<'_> {
    /// The same for reads and writes that take long: on PostgreSQL one of a user or an address runs
    /// at a time, and a quarter of a node's connections of a program.
    #[must_use]
    pub fn long(self) -> Self {
        Self { length: Length::Long, ..self }
    }

    /// The same for writes that hold the locks of many mailboxes, which others wait for: on
    /// PostgreSQL one at a time of any owner.
    #[must_use]
    pub fn wide(self) -> Self {
        Self { length: Length::Wide, ..self }
    }

    /// [`Db::write`] for this owner.
    ///
    /// # Errors
    /// As [`Db::write`]; [`Error::Busy`] also if too much of this owner waits.
    pub fn write<R, E, F>(self, f: F) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.write_for(Purpose::Store, f)
    }

    /// [`Db::write_for`] for this owner.
    ///
    /// # Errors
    /// As [`Db::write_for`]; [`Error::Busy`] also if too much of this owner waits.
    pub fn write_for<R, E, F>(
        self,
        purpose: Purpose,
        f: F,
    ) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = job(self.owner, purpose, f);
        async move {
            self.submit(job).map_err(E::from)?;
            answer.await.unwrap_or_else(|_dropped| Err(E::from(Error::Closed)))
        }
    }

    /// [`Db::write_later`] for this owner.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full, or too much of this owner waits.
    pub fn write_later<F>(self, f: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        self.submit(job(self.owner, Purpose::Store, f).0)
    }

    fn submit(self, job: Box<dyn Job>) -> Result<()> {
        self.db.hub().confirm_pace(self.owner)?;
        match &self.db.engine {
            Engine::Sqlite(engine) => engine.write(self.owner, job),
            Engine::Postgres(engine) => engine.write((self.owner, self.length), job),
        }
    }

    /// [`Db::read`] for this owner.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn read<R, E, F>(self, f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &self.db.engine {
            Engine::Sqlite(engine) => engine.read(f),
            // Boxed, so that a request to SQLite does not carry its size around.
            Engine::Postgres(engine) => Box::pin(engine.read((self.owner, self.length), f)).await,
        }
    }

    /// [`Db::read_one`] for this owner.
    ///
    /// # Errors
    /// As [`Db::read_one`].
    pub async fn read_one<R, E, F>(self, f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &self.db.engine {
            Engine::Sqlite(engine) => engine.read_one(f),
            // Boxed, so that a request to SQLite does not carry its size around.
            Engine::Postgres(engine) => {
                Box::pin(engine.read_one((self.owner, self.length), f)).await
            }
        }
    }

    /// [`Db::scan`] for this owner: one at a time.
    ///
    /// # Errors
    /// As [`Db::scan`]; [`Error::Busy`] also if too many scans of this owner wait.
    pub fn scan<R, E, F>(self, mut f: F) -> impl Future<Output = Result<R, E>> + Send
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = job(self.owner, Purpose::Store, move |tx: &mut Tx<'_>| {
            tx.end_by(Instant::now() + SCAN);
            f(tx)
        });
        async move {
            let submitted = match &self.db.engine {
                Engine::Sqlite(engine) => engine.scan(self.owner, job),
                Engine::Postgres(engine) => engine.scan(self.owner, job),
            };
            submitted.map_err(E::from)?;
            answer.await.unwrap_or_else(|_dropped| Err(E::from(Error::Closed)))
        }
    }
}
