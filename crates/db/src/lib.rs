//! One interface to the database engines. It knows no tables.
//!
//! The domain passes closures over a [`Tx`]. On SQLite the writer thread runs writes, and reads run
//! on the calling thread; on PostgreSQL a fiber that owns a connection runs either. Both engines
//! promise the following, each tested in `tests/conformance.rs` (what only one of them can meet is
//! tested in `tests/faults.rs` and `tests/postgres.rs`):
//! - a write is acknowledged after the commit that contains it, and never before;
//! - a write that fails or panics leaves no changes and does not affect others;
//! - a failed commit fails every write in it;
//! - after the first failed fsync or I/O error nothing is acknowledged any more ([`Db::failed`]);
//! - a read sees one snapshot, with everything that was acknowledged before it began.

#![warn(missing_docs)]

mod answers;
mod bounded;
mod copy;
mod error;
mod foreign;
mod job;
mod migrate;
mod notice;
mod of;
mod owner;
mod paces;
mod postgres;
mod row;
mod sqlite;
mod stats;
mod tables;
mod threads;
mod turns;
mod tx;
mod url;
mod value;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use bounded::read_bounded;
pub use copy::{Copied, Progress, Step};
pub use error::{Error, Result};
pub use foreign::{Foreign, ForeignTable};
pub use job::Purpose;
pub use migrate::{Migrated, Migration};
pub use notice::{Heard, Notice};
pub use of::Of;
pub use owner::Owner;
pub use paces::Paces;
pub use postgres::config::Options;
pub use row::Row;
pub use sqlite::backup::Snapshot;
pub use sqlite::restore::Restored;
pub use stats::Stats;
pub use threads::{be_nice, panic_text};
pub use turns::Turns;
pub use tx::Tx;
#[cfg(feature = "explain")]
pub use tx::explain;
pub use url::Url;
pub use value::Value;

use notice::Hub;
use url::Location;

/// The parameters of a statement, beginning with `?1`: `params![owner, message]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::Value::from($value)),*] };
}

/// How long a scan may take, from its first statement, before [`Tx::is_late`] tells it to end.
const SCAN: Duration = Duration::from_millis(150);

/// A handle to an open database; clones share it. What it does by itself is work of the server
/// itself; [`Db::of`] does work for others.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    Sqlite(Arc<sqlite::Engine>),
    Postgres(Arc<postgres::Engine>),
}

impl Db {
    /// Opens a database for a server, with many readers and writers.
    ///
    /// # Errors
    /// [`Error::InUse`] if another server holds the file; [`Error::Unavailable`] if no PostgreSQL
    /// server answers; [`Error::SchemaNewer`], [`Error::SchemaOlder`] or [`Error::SchemaChanged`]
    /// if its schema does not fit `schema`; [`Error::NotOurs`] for a file of another program. A
    /// file that is refused is not changed.
    pub fn open(url: &Url, schema: &[Migration]) -> Result<Self> {
        Self::start(url, schema, true)
    }

    /// Opens a database for a command, beside a running server and without time limits.
    ///
    /// # Errors
    /// As [`Db::open`], except [`Error::InUse`].
    pub fn open_beside(url: &Url, schema: &[Migration]) -> Result<Self> {
        Self::start(url, schema, false)
    }

    /// Opens a database for a command that needs it for itself, without time limits.
    ///
    /// # Errors
    /// As [`Db::open`]; [`Error::NotAlone`] while a server uses a PostgreSQL database.
    pub fn open_alone(url: &Url, schema: &[Migration]) -> Result<Self> {
        match &url.location {
            Location::File(_) => Self::start(url, schema, true),
            Location::Server(config) => {
                on_own_thread(|| postgres::copy::is_unused(config))?;
                Self::start(url, schema, false)
            }
        }
    }

    fn start(url: &Url, schema: &[Migration], server: bool) -> Result<Self> {
        let engine = match &url.location {
            Location::File(path) => {
                Engine::Sqlite(Arc::new(sqlite::Engine::open(path, schema, server)?))
            }
            Location::Server(config) => Engine::Postgres(Arc::new(on_own_thread(|| {
                postgres::Engine::open(config, schema, server)
            })?)),
        };
        Ok(Self { engine })
    }

