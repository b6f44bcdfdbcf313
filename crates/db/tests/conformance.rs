//! The promises of the crate, beginning with those in `lib.rs`. Each test has its own database.
//!
//! All tests run on SQLite and, if there is a server, on PostgreSQL, except those in `file.rs`.
//! Tests that need a failing device, a full disk or a killed process are in `faults.rs`; those
//! that need a failing server or network are in `postgres.rs`.

#[path = "conformance/file.rs"]
mod file;
#[path = "conformance/migrations.rs"]
mod migrations;
#[path = "conformance/notices.rs"]
mod notices;
#[path = "conformance/pace.rs"]
mod pace;
#[path = "conformance/reads.rs"]
mod reads;
#[path = "conformance/turns.rs"]
mod turns;
#[path = "conformance/values.rs"]
mod values;
#[path = "conformance/verbs.rs"]
mod verbs;
#[path = "conformance/writes.rs"]
mod writes;

use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use db::{Db, Error, Migration, Options, Result, Tx, Url, params};
use tempfile::TempDir;
use testing::{Database, Engine, engine};

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "start",
    oldest: 1,
    sql: "CREATE TABLE users (
              id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE
          ) STRICT;
          CREATE TABLE seats (
              hall TEXT NOT NULL, seat INTEGER NOT NULL, UNIQUE (hall, seat)
          ) STRICT;
          CREATE TABLE marks (
              owner INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (owner, place)
          ) STRICT, WITHOUT ROWID;
          CREATE TABLE young (
              id INTEGER PRIMARY KEY, word TEXT UNIQUE, part INTEGER, UNIQUE (word, part)
          ) STRICT;
          ALTER TABLE young RENAME TO renamed;
          CREATE TABLE things (
              id INTEGER PRIMARY KEY AUTOINCREMENT, whole INTEGER, words TEXT, bytes BLOB
          ) STRICT;",
}];

/// Longer than anything here takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_mins(1);
/// Connections to a server, and so the number of concurrent writes.
const CONNECTIONS: usize = 4;

/// An open database, which is removed when this is dropped.
struct Fresh {
    db: Db,
    url: Url,
    place: Place,
}

/// What must live as long as a database.
enum Place {
    Folder(TempDir),
    Database(#[expect(dead_code, reason = "it goes with the value")] Database),
}

impl Place {
    /// A path without a file, or an empty database.
    fn new() -> (Self, Url) {
        match engine() {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder can be made");
                let url = url(&folder.path().join("postroom.db"));
                (Self::Folder(folder), url)
            }
            Engine::Postgres => {
                let database = Database::empty();
                let url = server(&database.url());
                (Self::Database(database), url)
            }
        }
    }
}

impl Fresh {
    fn new() -> Self {
        let (place, url) = match engine() {
            Engine::Sqlite => {
                let (place, url) = Place::new();
                Db::migrate(&url, SCHEMA, 1).expect("a new database can be made");
                (place, url)
            }
            Engine::Postgres => {
                let database = Database::fresh(|url| {
                    Db::migrate(&server(url), SCHEMA, 1).expect("a new database can be made");
                });
                let url = server(&database.url());
                (Place::Database(database), url)
            }
        };
        let db = Db::open(&url, SCHEMA).expect("it can be opened");
        Self { db, url, place }
    }

    /// A second handle, like that of another node or a command.
    fn beside(&self) -> Db {
        Db::open_beside(&self.url, SCHEMA).expect("it can be opened beside")
    }

    /// A handle that a closure in these tests may wait for, although closures must not wait: on
    /// SQLite the same one, on PostgreSQL that of another node, whose threads are free.
    fn others(&self) -> Db {
        match engine() {
            Engine::Sqlite => self.db.clone(),
            Engine::Postgres => self.beside(),
        }
    }

    /// The names of all users in alphabetical order, read through a second handle.
    fn names(&self) -> Vec<String> {
        let sorted = |tx: &mut Tx<'_>| {
            let names = "SELECT name FROM users ORDER BY name";
            tx.query(names, &[], |row| Ok(row.text(0)?.to_owned()))
        };
        now(self.beside().read::<_, Error, _>(sorted)).expect("they can be read")
    }
}

/// A file.
fn url(path: &Path) -> Url {
    Url::parse(&format!("sqlite:{}", path.display()), Path::new("/")).expect("a path is a URL")
}

/// A database of the server, with time limits for a busy machine.
fn server(url: &str) -> Url {
    let options = Options {
        connections: CONNECTIONS,
        patience: PATIENCE / 2,
        lock_timeout: PATIENCE / 2,
        ..Options::default()
    };
    Url::with(url, Path::new("/"), options).expect("the server has a URL")
}

/// A write that adds a user.
fn add(name: impl Into<String>) -> impl FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static {
    let name = name.into();
    move |tx| tx.execute("INSERT INTO users (name) VALUES (?1)", &params![&*name]).map(drop)
}

/// A read of the names of all users, in the order in which they were added.
fn all(tx: &mut Tx<'_>) -> Result<Vec<String>> {
    tx.query("SELECT name FROM users ORDER BY id", &[], |row| Ok(row.text(0)?.to_owned()))
}

fn count(tx: &mut Tx<'_>) -> Result<i64> {
    tx.query_one("SELECT count(*) FROM users", &[], |row| row.int(0))
}

/// Polls a future once, which submits its work; it must not be ready yet.
async fn asked<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it was answered at once");
        Poll::Ready(())
    })
    .await;
    future
}

/// Waits for a future without a runtime, in a thread or within a read.
fn now<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

/// How many writes an engine runs at a time.
fn at_once() -> usize {
    match engine() {
        Engine::Sqlite => 1,
        Engine::Postgres => CONNECTIONS,
    }
}

/// Occupies all writers until the returned senders are dropped.
fn hold(db: &Db) -> Vec<Sender<()>> {
    let hold = |_| {
        let (go, wait) = channel();
        let (started, running) = channel();
        let job = move |tx: &mut Tx<'_>| {
            // It may run again after a neighbour has failed, when nobody receives this.
            started.send(()).unwrap_or_default();
            // Ends when the sender is dropped.
            while let Err(TryRecvError::Empty) = wait.try_recv() {
                pause(tx)?;
            }
            Ok(())
        };
        db.write_later(job).expect("the queue has room");
        running.recv().expect("somebody runs it");
        go
    };
    (0..at_once()).map(hold).collect()
}

/// Keeps a transaction busy for a moment, on PostgreSQL with a statement.
fn pause(tx: &mut Tx<'_>) -> Result<()> {
    match engine() {
        Engine::Sqlite => std::thread::sleep(Duration::from_millis(1)),
        Engine::Postgres => drop(tx.query("SELECT pg_sleep(0.001)::text", &[], |_| Ok(()))?),
    }
    Ok(())
}

/// Closes a database while 300 writes wait; each of them must succeed.
async fn close_while_300_wait(fresh: &Fresh) {
    let go = hold(&fresh.db);
    let mut waiting = Vec::new();
    for number in 0..300 {
        waiting.push(asked(fresh.db.write(add(format!("user {number}")))).await);
    }
    let closing = std::thread::spawn({
        let db = fresh.db.clone();
        move || db.close()
    });
    drop(go);
    for write in waiting {
        assert_eq!(write.await, Ok(()));
    }
    closing.join().expect("it does not panic");
}

/// Waits until a condition holds that another thread brings about.
fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}
