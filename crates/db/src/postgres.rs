//! The PostgreSQL engine: fibers that each own a connection.

mod bus;
mod calls;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod copy;
mod dialect;
mod driver;
#[cfg(feature = "explain")]
#[path = "../explain/postgres.rs"] // for tests only, so it is no part of the product
mod explain;
mod failure;
mod fiber;
pub(crate) mod migrate;
mod pipeline;
mod pool;
mod queue;
pub(crate) mod recorder;
mod shared;
mod tls;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::job::{Job, job};
use crate::of::Length;
use crate::{Error, Migration, Owner, Purpose, Result, Stats, Tx, notice::Hub, threads};
use config::Config;
use queue::{Access, Queue};
use shared::{SCANNERS, Shared};

pub(crate) struct Engine {
    shared: Arc<Shared>,
    /// The threads of the fibers; [`Engine::close`] takes and joins them.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Taken by [`Engine::close`].
    bus: Mutex<Option<bus::Bus>>,
}

impl Engine {
    /// Opens the database with many connections for a server, or with one for a command.
    pub(crate) fn open(config: &Config, schema: &[Migration], server: bool) -> Result<Self> {
        migrate::verify(config, schema)?;
        let (remote, to_remote) = mpsc::unbounded_channel();
        let patience = server.then_some(config.options.patience);
        let shared = Arc::new(Shared::new(config, patience, remote));
        let connections = if server { config.options.connections.max(1) } else { 1 };
        let processors = available_parallelism().map_or(1, usize::from);
        let mut threads = pool::start(&shared, &shared.requests, "db", processors, connections)?;
        let scanners = if server { SCANNERS } else { 1 };
        threads.extend(pool::start(&shared, &shared.scans, "db-scan", scanners, scanners)?);
        let bus = bus::start(&shared, to_remote, server)?;
        Ok(Self { shared, threads: Mutex::new(threads), bus: Mutex::new(Some(bus)) })
    }

    pub(crate) async fn read<R, E, F>(&self, of: (Owner, Length), f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.on_a_fiber(of, Instant::now(), Access::Read, f).await
    }

    /// Over a pipelined connection if there is one, else on a fiber.
    pub(crate) async fn read_one<R, E, F>(&self, of: (Owner, Length), mut f: F) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let begun = Instant::now();
        // Long ones are queued: over a pipeline, nobody would count how many an owner has.
        if of.1 == Length::Short
            && let Some(pipelines) = &self.shared.pipelines
            && let Some(answer) = pipelines.read(&mut f).await
        {
            return answer;
        }
        self.on_a_fiber(of, begun, Access::ReadOne, f).await
    }

    async fn on_a_fiber<R, E, F>(
        &self,
        of: (Owner, Length),
        begun: Instant,
        access: Access,
        f: F,
    ) -> Result<R, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (job, answer) = job(of.0, Purpose::Store, f);
        self.submit(&self.shared.requests, of, begun, (access, job)).map_err(E::from)?;
        answer.await.unwrap_or_else(|_dropped| Err(E::from(Error::Closed)))
    }

    pub(crate) fn write(&self, of: (Owner, Length), job: Box<dyn Job>) -> Result<()> {
        self.submit(&self.shared.requests, of, Instant::now(), (Access::Write, job))
    }

    pub(crate) fn scan(&self, owner: Owner, job: Box<dyn Job>) -> Result<()> {
        self.submit(&self.shared.scans, (owner, Length::Short), Instant::now(), (Access::Read, job))
    }

    /// Queues work whose time runs from `begun`.
    fn submit(
        &self,
        queue: &Queue,
        of: (Owner, Length),
        begun: Instant,
        (access, job): (Access, Box<dyn Job>),
    ) -> Result<()> {
        let deadline = self.shared.patience.map(|patience| begun + patience);
        queue.submit(of, access, job, deadline)
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    pub(crate) fn stats(&self) -> Stats {
        let shared = &self.shared;
        let writes = shared.writes.load(Relaxed);
        let (pipelined, failed) =
            shared.pipelines.as_ref().map_or((0, 0), |all| (all.len(), all.failed()));
        Stats {
            queued: shared.requests.pending() + shared.scans.pending(),
            writes,
            commits: writes,
            log_bytes: 0,
            full: false,
            connections: shared.connections.load(Relaxed) + pipelined,
            waiting: shared.waiting.load(Relaxed),
            retries: shared.retries.load(Relaxed) + failed,
            left: shared.generation(),
        }
    }

    pub(crate) fn close(&self) {
        if let Some(pipelines) = &self.shared.pipelines {
            pipelines.close();
        }
        self.shared.requests.stop();
        self.shared.scans.stop();
        threads::join(threads::lock(&self.threads).drain(..));
        // Last, so that other nodes hear of everything that was committed.
        if let Some(bus) = threads::lock(&self.bus).take() {
            bus.stop();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}
