//! The SQLite engine: one writer thread with group commit, and readers on the callers' threads.

pub(crate) mod backup;
mod checkpoint;
mod connection;
mod contents;
pub(crate) mod copy;
pub(crate) mod files;
mod log;
pub(crate) mod migrate;
pub(crate) mod prepared;
mod queue;
mod readers;
mod reserve;
pub(crate) mod restore;
mod scanners;
mod shared;
pub(crate) mod verbs;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::{
    Error, Migration, Owner, Result, Stats, Tx, job, job::Job, migrate::usable, notice::Hub,
    threads, tx::On,
};
use connection::Role;
pub(crate) use copy::Theirs;
use files::Lock;
use prepared::Prepared;
use shared::Shared;

pub(crate) struct Engine {
    shared: Arc<Shared>,
    /// Finds this engine's readers among those of a thread.
    number: u64,
    writer: writer::Writer,
    scanners: scanners::Scanners,
    /// All threads; [`Engine::close`] takes and joins them.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps other servers away until the engine is closed.
    lock: Mutex<Option<Lock>>,
}

/// What `f` finds in a file, which is not changed; none where there is nothing in it.
pub(crate) fn look<T>(path: &Path, f: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<Option<T>> {
    if contents::steps(path)?.is_empty() {
        return Ok(None);
    }
    let connection = Prepared::new(contents::open(path)?);
    f(&mut Tx::on(On::Sqlite(&connection))).map(Some)
}

/// The number of the next engine of this process.
static ENGINES: AtomicU64 = AtomicU64::new(0);

impl Engine {
    /// Opens a file: alone for a server, or beside one for a command.
    pub(crate) fn open(path: &Path, schema: &[Migration], alone: bool) -> Result<Self> {
        // Before anything is changed, even the journal mode.
        usable(schema, &contents::steps(path)?)?;
        let lock = if alone { Some(files::lock(path)?) } else { None };
        if alone {
            files::remove_abandoned(path);
        }
        let connection = connection::open(path, Role::Writer)?;
        usable(schema, &contents::applied(&connection)?)?;

        let shared = Arc::new(Shared::new(path));
        let (checkpoints, checkpointer) = checkpoint::start(Arc::clone(&shared))?;
        let (writer, writing) = writer::start(Arc::clone(&shared), connection, checkpoints)?;
        let (scanners, mut threads) = readers::start(&shared)?;
        threads.extend([checkpointer, writing]);
        Ok(Self {
            shared,
            number: ENGINES.fetch_add(1, Relaxed),
            writer,
            scanners,
            threads: Mutex::new(threads),
            lock: Mutex::new(lock),
        })
    }

    pub(crate) fn write(&self, owner: Owner, job: Box<dyn Job>) -> Result<()> {
        self.writer.submit(&self.shared, owner, job)
    }

    pub(crate) fn read<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E>,
        E: From<Error>,
    {
        readers::read(&self.shared, self.number, |connection| {
            readers::snapshot(&self.shared, connection, |tx| job::run(tx, f))
        })
    }

    pub(crate) fn read_one<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E>,
        E: From<Error>,
    {
        readers::read(&self.shared, self.number, |connection| {
            (Ok(()), Some(readers::statement(&self.shared, connection, |tx| job::run(tx, f))))
        })
    }

    pub(crate) fn scan(&self, owner: Owner, job: Box<dyn Job>) -> Result<()> {
        self.scanners.submit(owner, job)
    }

    pub(crate) async fn failed(&self) -> Error {
        self.shared.failed().await
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.shared.queued.load(Relaxed),
            writes: self.shared.writes.load(Relaxed),
            commits: self.shared.commits.load(Relaxed),
            log_bytes: files::log_bytes(&self.shared.path),
            full: self.shared.reserve.is_used(),
            ..Stats::default()
        }
    }

    /// The size of the file, without its log.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let path = &self.shared.path;
        let file = std::fs::metadata(path).map_err(|cause| Error::file("look at", path, &cause))?;
        Ok(file.len())
    }

    pub(crate) fn keep_reserve(&self, bytes: u64) -> Result<()> {
        self.shared.reserve.keep(&self.shared.path, bytes)
    }

    pub(crate) fn close(&self) {
        readers::forget(self.number);
        self.scanners.stop();
        self.writer.stop();
        threads::join(std::mem::take(&mut *threads::lock(&self.threads)));
        drop(threads::lock(&self.lock).take());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}
