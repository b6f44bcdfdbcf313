//! Reads of one statement, over connections on which statements follow each other without waiting.
//!
//! Waking a fiber for a [`crate::Db::read_one`], and then the caller, takes as long as the
//! statement itself. So the closure runs once to learn its statement, which goes over a connection
//! of the caller's own runtime, and a second time with the rows. A read that fails here is run
//! again by a fiber, which knows how to recover: reading twice does no harm.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row, Statement};

use super::recorder::{Recorded, Recorder};
use super::{calls::any, config::Config, dialect, failure};
use crate::{Error, Result, Tx, Value, job, threads::lock, tx::On};

/// Statements that one connection may have in flight; further reads go to the fibers.
const IN_FLIGHT: usize = 64;
/// How long to wait for an answer here, at most; the fibers have the rest of the request's time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to look for statements that have waited too long. A timer for each statement would
/// wake other threads of the runtime.
const TICK: Duration = Duration::from_millis(250);
/// A statement is counted in the tick in which it was sent, modulo this.
const TICKS: usize = 5;
/// How long a runtime waits before it tries to connect again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Pipelines {
    config: Config,
    /// How many connections a runtime may have for each of its threads.
    per_thread: usize,
    runtimes: Mutex<Runtimes>,
    /// Reads that failed here and were left to a fiber.
    failed: AtomicU64,
}

#[derive(Default)]
struct Runtimes {
    by_id: HashMap<Id, Runtime>,
    /// Counts how often all connections were given up; one that is just being made is dropped then.
    generation: u64,
    closed: bool,
}

/// The connections of one runtime, because a connection lives on the runtime that made it.
#[derive(Default)]
struct Runtime {
    pipelines: Vec<Arc<Pipeline>>,
    /// Whether a connection is being made. One at a time.
    connecting: bool,
    /// Whether [`watch`] runs.
    watched: bool,
    /// When to try again after a failed attempt to connect.
    not_before: Option<Instant>,
}

struct Pipeline {
    client: Client,
    /// Prepared statements by address and length of their text.
    statements: Mutex<HashMap<(usize, usize), Statement>>,
    in_flight: AtomicUsize,
    /// The statements in flight, by the tick in which they were sent.
    sent_in: [AtomicUsize; TICKS],
    /// The current index of `sent_in`.
    tick: AtomicUsize,
    /// The task that sends and receives. Aborting it fails every statement at once.
    connection: AbortHandle,
}

/// A statement in flight, also if its caller goes away.
struct InFlight {
    pipeline: Arc<Pipeline>,
    tick: usize,
}

impl Pipelines {
    /// Allows as many connections as the fibers have, if a runtime has a thread per processor.
    pub(super) fn new(config: &Config) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            config: config.clone(),
            per_thread: config.options.connections.div_ceil(processors),
            runtimes: Mutex::default(),
            failed: AtomicU64::new(0),
        }
    }

    /// Gives up all connections; the next reads make new ones.
    pub(super) fn leave(&self) {
        let mut runtimes = lock(&self.runtimes);
        runtimes.generation += 1;
        runtimes.by_id.values_mut().for_each(|runtime| runtime.pipelines.clear());
    }

    /// Gives up all connections for good.
    pub(super) fn close(&self) {
        lock(&self.runtimes).closed = true;
        self.leave();
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.runtimes).by_id.values().map(|runtime| runtime.pipelines.len()).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// The connection of this runtime with the fewest statements in flight. If all are in use and
    /// there may be more of them, another one is made for later reads.
    fn least_used(self: &Arc<Self>) -> Option<InFlight> {
        let handle = Handle::try_current().ok()?;
        let mut runtimes = lock(&self.runtimes);
        if runtimes.closed {
            return None;
        }
        let generation = runtimes.generation;
        let runtime = runtimes.by_id.entry(handle.id()).or_default();
        let (mut found, mut least, mut lost) = (None, usize::MAX, false);
        for pipeline in &runtime.pipelines {
            let in_flight = pipeline.in_flight.load(Relaxed);
            if in_flight < least {
                if pipeline.client.is_closed() {
                    lost = true;
                    continue;
                }
                (found, least) = (Some(Arc::clone(pipeline)), in_flight);
                if least == 0 {
                    break;
                }
            }
        }
        if lost {
            runtime.pipelines.retain(|pipeline| !pipeline.client.is_closed());
        }
        let early = runtime.not_before.is_some_and(|moment| Instant::now() < moment);
        let most = self.per_thread * handle.metrics().num_workers();
        if least > 0 && runtime.pipelines.len() < most && !runtime.connecting && !early {
            runtime.connecting = true;
            let connecting = Connecting { pipelines: Arc::clone(self), runtime: handle.id() };
            drop(handle.spawn(connect(connecting, generation)));
        }
        let pipeline = found.filter(|_| least < IN_FLIGHT)?;
        pipeline.in_flight.fetch_add(1, Relaxed);
        let tick = pipeline.tick.load(Relaxed);
        pipeline.sent_in[tick].fetch_add(1, Relaxed);
        Some(InFlight { pipeline, tick })
    }

    /// Runs a read of one statement. Returns `None` if a fiber must run it.
    pub(super) async fn read<R, E, F>(self: &Arc<Self>, f: &mut F) -> Option<Result<R, E>>
    where
        F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let in_flight = self.least_used()?;
        let statement = {
            let mut recorder = Recorder::record();
            let mut tx = Tx::of_one_statement(On::Recorder(&mut recorder));
            let outcome = job::run(&mut tx, &mut *f);
            if recorder.exceeded() {
                return None;
            }
            match recorder.recorded() {
                Some(statement) => statement,
                None => return Some(outcome),
            }
        };
        let rows = match in_flight.pipeline.query(&statement).await {
            Ok(rows) => rows,
            Err(error) => {
                self.failed.fetch_add(1, Relaxed);
                let (error, _) = failure::sort(&error, &failure::Catalog::default(), true);
                tracing::debug!(%error, "a pipelined read failed and runs again on a fiber");
                return None;
            }
        };
        drop(in_flight);
        let mut recorder = Recorder::play(statement, rows);
        let outcome = job::run(&mut Tx::of_one_statement(On::Recorder(&mut recorder)), f);
        (!recorder.exceeded()).then_some(outcome)
    }
}

