//! Copies between databases of all available engines: nothing changes on the way, and the target
//! appears only when it is complete.

#[path = "copy/refusals.rs"]
mod refusals;
#[path = "copy/values.rs"]
mod values;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use db::{Copied, Db, Error, Migration, Progress, Result, Step, Tx, Url, params};
use tempfile::TempDir;
use testing::{Database, shared};

const SCHEMA: &[Migration] = &[
    Migration {
        version: 1,
        name: "start",
        sql: "CREATE TABLE things (
                  id INTEGER PRIMARY KEY AUTOINCREMENT, whole INTEGER, words TEXT, bytes BLOB
              ) STRICT;
              CREATE TABLE seats (
                  hall TEXT NOT NULL, seat INTEGER NOT NULL, note TEXT NOT NULL DEFAULT '',
                  PRIMARY KEY (hall, seat)
              ) STRICT, WITHOUT ROWID;
              CREATE TABLE marks (
                  mark BLOB NOT NULL PRIMARY KEY, seen_at INTEGER
              ) STRICT, WITHOUT ROWID;
              CREATE TABLE loose (a INTEGER, b TEXT) STRICT;
              CREATE TABLE seeds (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT;
              INSERT INTO seeds VALUES (1, 'a default'), (2, 'another');",
        oldest: 1,
    },
    Migration {
        version: 2,
        name: "more",
        sql: "ALTER TABLE seats ADD COLUMN taken_by INTEGER;
              CREATE TABLE \"order\" (\"group\" INTEGER PRIMARY KEY, \"a \"\"b\"\"\" TEXT) STRICT;
              -- The last word.",
        oldest: 2,
    },
];

/// An address, and what must live as long.
struct TestDatabase {
    url: Url,
    guard: Guard,
}

enum Guard {
    Folder(TempDir),
    Database(Database),
}

impl TestDatabase {
    /// A path without a file, or an empty database.
    fn new(engine: Engine) -> Self {
        match engine {
            Engine::File => {
                let folder = tempfile::tempdir().expect("a folder can be made");
                let path = folder.path().join("postroom.db");
                Self {
                    url: url(&format!("sqlite:{}", path.display())),
                    guard: Guard::Folder(folder),
                }
            }
            Engine::Server => {
                let database = Database::empty();
                Self { url: url(&database.url()), guard: Guard::Database(database) }
            }
        }
    }

    /// A database with the schema.
    fn migrated(engine: Engine, schema: &[Migration]) -> Self {
        let home = Self::new(engine);
        Db::migrate(&home.url, schema, 1).expect("a new database can be made");
        home
    }

    /// A database that a write has filled.
    fn filled<F>(engine: Engine, f: F) -> Self
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        let home = Self::migrated(engine, SCHEMA);
        home.write(f);
        home
    }

    fn open(&self) -> Db {
        Db::open(&self.url, SCHEMA).expect("it can be opened")
    }

    fn write<F, R>(&self, f: F) -> R
    where
        F: FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static,
        R: Send + 'static,
    {
        let db = self.open();
        let answer = now(db.write(f)).expect("it can be written to");
        db.close();
        answer
    }

    fn read<F, R>(&self, f: F) -> R
    where
        F: FnMut(&mut Tx<'_>) -> Result<R> + Send + 'static,
        R: Send + 'static,
    {
        let db = self.open();
        let answer = now(db.read(f)).expect("it can be read");
        db.close();
        answer
    }

    /// The path of a SQLite database.
    fn path(&self) -> PathBuf {
        self.url.path().expect("it is a file").to_path_buf()
    }

    /// What exists: the files of the folder, or the tables of the database.
    fn traces(&self) -> Vec<String> {
        let mut traces: Vec<String> = match &self.guard {
            Guard::Folder(folder) => {
                let files = std::fs::read_dir(folder.path()).expect("it can be read");
                let names = files.map(|file| file.expect("it can be read").file_name());
                let names = names.map(|name| name.into_string().expect("it is text"));
                // The lock's file stays.
                names.filter(|name| !name.contains(".lock")).collect()
            }
            Guard::Database(database) => {
                let tables = "SELECT relname FROM pg_class
                     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
                testing::sql(&database.url(), tables).into_iter().flatten().collect()
            }
        };
        traces.sort();
        traces
    }

    /// Runs statements on PostgreSQL only.
    #[track_caller]
    fn sql(&self, text: &str) -> testing::Rows {
        match &self.guard {
            Guard::Database(database) => testing::sql(&database.url(), text),
            Guard::Folder(_) => panic!("it is a file"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    File,
    Server,
}

/// The available engines; reports a missing one.
fn engines() -> &'static [Engine] {
    if shared().is_some() {
        return &[Engine::File, Engine::Server];
    }
    drop(writeln!(std::io::stderr(), "PostgreSQL: skipped (binary moving)"));
    &[Engine::File]
}

/// All pairs of source and target.
fn pairs() -> impl Iterator<Item = (Engine, Engine)> {
    engines().iter().flat_map(|from| engines().iter().map(|to| (*from, *to)))
}

fn url(text: &str) -> Url {
    Url::parse(text, Path::new("/")).expect("it is a URL")
}

fn copy(from: &TestDatabase, to: &TestDatabase) -> Result<Vec<Copied>> {
    copy_with(from, to, |_progress| {})
}

fn copy_with(
    from: &TestDatabase,
    to: &TestDatabase,
    progress: impl FnMut(Progress<'_>) + Send,
) -> Result<Vec<Copied>> {
    Db::copy(&from.url, &to.url, SCHEMA, 2, progress)
}

/// Waits for a future on this thread.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return output;
        }
        std::thread::yield_now();
    }
}
