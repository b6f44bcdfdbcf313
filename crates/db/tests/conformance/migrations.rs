//! The schema and the lock: what may be opened, by whom, and how it becomes newer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use db::{Db, Error, Migrated, Migration, Url, params};
use tempfile::TempDir;

use crate::{Fresh, SCHEMA, add, count, files, names, url};

const SECOND: Migration = Migration {
    version: 2,
    name: "more",
    sql: "ALTER TABLE users ADD COLUMN age INTEGER;
          CREATE TABLE rooms (id INTEGER PRIMARY KEY) STRICT;",
};
const NEWER: &[Migration] = &[SCHEMA[0], SECOND];

/// What stands in a database: its steps with the time of each, and its tables.
fn state(path: &Path) -> (Vec<(i64, String, i64)>, Vec<String>) {
    let connection = rusqlite::Connection::open(path).expect("the file can be opened");
    let mut steps = connection
        .prepare("SELECT version, name, applied_at FROM schema_migrations ORDER BY version")
        .expect("it has steps");
    let steps = steps
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("they can be read")
        .collect::<rusqlite::Result<_>>();
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .expect("it has tables");
    let tables = tables
        .query_map([], |row| row.get(0))
        .expect("they can be read")
        .collect::<rusqlite::Result<_>>();
    (steps.expect("steps are whole"), tables.expect("names are texts"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

fn nowhere() -> (TempDir, Url, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("postroom.db");
    (folder, url(&path), path)
}

#[tokio::test]
async fn a_new_database_is_brought_to_the_newest_schema_at_once() {
    let (_folder, url, path) = nowhere();
    let migrated = Db::migrate(&url, NEWER, 77).unwrap();
    assert_eq!(migrated, Migrated { from: 0, to: 2, copy: None });
    let steps = vec![(1, "start".to_owned(), 77), (2, "more".to_owned(), 77)];
    assert_eq!(state(&path).0, steps);
    let db = Db::open(&url, NEWER).unwrap();
    db.write(|tx| tx.execute("INSERT INTO users (name, age) VALUES ('ann', 7)", &[]))
        .await
        .unwrap();
    assert_eq!(db.read(count).await, Ok(1));
}

#[test]
fn migrating_again_does_nothing() {
    let (folder, url, path) = nowhere();
    Db::migrate(&url, NEWER, 77).unwrap();
    let before = state(&path);
    assert_eq!(Db::migrate(&url, NEWER, 78), Ok(Migrated { from: 2, to: 2, copy: None }));
    assert_eq!(state(&path), before);
    assert_eq!(files(folder.path()), ["postroom.db"]);
}

#[test]
fn a_newer_schema_is_refused() {
    let (_folder, url, path) = nowhere();
    Db::migrate(&url, NEWER, 1).unwrap();
    let before = state(&path);
    let refused = Some(Error::SchemaNewer { found: 2, known: 1 });
    assert_eq!(Db::migrate(&url, SCHEMA, 2).err(), refused);
    assert_eq!(Db::open(&url, SCHEMA).err(), refused);
    assert_eq!(Db::open_beside(&url, SCHEMA).err(), refused);
    assert_eq!(state(&path), before);
}

#[test]
fn a_step_that_was_changed_after_it_shipped_is_refused() {
    let (folder, url, path) = nowhere();
    Db::migrate(&url, SCHEMA, 1).unwrap();
    let before = state(&path);
    let changed = Migration { sql: "CREATE TABLE others (id INTEGER) STRICT;", ..SCHEMA[0] };
    for schema in [&[changed][..], &[changed, SECOND]] {
        assert_eq!(Db::migrate(&url, schema, 2).err(), Some(Error::SchemaChanged(1)));
        assert_eq!(Db::open(&url, schema).err(), Some(Error::SchemaChanged(1)));
        assert_eq!(Db::open_beside(&url, schema).err(), Some(Error::SchemaChanged(1)));
    }
    assert_eq!(state(&path), before);
    assert_eq!(files(folder.path()), ["postroom.db"]);
}

#[tokio::test]
async fn the_file_is_copied_before_it_is_changed() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let closed = fresh.closed();
    let copy = closed.beside("postroom.db.before-2");
    let migrated = Db::migrate(&closed.url, NEWER, 2).unwrap();
    assert_eq!(migrated, Migrated { from: 1, to: 2, copy: Some(copy.clone()) });
    assert_eq!(mode(&copy), 0o600);
    let old = Db::open(&url(&copy), SCHEMA).expect("the copy has the old schema");
    assert_eq!(old.read(count).await, Ok(1));
    let new = Db::open(&closed.url, NEWER).unwrap();
    assert_eq!(new.read(count).await, Ok(1));
}

#[tokio::test]
async fn a_copy_of_an_earlier_attempt_is_not_taken_for_one_of_now() {
    let failing = Migration { sql: "DROP TABLE nowhere", ..SECOND };
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    fresh.db.close();
    Db::migrate(&fresh.url, &[SCHEMA[0], failing], 2).unwrap_err();
    // The old program goes on for a week.
    let again = Db::open(&fresh.url, SCHEMA).unwrap();
    again.write(add("ben")).await.unwrap();
    again.close();
    let copy = Db::migrate(&fresh.url, NEWER, 3).unwrap().copy.expect("it was copied");
    assert_eq!(names(&copy), ["ann", "ben"]);
}

#[test]
fn tables_of_another_program_are_copied_too_before_ours_come_in() {
    let (_folder, url, path) = nowhere();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('keep')").unwrap();
    drop(other);
    let copy = Db::migrate(&url, SCHEMA, 1).unwrap().copy.expect("there was something to lose");
    let copied = rusqlite::Connection::open(copy).unwrap();
    let text = copied.query_row("SELECT text FROM notes", [], |row| row.get::<_, String>(0));
    assert_eq!(text, Ok("keep".to_owned()));
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_database_as_it_was() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let closed = fresh.closed();
    let before = state(closed.url.path());
    let failing = Migration {
        version: 3,
        name: "fails",
        sql: "CREATE TABLE half (id INTEGER) STRICT; DELETE FROM users;
              INSERT INTO nowhere VALUES (1);",
    };
    let schema = [SCHEMA[0], SECOND, failing];
    assert!(matches!(Db::migrate(&closed.url, &schema, 2), Err(Error::Engine(_))));
    assert_eq!(state(closed.url.path()), before);
    let db = Db::open(&closed.url, SCHEMA).expect("the old program can go on");
    assert_eq!(db.read(count).await, Ok(1));
}

#[test]
fn a_new_database_whose_first_step_failed_can_be_made_again() {
    let (_folder, url, path) = nowhere();
    let failing = Migration { sql: "CREATE TABLE half (id INTEGER) STRICT; nonsense", ..SCHEMA[0] };
    assert!(matches!(Db::migrate(&url, &[failing], 1), Err(Error::Engine(_))));
    assert_eq!(Db::open(&url, SCHEMA).err(), Some(Error::SchemaOlder { found: 0, known: 1 }));
    assert_eq!(Db::migrate(&url, SCHEMA, 2), Ok(Migrated { from: 0, to: 1, copy: None }));
    assert!(!state(&path).1.contains(&"half".to_owned()));
}

#[test]
fn an_older_schema_must_be_migrated_before_it_is_opened() {
    let (_folder, url, path) = nowhere();
    let missing = Some(Error::SchemaOlder { found: 0, known: 2 });
    assert_eq!(Db::open(&url, NEWER).err(), missing);
    assert_eq!(Db::open_beside(&url, NEWER).err(), missing);
    assert!(!path.exists(), "opening made a file");
    Db::migrate(&url, SCHEMA, 1).unwrap();
    let older = Some(Error::SchemaOlder { found: 1, known: 2 });
    assert_eq!(Db::open(&url, NEWER).err(), older);
    assert_eq!(Db::open_beside(&url, NEWER).err(), older);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_folder, url, path) = nowhere();
    let text = "Dear diary, ".repeat(1000);
    fs::write(&path, &text).unwrap();
    assert!(Db::migrate(&url, SCHEMA, 1).is_err());
    assert!(Db::open(&url, SCHEMA).is_err());
    assert!(Db::open_beside(&url, SCHEMA).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let fresh = Fresh::new();
    let path = fresh.url.path().to_path_buf();
    assert_eq!(Db::open(&fresh.url, SCHEMA).err(), Some(Error::InUse(path.clone())));
    // Nor may a newer program change the schema under the one that runs.
    let before = state(&path);
    assert_eq!(Db::migrate(&fresh.url, NEWER, 2).err(), Some(Error::InUse(path.clone())));
    assert_eq!(state(&path), before);
    assert_eq!(Db::migrate(&fresh.url, SCHEMA, 2).map(|done| done.to), Ok(1), "nothing to do");
    fresh.db.write(add("ann")).await.unwrap();
    drop(fresh.db);
    let next = Db::open(&fresh.url, SCHEMA).unwrap();
    assert_eq!(next.read(count).await, Ok(1));
}

#[test]
fn the_lock_is_let_go_of_even_while_processes_are_being_started() {
    let enough = AtomicBool::new(false);
    let start = || {
        while !enough.load(SeqCst) {
            // Until it has become another program, it has a copy of every open file.
            Command::new("true").status().expect("it can be started");
        }
    };
    thread::scope(|scope| {
        let _others = [scope.spawn(start), scope.spawn(start)];
        let in_use = (0..60).find_map(|_| {
            let (_folder, url, _path) = nowhere();
            let opened = Db::migrate(&url, SCHEMA, 1)
                .and_then(|_| Db::open(&url, SCHEMA).map(drop))
                .and_then(|()| Db::open(&url, SCHEMA).map(drop));
            opened.err()
        });
        enough.store(true, SeqCst);
        assert_eq!(in_use, None);
    });
}

#[tokio::test]
async fn a_command_beside_the_server_reads_and_writes_as_it_does() {
    let fresh = Fresh::new();
    let beside = Db::open_beside(&fresh.url, SCHEMA).unwrap();
    for round in 1..=20 {
        fresh.db.write(add(format!("server {round}"))).await.unwrap();
        assert_eq!(beside.read(count).await, Ok(2 * round - 1));
        beside.write(add(format!("command {round}"))).await.unwrap();
        assert_eq!(fresh.db.read(count).await, Ok(2 * round));
    }
    let twice = beside.write(add("server 1")).await;
    assert_eq!(twice, Err(Error::Unique("users_name_key".into())));
    beside.close();
    fresh.db.write(add("after")).await.unwrap();
    assert_eq!(names(fresh.url.path()).len(), 41);
}

#[tokio::test]
async fn the_two_wait_for_each_others_commits() {
    let fresh = Fresh::new();
    let beside = Db::open_beside(&fresh.url, SCHEMA).unwrap();
    let writes = |db: Db, who: &'static str| {
        thread::spawn(move || {
            for round in 0..50 {
                let add = move |tx: &mut db::Tx<'_>| {
                    let name = format!("{who} {round}");
                    tx.execute("INSERT INTO users (name) VALUES (?1)", &params![&*name])
                };
                assert_eq!(crate::now(db.write(add)), Ok(1));
            }
        })
    };
    let both = [writes(fresh.db.clone(), "server"), writes(beside, "command")];
    for one in both {
        one.join().unwrap();
    }
    assert_eq!(fresh.db.read(count).await, Ok(100));
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let present = files(fresh.folder.path());
    assert_eq!(present, ["postroom.db", "postroom.db-shm", "postroom.db-wal"]);
    for name in present {
        assert_eq!(mode(&fresh.folder.path().join(&name)), 0o600, "of {name:?}");
    }
    assert_eq!(mode(&fresh.beside("postroom.db.lock")), 0o600);
}
