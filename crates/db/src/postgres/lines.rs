//! Reads of one statement, asked where the caller waits.
//!
//! To wake a fiber for them, and the caller again, costs as much as the statement does. So the
//! closure runs once to tell its statement, which goes over a connection of the caller's own
//! runtime, and once more with the rows. Whatever does not go well here is left to the fibers,
//! which know what to do about it: to have asked for a row twice does no harm.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use super::recall::{Question, Recall};
use super::{Config, Shared, dialect};
use crate::{Error, Result, Tx, Value, job};

/// Statements that may be under way on one of them; what comes then goes to the fibers.
const UNDER_WAY: usize = 64;
/// How long an answer is waited for here, or a little less; the fibers have the rest of the time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Moments at which it is looked whether anybody has waited for too long: a timer for each
/// statement would wake other threads of the runtime.
const TICK: Duration = Duration::from_millis(250);
/// A statement is remembered by the tick in which it was asked, round and round.
const TICKS: usize = 5;
/// How long a runtime waits until it tries to connect again.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections of the runtimes that ask.
pub(super) struct Lines {
    /// How many a runtime may have for each of its threads; statements follow each other on them
    /// without waiting.
    each: usize,
    by_runtime: Mutex<HashMap<Id, Own>>,
    /// Reads that have asked for more than one statement.
    several: Mutex<HashSet<TypeId>>,
    closed: AtomicBool,
}

/// Those of one runtime.
#[derive(Default)]
struct Own {
    lines: Vec<Arc<Line>>,
    connecting: bool,
    watched: bool,
    not_before: Option<Instant>,
}

struct Line {
    client: Client,
    statements: Mutex<HashMap<(usize, usize), Statement>>,
    era: u64,
    under_way: AtomicUsize,
    /// Those of them that were asked in each of the last ticks.
    asked: [AtomicUsize; TICKS],
    tick: AtomicUsize,
    /// What sends and receives; without it every question fails at once.
    connection: AbortHandle,
}

/// A statement under way, whether or not anybody waits for it to the end.
struct UnderWay {
    line: Arc<Line>,
    tick: usize,
}

impl Lines {
    /// In all as many as the fibers have, where as many threads run futures as there are
    /// processors.
    pub(super) fn new(connections: usize) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            each: connections.div_ceil(processors),
            by_runtime: Mutex::default(),
            several: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Lets go of all connections; the next read makes new ones.
    pub(super) fn leave(&self) {
        lock(&self.by_runtime).values_mut().for_each(|own| own.lines.clear());
    }

    /// Lets go of all connections for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.leave();
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.by_runtime).values().map(|own| own.lines.len()).sum()
    }

    /// The connection of this runtime with the least to do; nothing where there is none at this
    /// moment, and then perhaps soon.
    fn nearest(shared: &Arc<Shared>) -> Option<UnderWay> {
        let handle = Handle::try_current().ok()?;
        let runtime = handle.id();
        let mut all = lock(&shared.lines.by_runtime);
        let own = all.entry(runtime).or_default();
        let (mut nearest, mut least) = (None, usize::MAX);
        let mut lost = false;
        for line in &own.lines {
            let under_way = line.under_way.load(Relaxed);
            if under_way < least {
                if !line.is_good(shared.era()) {
                    lost = true;
                    continue;
                }
                (nearest, least) = (Some(Arc::clone(line)), under_way);
                if least == 0 {
                    break;
                }
            }
        }
        if lost {
            own.lines.retain(|line| line.is_good(shared.era()));
        }
        let busy = least > 0;
        let early = own.not_before.is_some_and(|moment| Instant::now() < moment);
        let most = shared.lines.each * handle.metrics().num_workers();
        if busy && own.lines.len() < most && !own.connecting && !early {
            own.connecting = true;
            let connecting = Connecting { shared: Arc::clone(shared), runtime };
            drop(handle.spawn(connect(connecting)));
        }
        let line = nearest.filter(|_| least < UNDER_WAY)?;
        line.under_way.fetch_add(1, Relaxed);
        let tick = line.tick.load(Relaxed);
        line.asked[tick].fetch_add(1, Relaxed);
        Some(UnderWay { line, tick })
    }
}

