//! Copies from one database into another, between all engines that are here: nothing is changed on
//! the way, and nothing is there until all of it is.

#[path = "moving/refusals.rs"]
mod refusals;
#[path = "moving/values.rs"]
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

/// An address, and what goes with it.
struct Home {
    url: Url,
    kept: Kept,
}

enum Kept {
    Folder(TempDir),
    Database(Database),
}

impl Home {
    /// A place without a database.
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::File => {
                let folder = tempfile::tempdir().expect("a folder can be made");
                let path = folder.path().join("postroom.db");
                Self { url: url(&format!("sqlite:{}", path.display())), kept: Kept::Folder(folder) }
            }
            Kind::Server => {
                let database = Database::empty();
                Self { url: url(&database.url()), kept: Kept::Database(database) }
            }
        }
    }

    /// A database with the schema.
    fn migrated(kind: Kind, schema: &[Migration]) -> Self {
        let home = Self::new(kind);
        Db::migrate(&home.url, schema, 1).expect("a new database can be made");
        home
    }

    /// A database that a write has filled.
    fn filled<F>(kind: Kind, f: F) -> Self
    where
        F: FnMut(&mut Tx<'_>) -> Result<()> + Send + 'static,
    {
        let home = Self::migrated(kind, SCHEMA);
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

    /// The file, where it is one.
    fn path(&self) -> PathBuf {
        self.url.path().expect("it is a file").to_path_buf()
    }

    /// What there is: the files of the folder, or the tables of the database.
    fn traces(&self) -> Vec<String> {
        let mut traces: Vec<String> = match &self.kept {
            Kept::Folder(folder) => {
                let files = std::fs::read_dir(folder.path()).expect("it can be read");
                let names = files.map(|file| file.expect("it can be read").file_name());
                let names = names.map(|name| name.into_string().expect("it is text"));
                // The lock's file stays.
                names.filter(|name| !name.contains(".lock")).collect()
            }
            Kept::Database(database) => {
                let tables = "SELECT relname FROM pg_class
                     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
                testing::sql(&database.url(), tables).into_iter().flatten().collect()
            }
        };
        traces.sort();
        traces
    }

    /// Statements for its server alone.
    #[track_caller]
    fn sql(&self, text: &str) -> testing::Rows {
        match &self.kept {
            Kept::Database(database) => testing::sql(&database.url(), text),
            Kept::Folder(_) => panic!("it is a file"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Server,
}

/// The engines that there are; says where one is missing.
fn kinds() -> &'static [Kind] {
    if shared().is_some() {
        return &[Kind::File, Kind::Server];
    }
    drop(writeln!(std::io::stderr(), "PostgreSQL: skipped (binary moving)"));
    &[Kind::File]
}

/// From each to each.
fn ways() -> impl Iterator<Item = (Kind, Kind)> {
    kinds().iter().flat_map(|from| kinds().iter().map(|to| (*from, *to)))
}

fn url(text: &str) -> Url {
    Url::parse(text, Path::new("/")).expect("it is a URL")
}

fn copy(from: &Home, to: &Home) -> Result<Vec<Copied>> {
    copy_with(from, to, |_progress| {})
}

fn copy_with(
    from: &Home,
    to: &Home,
    progress: impl FnMut(Progress<'_>) + Send,
) -> Result<Vec<Copied>> {
    Db::copy(&from.url, &to.url, SCHEMA, 2, progress)
}

/// Waits for a future on this thread, which nothing else needs.
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
