//! The embedded engine: one writer thread with group commit, readers where they are asked.

pub(crate) mod backup;
mod checkpoint;
mod connection;
pub(crate) mod copy;
pub(crate) mod migrate;
mod readers;
pub(crate) mod restore;
pub(crate) mod verbs;
mod writer;

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::notice::{Hub, Listener};
use crate::{Error, Migration, Result, Stats, Tx};
use connection::Kind;

/// What the threads of one engine share.
pub(crate) struct Shared {
    path: PathBuf,
    queued: AtomicUsize,
    writes: AtomicU64,
    commits: AtomicU64,
    log_pages: AtomicI64,
    failure: watch::Sender<Option<Error>>,
    hub: Hub,
}

impl Shared {
    /// Remembers the first failure after which nothing may be acknowledged.
    fn fail(&self, error: &Error) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error.clone());
            }
            first
        });
    }

    fn failure(&self) -> Option<Error> {
        self.failure.borrow().clone()
    }

    /// Passes a result on, and remembers it where it is the end.
    fn watch<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.is_fatal()
        {
            self.fail(error);
        }
        result
    }
}

pub(crate) struct Engine {
    shared: Arc<Shared>,
    number: u64,
    writer: writer::Queue,
    scanners: readers::Queue,
    threads: Mutex<Vec<JoinHandle<()>>>,
    // Held, not read.
    lock: Mutex<Option<Lock>>,
}

/// Distinguishes the engines of one process, whose readers live in the same threads.
static ENGINES: AtomicU64 = AtomicU64::new(0);

impl Engine {
    pub(crate) fn open(path: &Path, schema: &[Migration], alone: bool) -> Result<Self> {
        let lock = if alone { Some(lock(path)?) } else { None };
        if !path.exists() {
            let known = schema.last().map_or(0, |last| last.version);
            return Err(Error::SchemaOlder { found: 0, known });
        }
        let connection = connection::open(path, Kind::Writer)?;
        migrate::verify(&connection, schema)?;

        let shared = Arc::new(Shared {
            path: path.to_path_buf(),
            queued: AtomicUsize::new(0),
            writes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            log_pages: AtomicI64::new(0),
            failure: watch::Sender::new(None),
            hub: Hub::new(None),
        });
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

    pub(crate) fn submit<R, E, F>(&self, f: F) -> Result<oneshot::Receiver<Result<R, E>>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.writer.submit(&self.shared, f)
    }

    pub(crate) fn read<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E>,
        E: From<Error>,
    {
        readers::read(&self.shared, self.number, f)
    }

    pub(crate) fn scan<R, E, F>(&self, f: F) -> Result<oneshot::Receiver<Result<R, E>>>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.scanners.submit(f)
    }

    pub(crate) async fn failed(&self) -> Error {
        let mut failure = self.shared.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|error| error.clone()).unwrap_or(Error::Closed)
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.shared.hub.listen(listener);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.shared.queued.load(Relaxed),
            writes: self.shared.writes.load(Relaxed),
            commits: self.shared.commits.load(Relaxed),
            log_pages: self.shared.log_pages.load(Relaxed),
            ..Stats::default()
        }
    }

    pub(crate) fn close(&self) {
        readers::forget(self.number);
        self.scanners.stop();
        self.writer.stop();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a database thread had panicked");
            }
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// The lock of the server, until it is dropped.
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it is not enough: a process that is just being started has a copy of the file.
        // Where this fails, the lock goes with the last copy.
        drop(self.0.unlock());
    }
}

/// Takes the lock of the server on a file beside the database, so that two never share it.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    let beside = path.with_added_extension("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(|cause| Error::file("open", &beside, &cause))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_path_buf())),
        Err(TryLockError::Error(cause)) => Err(Error::file("lock", &beside, &cause)),
    }
}