impl Pipeline {
    /// Begins the next tick. Ends the connection if a statement sent `TICKS` ago still waits.
    fn begin_tick(&self) {
        let tick = (self.tick.load(Relaxed) + 1) % TICKS;
        if self.sent_in[tick].load(Relaxed) > 0 {
            self.connection.abort();
        }
        self.tick.store(tick, Relaxed);
    }

    async fn query(&self, recorded: &Recorded) -> Result<Vec<Row>, tokio_postgres::Error> {
        let values = recorded.params();
        let key = (recorded.sql.as_ptr().addr(), recorded.sql.len());
        let known = lock(&self.statements).get(&key).cloned();
        let statement = if let Some(statement) = known {
            statement
        } else {
            let types: Vec<Type> = values.iter().map(Value::sql_type).collect();
            let text = dialect::statement(recorded.sql);
            let statement = self.client.prepare_typed(&text, &types).await?;
            lock(&self.statements).insert(key, statement.clone());
            statement
        };
        let params: Vec<_> = values.iter().map(any).collect();
        self.client.query(&statement, &params).await
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pipeline.sent_in[self.tick].fetch_sub(1, Relaxed);
        self.pipeline.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A connection that is being made. Dropping it, with the runtime at the latest, allows another.
struct Connecting {
    pipelines: Arc<Pipelines>,
    runtime: Id,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let mut runtimes = lock(&self.pipelines.runtimes);
        runtimes.by_id.entry(self.runtime).or_default().connecting = false;
    }
}

async fn connect(connecting: Connecting, generation: u64) {
    let Connecting { pipelines, runtime: id } = &connecting;
    let opened = timeout(pipelines.config.options.patience, open(&pipelines.config)).await;
    let mut runtimes = lock(&pipelines.runtimes);
    if runtimes.closed || runtimes.generation != generation {
        return;
    }
    let runtime = runtimes.by_id.entry(*id).or_default();
    let Ok(Ok((client, connection))) = opened else {
        // Callers get the error from the fibers, which meet the same.
        runtime.not_before = Some(Instant::now() + PAUSE);
        return;
    };
    runtime.pipelines.push(Arc::new(Pipeline {
        client,
        statements: Mutex::default(),
        in_flight: AtomicUsize::new(0),
        sent_in: Default::default(),
        tick: AtomicUsize::new(0),
        connection,
    }));
    if !runtime.watched {
        runtime.watched = true;
        drop(tokio::spawn(watch(Arc::downgrade(pipelines), *id)));
    }
}

/// Ends the connections of a runtime that do not answer, until none is left.
async fn watch(pipelines: Weak<Pipelines>, id: Id) {
    loop {
        sleep(TICK).await;
        let Some(pipelines) = pipelines.upgrade() else { return };
        let mut runtimes = lock(&pipelines.runtimes);
        let runtime = runtimes.by_id.entry(id).or_default();
        runtime.pipelines.iter().for_each(|pipeline| pipeline.begin_tick());
        if runtime.pipelines.is_empty() {
            runtime.watched = false;
            return;
        }
    }
}

async fn open(config: &Config) -> Result<(Client, AbortHandle)> {
    let (client, connection) = config.server.connect(&config.server.tls()?).await?;
    // Ends with the client, which reports its errors.
    let connection = tokio::spawn(async { drop(connection.await) }).abort_handle();
    let settings = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {}",
        PATIENCE.as_millis()
    );
    let set = client.batch_execute(&settings).await;
    set.map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok((client, connection))
}
