//! The promises of the crate, those of `lib.rs` first, each as a test on a database of its own.
//!
//! What needs a failing device, a full disk or a killed process is in `faults.rs`.

#[path = "conformance/copies.rs"]
mod copies;
#[path = "conformance/migrations.rs"]
mod migrations;
#[path = "conformance/reads.rs"]
mod reads;
#[path = "conformance/values.rs"]
mod values;
#[path = "conformance/writes.rs"]
mod writes;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

use db::{Db, Error, Migration, Result, Tx, Url, params};
use tempfile::TempDir;

const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "start",
    sql: "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
          CREATE TABLE seats (
              hall TEXT NOT NULL, seat INTEGER NOT NULL, UNIQUE (hall, seat)
          ) STRICT;
          CREATE TABLE things (
              id INTEGER PRIMARY KEY, whole INTEGER, words TEXT, bytes BLOB
          ) STRICT;",
}];

/// Longer than anything here takes; after it the test has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// An open database; it and its folder go with it.
struct Fresh {
    db: Db,
    url: Url,
    folder: TempDir,
}

impl Fresh {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = url(&folder.path().join("postroom.db"));
        Db::migrate(&url, SCHEMA, 1).expect("a new database can be made");
        let db = Db::open(&url, SCHEMA).expect("it can be opened");
        Self { db, url, folder }
    }

    /// A path in the folder of the database.
    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Closes the database, so that the file alone is all of it.
    fn closed(self) -> Closed {
        self.db.close();
        Closed { url: self.url, folder: self.folder }
    }
}

/// A database that nobody has open.
struct Closed {
    url: Url,
    folder: TempDir,
}

impl Closed {
    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn url(path: &Path) -> Url {
    Url::parse(&format!("sqlite:{}", path.display()), Path::new("/")).expect("a path is a URL")
}

/// The names of all files in a folder, without the lock's, which stays.
fn files(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("its entries too").file_name())
        .filter(|name| !name.to_string_lossy().ends_with(".lock"))
        .collect();
    names.sort();
    names
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

/// The names of all users of a file, as another program finds them.
fn names(path: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).expect("the file can be opened");
    let mut statement =
        connection.prepare("SELECT name FROM users ORDER BY id").expect("it has users");
    let rows = statement.query_map([], |row| row.get(0)).expect("they can be read");
    rows.collect::<rusqlite::Result<_>>().expect("they are texts")
}

/// Polls a future once, which is what asks for its work; it must not be answered yet.
async fn asked<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "it was answered at once");
        Poll::Ready(())
    })
    .await;
    future
}

/// Waits for a future where nothing else does, in a thread or within a read.
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

/// Keeps the writer busy with a write that changes nothing, until the answer is dropped.
fn hold(db: &Db) -> Sender<()> {
    let (go, wait) = channel();
    let (started, running) = channel();
    let job = move |_tx: &mut Tx<'_>| {
        // It may be run again for the sake of its neighbours, when nobody waits any more.
        started.send(()).unwrap_or_default();
        // It ends with the sender.
        wait.recv().unwrap_or_default();
        Ok(())
    };
    db.write_later(job).expect("the queue has room");
    running.recv().expect("the writer runs it");
    go
}

/// Waits until something holds that another thread does.
fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}

#[test]
fn a_url_is_a_scheme_and_a_path() {
    let base = Path::new("/var/lib/postroom");
    let path = |text| Url::parse(text, base).map(|url| url.path().to_path_buf());
    assert_eq!(path("sqlite:postroom.db"), Ok("/var/lib/postroom/postroom.db".into()));
    assert_eq!(path("sqlite:a b/ä.db"), Ok("/var/lib/postroom/a b/ä.db".into()));
    assert_eq!(path("sqlite:/srv/post.db"), Ok("/srv/post.db".into()));
    assert_eq!(path("sqlite:///srv/post.db"), Ok("/srv/post.db".into()));
    assert_eq!(path("sqlite://post.db"), Ok("/var/lib/postroom/post.db".into()));
    for wrong in ["", "sqlite", "sqlite:", "sqlite://", "SQLITE:a", "/srv/post.db", "a.db"] {
        assert!(matches!(path(wrong), Err(Error::Url(_))), "{wrong} was taken");
    }
}

#[test]
fn a_wrong_url_is_not_repeated_for_it_may_hold_a_password() {
    let wrong = Url::parse("mysql://ann:hunter2@host/db", Path::new("/")).unwrap_err();
    assert!(!format!("{wrong} {wrong:?}").contains("hunter2"), "{wrong:?}");
}