    /// Migrates the database to `schema`, and copies a file with data first. If another node is
    /// migrating, this one waits.
    ///
    /// `now`, in microseconds since 1970, is only recorded.
    ///
    /// # Errors
    /// As [`Db::open`]; nothing has changed then.
    pub fn migrate(url: &Url, schema: &[Migration], now: i64) -> Result<Migrated> {
        match &url.location {
            Location::File(path) => sqlite::migrate::run(path, schema, now),
            Location::Server(config) => {
                on_own_thread(|| postgres::migrate::run(config, schema, now))
            }
        }
    }

    /// What `f` finds in a file, whatever its schema is; the file is not changed. Nothing where
    /// there is no file, or nothing in it, where `f` fails, as it may on an old schema, and on a
    /// PostgreSQL server.
    pub fn look<T>(url: &Url, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Option<T> {
        url.path().and_then(|path| sqlite::look(path, f).ok().flatten())
    }

    /// Calls `listener` with each notice that this process or another node commits from now on,
    /// before its write is acknowledged.
    ///
    /// The thread that committed calls it, so it must neither block nor panic.
    ///
    /// # Panics
    /// If there is a listener already.
    pub fn listen(&self, listener: impl Fn(Heard) + Send + Sync + 'static) {
        self.hub().listen(Box::new(listener));
    }

    /// The time of the PostgreSQL server in microseconds since 1970, which all nodes share; `None`
    /// on SQLite.
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

    /// The size of the database in bytes: of SQLite's file, to which its log comes
    /// ([`Stats::log_bytes`]), or of the database on the server with its indexes.
    ///
    /// # Errors
    /// As [`Db::read`]; or that the file cannot be looked at.
    pub async fn bytes(&self) -> Result<u64> {
        const BYTES: &str = "SELECT pg_database_size(current_database())";
        match &self.engine {
            Engine::Sqlite(engine) => engine.bytes(),
            Engine::Postgres(_) => {
                let bytes = self.read(|tx| tx.query_one(BYTES, &[], |row| row.int(0))).await?;
                Ok(u64::try_from(bytes).unwrap_or_default())
            }
        }
    }

    /// Waits until SQLite's storage has failed for good; then the process must end. Never returns
    /// on PostgreSQL, which watches its own storage.
    pub async fn failed(&self) -> Error {
        match &self.engine {
            Engine::Sqlite(engine) => engine.failed().await,
            Engine::Postgres(_) => std::future::pending().await,
        }
    }

    /// Keeps so many bytes of the disk, from now on, for writes that free space: when the disk is
    /// full, all others get [`Error::Full`] until as much is free again, on the disk or within the
    /// database. Does nothing on PostgreSQL, whose disk is not ours.
    ///
    /// # Errors
    /// If the file of the reserve, beside the database, cannot be written.
    pub fn keep_reserve(&self, bytes: u64) -> Result<()> {
        let Engine::Sqlite(engine) = &self.engine else { return Ok(()) };
        engine.keep_reserve(bytes)
    }

    /// Has users and addresses keep a pace, from now on, with writes that tell many: see
    /// [`Db::pause`].
    pub fn keep_pace(&self) {
        self.hub().keep_pace();
    }

    /// How long this owner, whose writes have told more than their pace allows, is to be kept
    /// waiting before they go on. Who does not wait is refused in the end.
    pub fn pause(&self, owner: impl Into<Owner>) -> Duration {
        self.hub().pause(owner.into())
    }

    fn hub(&self) -> &Hub {
        match &self.engine {
            Engine::Sqlite(engine) => engine.hub(),
            Engine::Postgres(engine) => engine.hub(),
        }
    }

    /// Finishes queued work and closes the database; SQLite copies its log back into the file.
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

    /// Copies a SQLite database to `target` while it is in use, and checks the copy.
    ///
    /// # Errors
    /// [`Error::NotOurs`] if it is empty or the file of another program, [`Error::Exists`] if there
    /// is a `target` already, or what went wrong; no `target` is left then.
    pub fn backup(url: &Url, target: &Path) -> Result<()> {
        sqlite::backup::run(url.file()?, target)?.keep()
    }

    /// The same, but the copy has no name yet: see [`Snapshot`].
    ///
    /// # Errors
    /// As [`Db::backup`].
    pub fn snapshot(url: &Url, target: &Path) -> Result<Snapshot> {
        sqlite::backup::run(url.file()?, target)
    }

    /// The same of a SQLite database that this process has open. While it works it asks `goes_on`,
    /// every 0.1 ms or so: that may wait, to leave the machine to others, and ends the work by
    /// returning `false`.
    ///
    /// # Errors
    /// As [`Db::backup`]; [`Error::Engine`] where it was ended.
    pub fn snapshot_while(
        url: &Url,
        target: &Path,
        goes_on: impl FnMut() -> bool + Clone + Send + 'static,
    ) -> Result<Snapshot> {
        sqlite::backup::snapshot(url.file()?, target, goes_on)
    }

    /// Removes what killed backups have left in the folder of this file.
    pub fn remove_abandoned(beside: &Path) {
        sqlite::files::remove_abandoned(beside);
    }

    /// The files that migrations and restores have kept of a SQLite database, beside it. Nothing
    /// removes them.
    pub fn kept(url: &Url) -> Vec<PathBuf> {
        url.path().map(sqlite::files::kept).unwrap_or_default()
    }

    /// Replaces a SQLite database with a copy made by [`Db::backup`], migrated to `schema`, and
    /// keeps the previous one.
    ///
    /// `now`, in microseconds since 1970, is only recorded; `stamp` becomes part of the name of the
    /// previous file. `prepare` runs on the copy first, and gets the previous database to look at,
    /// if there is one that can be opened; it may still turn out to be damaged.
    ///
    /// # Errors
    /// [`Error::InUse`] while a server runs, [`Error::SchemaNewer`], [`Error::Damaged`]; nothing
    /// has changed then.
    pub fn restore(
        url: &Url,
        source: &Path,
        schema: &[Migration],
        (now, stamp): (i64, &str),
        prepare: impl FnOnce(&mut Tx<'_>, Option<&mut Tx<'_>>) -> Result<()>,
    ) -> Result<Restored> {
        sqlite::restore::run(url.file()?, source, schema, (now, stamp), prepare)
    }

    /// The same of a copy that `fill` writes into an empty file; `source` names it in errors.
    ///
    /// # Errors
    /// As [`Db::restore`], and those of `fill`; nothing has changed then.
    pub fn restore_from(
        url: &Url,
        source: &Path,
        fill: impl FnOnce(File) -> Result<()>,
        schema: &[Migration],
        (now, stamp): (i64, &str),
        prepare: impl FnOnce(&mut Tx<'_>, Option<&mut Tx<'_>>) -> Result<()>,
    ) -> Result<Restored> {
        let fill = |file, _path: &Path| fill(file);
        sqlite::restore::filled(url.file()?, source, fill, schema, (now, stamp), prepare)
    }

    /// Copies every row of one database into an empty one of either engine, and compares all rows
    /// afterwards. Generated ids continue where they were.
    ///
    /// Both must have exactly this `schema`; an empty target gets it, recorded at `now`. The
    /// source is read in one snapshot; it can be read, but not written to, meanwhile. A target
    /// file must not exist; a target on a server may have the schema, but no rows. The tables are
    /// those in the catalogs of the engines, so that none is forgotten.
    ///
    /// # Errors
    /// [`Error::InUse`] or [`Error::NotAlone`] if a server uses one of them; [`Error::NotCopied`]
    /// if the target is not empty; [`Error::Exists`], [`Error::SchemaOlder`],
    /// [`Error::SchemaNewer`], [`Error::Damaged`], [`Error::Differs`]. The target is empty then,
    /// even if the process is killed. Only after [`Error::Unknown`] it may be complete.
    pub fn copy(
        from: &Url,
        to: &Url,
        schema: &[Migration],
        now: i64,
        progress: impl FnMut(Progress<'_>) + Send,
    ) -> Result<Vec<Copied>> {
        on_own_thread(|| copy::run(from, to, schema, now, progress))
    }

    /// The problems that SQLite finds in its file; none on PostgreSQL, which checks its pages by
    /// itself.
    ///
    /// # Errors
    /// [`Error::NotOurs`] for a file of another program; or if it cannot be read at all.
    pub fn integrity(url: &Url) -> Result<Vec<String>> {
        match &url.location {
            Location::File(path) => sqlite::backup::check(path),
            Location::Server(_) => Ok(Vec::new()),
        }
    }
}

/// Runs what blocks on the network on a thread of its own, because the caller's may belong to a
/// runtime.
fn on_own_thread<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(f);
        thread.join().unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic))))
    })
}
