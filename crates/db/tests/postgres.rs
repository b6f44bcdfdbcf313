//! Failures that only a server can cause: deadlocks, ended sessions, networks that drop packets,
//! servers that stop, become standbys or show a wrong certificate.
//!
//! Without PostgreSQL each test reports that it is left out, or fails if `CI` is set.

#[path = "postgres/address.rs"]
mod address;
#[path = "postgres/network.rs"]
mod network;
#[path = "postgres/poolers.rs"]
mod poolers;
#[path = "postgres/refused.rs"]
mod refused;
#[path = "postgres/servers.rs"]
mod servers;
#[path = "postgres/settings.rs"]
mod settings;
#[path = "postgres/standbys.rs"]
mod standbys;
#[path = "postgres/tls.rs"]
mod tls;
#[path = "postgres/trouble.rs"]
mod trouble;
#[path = "postgres/turns.rs"]
mod turns;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use db::{Db, Error, Migration, Options, Result, Tx, Url, params};
use testing::{Cluster, Database, shared, sql};
use tokio::task::JoinHandle;

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "start",
    oldest: 1,
    sql: "CREATE TABLE notes (
              id INTEGER PRIMARY KEY AUTOINCREMENT, words TEXT NOT NULL UNIQUE
          ) STRICT;
          CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL) STRICT;
          INSERT INTO counters (id, value) VALUES (1, 0), (2, 0);",
}];

/// Connections of each engine here.
const CONNECTIONS: usize = 4;
/// Longer than anything here takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest that a request may take, whatever happens.
const BOUND: Duration = Duration::from_secs(6);

/// An open database of the shared server, which is removed when this is dropped.
struct Opened {
    db: Db,
    /// Its address.
    address: String,
    database: Database,
}

impl Opened {
    fn new() -> Option<Self> {
        Self::with(patient(), |_address| {})
    }

    /// A database that `prepare` changes before it is opened; `None` without a server.
    fn with(options: Options, prepare: impl FnOnce(&str)) -> Option<Self> {
        if shared().is_none() {
            left_out();
            return None;
        }
        let database = Database::fresh(migrate);
        let address = database.url();
        prepare(&address);
        let db = open(&address, options).expect("it can be opened");
        Some(Self { db, address, database })
    }

    /// Applies a function to the engine's sessions that fulfil the condition.
    fn to_sessions(&self, what: &str, condition: &str) -> usize {
        let name = self.database.name();
        let others = format!(
            "SELECT {what}(pid) FROM pg_stat_activity
             WHERE datname = '{name}' AND application_name = 'postroom' AND {condition}"
        );
        sql(&self.address, &others).len()
    }
}

/// Options with time limits for a busy machine.
fn patient() -> Options {
    Options {
        connections: CONNECTIONS,
        patience: PATIENCE / 2,
        lock_timeout: PATIENCE / 2,
        ..Options::default()
    }
}

/// The options of a server, with fewer connections.
fn usual() -> Options {
    Options { connections: CONNECTIONS, ..Options::default() }
}

fn migrate(address: &str) {
    Db::migrate(&url(address, Options::default()), SCHEMA, 1).expect("it can be migrated");
}

fn url(address: &str, options: Options) -> Url {
    Url::with(address, Path::new("/"), options).expect("the address is one")
}

fn open(address: &str, options: Options) -> Result<Db> {
    Db::open(&url(address, options), SCHEMA)
}

/// A new server with an empty database `postgres`, if the programs are installed.
fn cluster() -> Option<Cluster> {
    // Fails without them if they are required.
    if testing::binaries().is_none() || shared().is_none() {
        left_out();
        return None;
    }
    Some(Cluster::start(&[]))
}

fn left_out() {
    drop(writeln!(std::io::stderr(), "LEFT OUT: there is no PostgreSQL to test with"));
}

/// A write that adds a note.
fn note(words: impl Into<String>) -> impl FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static {
    let words = words.into();
    move |tx| tx.execute("INSERT INTO notes (words) VALUES (?1)", &params![&*words]).map(drop)
}

/// All notes in alphabetical order.
fn notes(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    tx.query("SELECT words FROM notes ORDER BY words", &[], |row| Ok(row.text(0)?.to_owned()))
}

fn increment(tx: &mut Tx<'_>, id: i64) -> Result<u64> {
    tx.execute("UPDATE counters SET value = value + 1 WHERE id = ?1", &params![id])
}

fn counters(tx: &mut Tx<'_>) -> Result<Vec<i64>> {
    tx.query("SELECT value FROM counters ORDER BY id", &[], |row| row.int(0))
}

/// Holds the lock of the first counter, until the sender is dropped.
async fn lock_first_counter(db: &Db) -> (Sender<()>, JoinHandle<Result<()>>) {
    let (go, wait) = channel::<()>();
    let (started, holds) = channel();
    let holder = db.clone();
    let holder = tokio::spawn(async move {
        let hold = move |tx: &mut Tx<'_>| {
            increment(tx, 1)?;
            started.send(()).expect("the test waits for it");
            while let Err(TryRecvError::Empty) = wait.try_recv() {
                pause(tx)?;
            }
            Ok::<_, Error>(())
        };
        holder.write(hold).await
    });
    tokio::task::yield_now().await;
    holds.recv().expect("it holds the lock");
    (go, holder)
}

/// Waits for a moment with a statement: a closure may wait for nothing else.
fn pause(tx: &mut Tx<'_>) -> Result<()> {
    tx.query("SELECT pg_sleep(0.001)::text", &[], |_| Ok(())).map(drop)
}

/// Waits until `number` transactions are here.
fn meet(tx: &mut Tx<'_>, here: &AtomicUsize, number: usize) -> Result<()> {
    here.fetch_add(1, SeqCst);
    while here.load(SeqCst) < number {
        pause(tx)?;
    }
    Ok(())
}

/// Asserts that all connections can be used at the same time, and that nothing waits.
async fn assert_all_connections_work(db: &Db) {
    let all = Arc::new(AtomicUsize::new(0));
    let writes: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (db, all) = (db.clone(), Arc::clone(&all));
            let write = move |tx: &mut Tx<'_>| {
                let value = counters(tx)?;
                meet(tx, &all, CONNECTIONS)?;
                Ok::<_, Error>(value)
            };
            tokio::spawn(async move { db.write(write).await })
        })
        .collect();
    for write in writes {
        let write = tokio::time::timeout(PATIENCE, write).await.expect("a slot was lost");
        write.expect("it does not panic").expect("a connection is of no use");
    }
    until(|| db.stats().queued == 0);
    assert!(db.stats().connections <= 2 * CONNECTIONS + 2, "{:?}", db.stats());
}

/// Waits until a condition holds that others bring about.
fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}
