//! One interface to the database engines; knows nobody's tables.
//!
//! The domain hands in closures over a [`Tx`]; a thread that owns a connection runs them.
//! What holds for every engine, each a test in `tests/conformance.rs` (what only one of them can
//! meet is in `tests/faults.rs` and `tests/postgres.rs`):
//! - a write is answered after the commit that holds it, and never before;
//! - a write that fails or panics leaves nothing behind and costs its neighbours nothing;
//! - a failed commit fails every write that was in it;
//! - after the first failed fsync or I/O error nothing is acknowledged any more ([`Db::failed`]);
//! - a read sees one snapshot, and everything that was acknowledged before it began.

#![warn(missing_docs)]

mod copy;
mod error;
mod job;
mod migrate;
mod notice;
mod postgres;
mod row;
mod sqlite;
mod tx;
mod url;
mod value;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub use copy::{Copied, Progress, Step};
pub use error::{Error, Result};
pub use migrate::{Migrated, Migration};
pub use notice::{Heard, Notice};
pub use row::Row;
pub use sqlite::restore::Restored;
pub use tx::Tx;
pub use url::{Options, Url};
pub use value::Value;

use postgres::Asked;
use url::Place;

/// A handle to an open database; clones share it.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Sqlite(Arc<sqlite::Engine>),
    Postgres(Arc<postgres::Engine>),
}

/// Figures of a running engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Work that waits or runs at this moment: writes, and on PostgreSQL reads as well.
    pub queued: usize,
    /// Writes that were committed.
    pub writes: u64,
    /// Commits that held them.
    pub commits: u64,
    /// Length of the write-ahead log of a file after the last checkpoint, in pages of 4 KiB.
    pub log_pages: i64,
    /// Open connections to a server, those for notices aside.
    pub connections: usize,
    /// Commits that were given up and that the server has not answered yet: they wait for a
    /// standby.
    pub waiting: usize,
    /// How often work was begun again: others were in its way, or a connection was lost.
    pub retries: u64,
    /// How often all connections were given up at once: the server went away, took no writes or did
    /// not answer.
    pub left: u64,
}

impl Db {
    /// Opens a database whose schema is `schema`, for many readers and writers.
    ///
    /// # Errors
    /// [`Error::InUse`] where another server holds the file, [`Error::Unavailable`] where no
    /// server answers, [`Error::SchemaNewer`], [`Error::SchemaOlder`] or [`Error::SchemaChanged`]
    /// where the schema is another one.
    pub fn open(url: &Url, schema: &[Migration]) -> Result<Self> {
        Self::start(url, schema, true)
    }

    /// Opens it beside a running server, for the work of a command, which takes its time.
    ///
    /// # Errors
    /// As [`Db::open`], except that a server may hold it.
    pub fn open_beside(url: &Url, schema: &[Migration]) -> Result<Self> {
        Self::start(url, schema, false)
    }

    fn start(url: &Url, schema: &[Migration], server: bool) -> Result<Self> {
        let engine = match &url.place {
            Place::File(path) => {
                Engine::Sqlite(Arc::new(sqlite::Engine::open(path, schema, server)?))
            }
            Place::Server(config) => Engine::Postgres(Arc::new(apart(|| {
                postgres::Engine::open(config, schema, server)
            })?)),
        };
        Ok(Self { engine })
    }

    /// Brings the schema up to date, after a copy of the file where there is something to lose.
    /// Where another node is at it, this one waits.
    ///
    /// `now` is in microseconds since 1970 and only recorded.
    ///
    /// # Errors
    /// As [`Db::open`]; nothing has changed then.
    pub fn migrate(url: &Url, schema: &[Migration], now: i64) -> Result<Migrated> {
        match &url.place {
            Place::File(path) => sqlite::migrate::run(path, schema, now),
            Place::Server(config) => apart(|| postgres::migrate::run(config, schema, now)),
        }
    }