/// Runs a read that needs one statement; nothing where it is for the fibers.
pub(super) async fn read<R, E, F>(shared: &Arc<Shared>, f: &mut F) -> Option<Result<R, E>>
where
    F: FnMut(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    R: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let closure = TypeId::of::<F>();
    // Commands have all the time that they need, and no runtime perhaps.
    let usual = shared.patience.is_some()
        && shared.config.options.named_statements
        && !shared.lines.closed.load(Relaxed);
    if !usual || lock(&shared.lines.several).contains(&closure) {
        return None;
    }
    let line = Lines::nearest(shared)?;
    let question = {
        let mut first = Recall::first();
        let outcome = job::run(&mut Tx::recall(&mut first), &mut *f);
        if first.asks_more() {
            lock(&shared.lines.several).insert(closure);
            return None;
        }
        match first.question() {
            Some(question) => question,
            None => return Some(outcome),
        }
    };
    let rows = line.line.query(&question).await.ok()?;
    drop(line);
    let mut second = Recall::second(question, rows);
    let outcome = job::run(&mut Tx::recall(&mut second), f);
    if second.asks_more() {
        lock(&shared.lines.several).insert(closure);
        return None;
    }
    Some(outcome)
}

impl Line {
    fn is_good(&self, era: u64) -> bool {
        self.era == era && !self.client.is_closed()
    }

    /// Begins another tick; ends the connection where what was asked before all of them still
    /// waits.
    fn begin_tick(&self) {
        let tick = (self.tick.load(Relaxed) + 1) % TICKS;
        if self.asked[tick].load(Relaxed) > 0 {
            self.connection.abort();
        }
        self.tick.store(tick, Relaxed);
    }

    async fn query(&self, question: &Question) -> Result<Vec<Row>, tokio_postgres::Error> {
        let values = question.params();
        let key = (question.sql.as_ptr().addr(), question.sql.len());
        let known = lock(&self.statements).get(&key).cloned();
        let statement = if let Some(statement) = known {
            statement
        } else {
            let kinds: Vec<Type> = values.iter().map(Value::kind).collect();
            let text = dialect::statement(question.sql);
            let statement = self.client.prepare_typed(&text, &kinds).await?;
            lock(&self.statements).insert(key, statement.clone());
            statement
        };
        let mut params: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(values.len());
        for value in &values {
            params.push(value);
        }
        self.client.query(&statement, &params).await
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.line.asked[self.tick].fetch_sub(1, Relaxed);
        self.line.under_way.fetch_sub(1, Relaxed);
    }
}

/// A connection that is being made; it ends with the runtime at the latest.
struct Connecting {
    shared: Arc<Shared>,
    runtime: Id,
}

async fn connect(connecting: Connecting) {
    let shared = Arc::clone(&connecting.shared);
    let era = shared.era();
    let patience = shared.config.options.patience;
    let Ok(Ok((client, connection))) = timeout(patience, open(&shared.config)).await else {
        // Whoever asks meets the same on the fibers, and hears of it from there.
        let mut all = lock(&shared.lines.by_runtime);
        all.entry(connecting.runtime).or_default().not_before = Some(Instant::now() + PAUSE);
        return;
    };
    let line = Line {
        client,
        statements: Mutex::default(),
        era,
        under_way: AtomicUsize::new(0),
        asked: Default::default(),
        tick: AtomicUsize::new(0),
        connection,
    };
    let mut all = lock(&shared.lines.by_runtime);
    if shared.lines.closed.load(Relaxed) {
        return;
    }
    let own = all.entry(connecting.runtime).or_default();
    own.lines.push(Arc::new(line));
    if !own.watched {
        own.watched = true;
        let watch = watch(Arc::downgrade(&shared), connecting.runtime);
        drop(tokio::spawn(watch));
    }
}

/// Ends the connections of a runtime that do not answer, until none is left.
async fn watch(shared: Weak<Shared>, runtime: Id) {
    loop {
        sleep(TICK).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut all = lock(&shared.lines.by_runtime);
        let own = all.entry(runtime).or_default();
        own.lines.iter().for_each(|line| line.begin_tick());
        if own.lines.is_empty() {
            own.watched = false;
            return;
        }
    }
}

async fn open(config: &Config) -> Result<(Client, AbortHandle)> {
    let (client, connection) = config.server.connect(&config.server.tls()?).await?;
    // It ends with the client. What went wrong is what the client meets.
    let connection = tokio::spawn(async { drop(connection.await) }).abort_handle();
    let settings = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {}",
        PATIENCE.as_millis()
    );
    let settled = client.batch_execute(&settings).await;
    settled.map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok((client, connection))
}

impl Drop for Connecting {
    fn drop(&mut self) {
        lock(&self.shared.lines.by_runtime).entry(self.runtime).or_default().connecting = false;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
