//! The engine across a network: fibers that each own a connection to PostgreSQL.

mod bus;
mod catalog;
mod config;
pub(crate) mod copy;
mod dialect;
mod failure;
mod fiber;
mod lines;
pub(crate) mod migrate;
mod pool;
mod recall;
mod session;
mod tls;

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

pub(crate) use config::Config;
pub(crate) use recall::Recall;
pub(crate) use session::Session;

use crate::job::job;
use crate::notice::{Hub, Listener};
use crate::{Error, Migration, Result, Stats, Tx};
use lines::Lines;
use pool::{Kind, Queue};

/// Threads for long reads, as the embedded engine has them.
const SCANNERS: usize = 2;

/// What the fibers of one engine share.
struct Shared {
    config: Config,
    /// How long work may take; a command has all the time that it needs.
    patience: Option<Duration>,
    hub: Arc<Hub>,
    queued: AtomicUsize,
    writes: AtomicU64,
    retries: AtomicU64,
    connections: AtomicUsize,
    /// Commits that were given up here and that the server has not answered yet.
    waiting: AtomicUsize,
    /// How many of these there may be before no more writes are begun.
    at_once: usize,
    /// Counts how often all connections had to be given up: a server that takes no writes, or
    /// that goes away, is left by all fibers at once.
    era: AtomicU64,
    queues: [Arc<Queue>; 2],
    lines: Lines,
}

impl Shared {
    fn era(&self) -> u64 {
        self.era.load(Relaxed)
    }

    fn begin_new_era(&self) {
        self.era.fetch_add(1, Relaxed);
        self.lines.leave();
        for queue in &self.queues {
            queue.rouse();
        }
    }
}

pub(crate) struct Engine {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    bus: Mutex<Option<bus::Bus>>,
}

impl Engine {
    /// Opens it for a server, with many connections, or for a command, with one.
    pub(crate) fn open(config: &Config, schema: &[Migration], server: bool) -> Result<Self> {
        let patience = server.then_some(config.options.patience);
        migrate::verify(config, schema)?;
        let (others, to_others) = mpsc::unbounded_channel();
        let queues = [Arc::new(Queue::new()), Arc::new(Queue::new())];
        let shared = Arc::new(Shared {
            config: config.clone(),
            patience,
            hub: Arc::new(Hub::new(Some(others))),
            queued: AtomicUsize::new(0),
            writes: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            at_once: config.options.connections.max(1),
            era: AtomicU64::new(0),
            queues,
            lines: Lines::new(config.options.connections),
        });
        let number = if server { config.options.connections.max(1) } else { 1 };
        let processors = available_parallelism().map_or(1, usize::from);
        let mut threads = pool::start(&shared, &shared.queues[0], "db", processors, number)?;
        let scanners = if server { SCANNERS } else { 1 };
        threads.extend(pool::start(&shared, &shared.queues[1], "db-scan", scanners, scanners)?);
        let bus = bus::start(&shared, to_others, server)?;
        Ok(Self { shared, threads: Mutex::new(threads), bus: Mutex::new(Some(bus)) })
    }

    /// Runs a short read: of one statement where the caller waits, of several on a fiber.
    pub(crate) async fn read<R, E, F>(&self, mut f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let begun = Instant::now();
        if let Some(answer) = lines::read(&self.shared, &mut f).await {
            return answer;
        }
        let answer = self.submit(begun, Asked::Read, f).map_err(E::from)?;
        answer.await.unwrap_or_else(|_gone| Err(E::from(Error::Closed)))
    }

    /// Puts work into its queue; the time that it may take runs from `begun`.
    pub(crate) fn submit<R, E, F>(
        &self,
        begun: Instant,
        kind: Asked,
        f: F,
    ) -> Result<oneshot::Receiver<Result<R, E>>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (queue, kind) = match kind {
            Asked::Read => (0, Kind::Read(TypeId::of::<F>())),
            Asked::Scan => (1, Kind::Read(TypeId::of::<F>())),
            Asked::Write => (0, Kind::Write),
        };
        let (job, answer) = job(f);
        self.shared.queues[queue].submit(&self.shared, begun, kind, job)?;
        Ok(answer)
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.shared.hub.listen(listener);
    }

    pub(crate) fn stats(&self) -> Stats {
        let writes = self.shared.writes.load(Relaxed);
        Stats {
            queued: self.shared.queued.load(Relaxed),
            writes,
            commits: writes,
            log_pages: 0,
            connections: self.shared.connections.load(Relaxed) + self.shared.lines.len(),
            waiting: self.shared.waiting.load(Relaxed),
            retries: self.shared.retries.load(Relaxed),
            left: self.shared.era(),
        }
    }

    pub(crate) fn close(&self) {
        self.shared.lines.close();
        for queue in &self.shared.queues {
            queue.stop();
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a database thread had panicked");
            }
        }
        // Last, so that the others hear of what was committed.
        if let Some(bus) = self.bus.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bus.stop();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Read,
    Scan,
    Write,
}