    /// Runs `f` in a transaction and answers after the commit.
    ///
    /// `f` may run more than once, so it must have no effect except through its [`Tx`], and what it
    /// returned counts only when the commit succeeded. It waits for nothing but its [`Tx`]: others
    /// need its thread. It changes rows, never the schema. In a file writes happen one after the
    /// other, in the order in which they were asked for. On a server they run side by side and see
    /// what others have committed meanwhile: what must not change under a write is locked by
    /// changing it first.
    ///
    /// # Errors
    /// What `f` returned; or [`Error::Busy`] when the queue is full or a lock is not given free,
    /// [`Error::Full`] when the disk is, [`Error::Unavailable`] where no server answers in time,
    /// [`Error::Failed`] after a storage failure. Nothing is written in any of these cases, except
    /// that only the next start knows whether what met the failure reached the disk.
    /// [`Error::Unknown`] where the connection was lost in the middle of the commit.
    pub async fn write<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let answer = match &self.engine {
            Engine::Sqlite(engine) => engine.submit(f),
            Engine::Postgres(engine) => engine.submit(Instant::now(), Asked::Write, f),
        };
        answer.map_err(E::from)?.await.unwrap_or_else(|_gone| Err(E::from(Error::Closed)))
    }

    /// Runs the same as [`Db::write`] without waiting for it, for work that may be lost.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue is full.
    pub fn write_later<F>(&self, f: F) -> Result<()>
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(engine) => engine.submit(f).map(drop),
            Engine::Postgres(engine) => engine.submit(Instant::now(), Asked::Write, f).map(drop),
        }
    }

    /// Runs a short read of one snapshot: in a file where it is asked, without a hand-over.
    ///
    /// Short means a fixed number of index look-ups; what may scan belongs into [`Db::scan`]. `f`
    /// may run more than once.
    ///
    /// # Errors
    /// What `f` returned, or the failure to read.
    pub async fn read<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(engine) => engine.read(f),
            Engine::Postgres(engine) => engine.read(f).await,
        }
    }

    /// Runs a read that may take long, on a thread of its own kind.
    ///
    /// # Errors
    /// What `f` returned; [`Error::Busy`] when too many of them wait.
    pub async fn scan<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let answer = match &self.engine {
            Engine::Sqlite(engine) => engine.scan(f),
            Engine::Postgres(engine) => engine.submit(Instant::now(), Asked::Scan, f),
        };
        answer.map_err(E::from)?.await.unwrap_or_else(|_gone| Err(E::from(Error::Closed)))
    }

    /// Tells `listener` what is committed from now on, by this process or by another node, before
    /// the write is answered.
    ///
    /// It is called by the thread that committed, and others wait for that thread: it must neither
    /// block nor panic.
    ///
    /// # Panics
    /// Where there is a listener already.
    pub fn listen(&self, listener: impl Fn(Heard) + Send + Sync + 'static) {
        let listener = Box::new(listener);
        match &self.engine {
            Engine::Sqlite(engine) => engine.listen(listener),
            Engine::Postgres(engine) => engine.listen(listener),
        }
    }

    /// The server's own time in microseconds since 1970, which all nodes go by; a file has none.
    ///
    /// # Errors
    /// As [`Db::read`].
    pub async fn time(&self) -> Result<Option<i64>> {
        const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(_) => {
                self.read(|tx| tx.query_one(NOW, &[], |row| row.int(0))).await.map(Some)
            }
        }
    }

    /// Waits until the storage has failed for good; the process must end then. A server looks after
    /// its storage by itself.
    pub async fn failed(&self) -> Error {
        match &self.engine {
            Engine::Sqlite(engine) => engine.failed().await,
            Engine::Postgres(_) => std::future::pending().await,
        }
    }

    /// Finishes what was asked for and lets go of the database; a file gets its log copied back.
    pub fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close(),
            Engine::Postgres(engine) => engine.close(),
        }
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> Stats {
        match &self.engine {
            Engine::Sqlite(engine) => engine.stats(),
            Engine::Postgres(engine) => engine.stats(),
        }
    }

    /// Copies the database to `target`, while others read and write, and checks the copy.
    ///
    /// # Errors
    /// [`Error::Exists`] where `target` is there already; else what went wrong, and there is no
    /// `target` then.
    pub fn backup(url: &Url, target: &Path) -> Result<()> {
        sqlite::backup::run(url.file()?, target)
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
        sqlite::restore::run(url.file()?, source, schema, stamp, prepare)
    }

    /// Copies every row of one database into an empty one, whatever the engines, and reads all of
    /// it back on both sides before it counts. What the engine gives next goes on where it was.
    ///
    /// Both must have just this `schema`; a target that has none gets it, recorded at `now`. The
    /// source is read in one snapshot and can be read, but not written to, meanwhile. A target in a
    /// file must not be there yet; one on a server may have the schema, and no rows. The tables are
    /// those that the engines list, so that none is forgotten.
    ///
    /// # Errors
    /// [`Error::InUse`] or [`Error::NotCopied`] where a server is using one of them or the target
    /// is not empty, [`Error::Exists`], [`Error::SchemaOlder`], [`Error::SchemaNewer`],
    /// [`Error::Damaged`], [`Error::Differs`]; there is nothing in the target then, not even where
    /// the process is killed. Only after [`Error::Unknown`] all of it may be there.
    pub fn copy(
        from: &Url,
        to: &Url,
        schema: &[Migration],
        now: i64,
        progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<Vec<Copied>> {
        apart(|| copy::run(from, to, schema, now, progress))
    }

    /// What the engine itself finds wrong with its file; empty is good.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn integrity(url: &Url) -> Result<Vec<String>> {
        match &url.place {
            Place::File(path) => sqlite::backup::integrity(path),
            // It checks its pages by itself.
            Place::Server(_) => Ok(Vec::new()),
        }
    }
}

/// Runs what waits for the network on a thread of its own: the caller may be one of a runtime's.
fn apart<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(f);
        thread.join().unwrap_or_else(|_panic| Err(Error::Closed))
    })
}
