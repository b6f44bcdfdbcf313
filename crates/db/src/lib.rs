//! One interface to the database engines; knows nobody's tables.
//!
//! The domain hands in closures over a [`Tx`]; a thread that owns a connection runs them.
//! What holds for every engine, each a test in `tests/conformance.rs`:
//! - a write is answered after the commit that holds it, and never before;
//! - a write that fails or panics leaves nothing behind and costs its neighbours nothing;
//! - a failed commit fails every write that was in it;
//! - after the first failed fsync or I/O error nothing is acknowledged any more ([`Db::failed`]);
//! - a read sees one snapshot, and everything that was acknowledged before it began.

#![warn(missing_docs)]

mod error;
mod migrate;
mod row;
mod sqlite;
mod tx;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{Error, Result};
pub use migrate::{Migrated, Migration};
pub use row::Row;
pub use sqlite::{Stats, restore::Restored};
pub use tx::Tx;
pub use value::Value;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    path: PathBuf,
}

impl Url {
    /// Reads `sqlite:<path>`; a relative path starts at `base`.
    ///
    /// # Errors
    /// [`Error::Url`] for any other scheme or an empty path. The text itself is not repeated: it
    /// may hold a password.
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        let Some(path) = text.strip_prefix("sqlite:") else {
            return Err(Error::Url("it must begin with sqlite:, the only engine of this version"));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(Error::Url("the path of the file is missing after sqlite:"));
        }
        Ok(Self { path: base.join(path) })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A handle to an open database; clones share it.
#[derive(Clone)]
pub struct Db {
    engine: Arc<sqlite::Engine>,
}

impl Db {
    /// Opens a database whose schema is exactly `schema`, for many readers and one writer.
    ///
    /// # Errors
    /// [`Error::InUse`] where another server holds it, [`Error::SchemaNewer`],
    /// [`Error::SchemaOlder`] or [`Error::SchemaChanged`] where the schema is another one.
    pub fn open(url: &Url, schema: &[Migration]) -> Result<Self> {
        Ok(Self { engine: Arc::new(sqlite::Engine::open(&url.path, schema, true)?) })
    }

    /// Opens it beside a running server, for the short work of a command.
    ///
    /// # Errors
    /// As [`Db::open`], except that a server may hold it.
    pub fn open_beside(url: &Url, schema: &[Migration]) -> Result<Self> {
        Ok(Self { engine: Arc::new(sqlite::Engine::open(&url.path, schema, false)?) })
    }

    /// Brings the schema up to date, after a copy of the file where there is something to lose.
    ///
    /// `now` is in microseconds since 1970 and only recorded.
    ///
    /// # Errors
    /// As [`Db::open`]; nothing has changed then.
    pub fn migrate(url: &Url, schema: &[Migration], now: i64) -> Result<Migrated> {
        sqlite::migrate::run(&url.path, schema, now)
    }

    /// Runs `f` in a transaction and answers after the commit.
    ///
    /// `f` may run more than once, so it must have no effect except through its [`Tx`], and what
    /// it returned counts only when the commit succeeded. The order of writes is the order in
    /// which they were asked for. It changes rows, never the schema.
    ///
    /// # Errors
    /// What `f` returned; or [`Error::Busy`] when the queue is full, [`Error::Full`] when the disk
    /// is, [`Error::Failed`] after a storage failure. Nothing is written in any of these cases,
    /// except that only the next start knows whether what met the failure reached the disk.
    pub async fn write<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let answer = self.engine.submit(f).map_err(E::from)?;
        answer.await.unwrap_or_else(|_gone| Err(E::from(Error::Closed)))
    }

    /// Runs the same as [`Db::write`] without waiting for it, for work that may be lost.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full.
    pub fn write_later<F>(&self, f: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        self.engine.submit(f).map(drop)
    }

    /// Runs a short read where it is asked: no hand-over to another thread.
    ///
    /// Short means a fixed number of index look-ups; what may scan belongs into [`Db::scan`].
    ///
    /// # Errors
    /// What `f` returned, or the failure to read.
    #[expect(clippy::unused_async, reason = "an engine across a network waits here")]
    pub async fn read<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E>,
        E: From<Error>,
    {
        self.engine.read(f)
    }

    /// Runs a read that may take long, on a thread of its own kind.
    ///
    /// # Errors
    /// What `f` returned; [`Error::Busy`] when too many of them wait.
    pub async fn scan<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let answer = self.engine.scan(f).map_err(E::from)?;
        answer.await.unwrap_or_else(|_gone| Err(E::from(Error::Closed)))
    }

    /// Waits until the storage has failed for good; the process must end then.
    pub async fn failed(&self) -> Error {
        self.engine.failed().await
    }

    /// Finishes what was asked for, copies the log back into the file and lets go of it.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Copies the database to `target`, while others read and write, and checks the copy.
    ///
    /// # Errors
    /// [`Error::Exists`] where `target` is there already; else what went wrong, and there is no
    /// `target` then.
    pub fn backup(url: &Url, target: &Path) -> Result<()> {
        sqlite::backup::run(&url.path, target)
    }

    /// Puts a copy made by [`Db::backup`] in the place of the database, which is kept aside.
    ///
    /// `stamp` names the file that is kept; `prepare` runs on the copy before it takes the place.
    ///
    /// # Errors
    /// [`Error::InUse`] while a server runs, [`Error::SchemaNewer`], [`Error::Damaged`]; nothing
    /// has changed then.
    pub fn restore(
        url: &Url,
        source: &Path,
        schema: &[Migration],
        stamp: &str,
        prepare: impl FnOnce(&mut Tx<'_>) -> Result<()>,
    ) -> Result<Restored> {
        sqlite::restore::run(&url.path, source, schema, stamp, prepare)
    }

    /// What the engine itself finds wrong with the file; empty is good.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn integrity(url: &Url) -> Result<Vec<String>> {
        sqlite::backup::integrity(&url.path)
    }
}
