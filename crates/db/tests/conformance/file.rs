//! Promises that concern SQLite only: the file and its copies, the lock against a second server,
//! the single writer and its shared commits.

#[path = "file/copies.rs"]
mod copies;
#[path = "file/lock.rs"]
mod lock;
#[path = "file/log.rs"]
mod log;
#[path = "file/migrations.rs"]
mod migrations;
#[path = "file/refused.rs"]
mod refused;
#[path = "file/writer.rs"]
mod writer;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use db::{Error, Url};
use tempfile::TempDir;

use crate::{Fresh, Place, count, hold, now};

#[test]
fn everything_else_again_on_postgresql() {
    // This leaves out all tests of this module, which is for SQLite only.
    testing::again_on_postgres("file::");
}

impl Fresh {
    fn path(&self) -> &Path {
        file(&self.url)
    }

    /// A path in the folder of the database.
    fn in_folder(&self, name: &str) -> PathBuf {
        self.folder().path().join(name)
    }

    fn folder(&self) -> &TempDir {
        match &self.place {
            Place::Folder(folder) => folder,
            Place::Database(_) => panic!("this test is not for a server"),
        }
    }

    /// Closes the database, so that the file alone is the whole database.
    fn closed(self) -> Closed {
        self.db.close();
        let Place::Folder(folder) = self.place else { panic!("this test is not for a server") };
        Closed { url: self.url, folder }
    }
}

/// A closed database.
struct Closed {
    url: Url,
    folder: TempDir,
}

impl Closed {
    fn path(&self) -> &Path {
        file(&self.url)
    }

    fn in_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The path of a SQLite database.
fn file(url: &Url) -> &Path {
    url.path().expect("it is a file")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

/// The names of all files in a folder, except those of locks.
fn files(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("its entries too").file_name())
        .filter(|name| !name.to_string_lossy().ends_with(".lock"))
        .collect();
    names.sort();
    names
}

/// The names of all users in a file, read without the engine.
fn names(path: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).expect("the file can be opened");
    let mut statement =
        connection.prepare("SELECT name FROM users ORDER BY id").expect("it has users");
    let rows = statement.query_map([], |row| row.get(0)).expect("they can be read");
    rows.collect::<rusqlite::Result<_>>().expect("they are texts")
}

#[test]
fn a_url_is_a_scheme_and_a_path() {
    let base = Path::new("/var/lib/postroom");
    let path = |text| Url::parse(text, base).map(|url| file(&url).to_path_buf());
    assert_eq!(path("sqlite:postroom.db"), Ok("/var/lib/postroom/postroom.db".into()));
    assert_eq!(path("sqlite:a b/ä.db"), Ok("/var/lib/postroom/a b/ä.db".into()));
    assert_eq!(path("sqlite:/srv/post.db"), Ok("/srv/post.db".into()));
    assert_eq!(path("sqlite:///srv/post.db"), Ok("/srv/post.db".into()));
    assert_eq!(path("sqlite://post.db"), Ok("/var/lib/postroom/post.db".into()));
    for wrong in ["", "sqlite", "sqlite:", "sqlite://", "SQLITE:a", "/srv/post.db", "a.db"] {
        assert!(matches!(path(wrong), Err(Error::Url(_))), "{wrong} was taken");
    }
}

#[tokio::test]
async fn a_read_runs_on_the_calling_thread_and_does_not_wait_for_the_writer() {
    let fresh = Fresh::new();
    let go = hold(&fresh.db);
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(pin!(fresh.db.read(count)).poll(cx), Poll::Ready(Ok(0)));
    assert_eq!(fresh.db.scan(count).await, Ok(0));
    drop(go);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn only_a_scan_lets_all_other_threads_go_first() {
    let fresh = Fresh::new();
    // Of the calling thread, on Linux.
    let nice = || rustix::process::getpriority_process(None).expect("it has a priority");
    let before = nice();
    assert_eq!(fresh.db.scan(move |_tx| Ok::<_, Error>(nice())).await, Ok(19));
    assert_eq!(fresh.db.write(move |_tx| Ok::<_, Error>(nice())).await, Ok(before));
    assert_eq!(fresh.db.read(move |_tx| Ok::<_, Error>(nice())).await, Ok(before));
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let fresh = Fresh::new();
    let found = now(fresh.db.read(|tx| {
        tx.query_one("SELECT CAST(x'ff' AS TEXT)", &[], |row| row.text(0).map(str::to_owned))
    }));
    assert_eq!(found, Err(Error::Column { column: 0, expected: "UTF-8 text" }));
}

#[test]
fn more_parameters_than_the_statement_has_are_refused() {
    let fresh = Fresh::new();
    let two = [db::Value::Int(1), db::Value::Int(2)];
    let found = now(fresh.db.read(move |tx| tx.query("SELECT ?1", &two, |row| row.int(0))));
    assert!(matches!(found, Err(Error::Engine(_))));
}
