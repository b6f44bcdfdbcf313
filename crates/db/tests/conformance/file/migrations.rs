//! A file is copied before it is migrated.

use std::fs;
use std::path::{Path, PathBuf};

use db::{Db, Error, Migrated, Migration, Url};
use tempfile::TempDir;

use super::{files, mode, names};
use crate::migrations::{NEWER, SECOND};
use crate::{Fresh, SCHEMA, add, count, url};

/// The contents of a database: its applied steps with their times, and its tables.
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

fn nowhere() -> (TempDir, Url, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("postroom.db");
    (folder, url(&path), path)
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
    let copy = closed.in_folder("postroom.db.before-2");
    let migrated = Db::migrate(&closed.url, NEWER, 2).unwrap();
    assert_eq!(migrated, Migrated { from: 1, to: 2, copy: Some(copy.clone()) });
    assert_eq!(mode(&copy), 0o600);
    let old = Db::open(&url(&copy), SCHEMA).expect("the copy has the old schema");
    assert_eq!(old.read(count).await, Ok(1));
    let new = Db::open(&closed.url, NEWER).unwrap();
    assert_eq!(new.read(count).await, Ok(1));
}

#[tokio::test]
async fn a_copy_of_an_earlier_attempt_is_replaced() {
    let failing = Migration { sql: "DROP TABLE nowhere", ..SECOND };
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    fresh.db.close();
    Db::migrate(&fresh.url, &[SCHEMA[0], failing], 2).unwrap_err();
    // None is left of it; this one is of an attempt that was killed.
    let copy = fresh.in_folder("postroom.db.before-2");
    assert!(!copy.exists());
    fs::write(&copy, "half a copy").unwrap();
    // The old program continues for a week.
    let again = Db::open(&fresh.url, SCHEMA).unwrap();
    again.write(add("ben")).await.unwrap();
    again.close();
    let copy = Db::migrate(&fresh.url, NEWER, 3).unwrap().copy.expect("it was copied");
    assert_eq!(names(&copy), ["ann", "ben"]);
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_database_as_it_was() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let closed = fresh.closed();
    let before = state(closed.path());
    let failing = Migration {
        version: 3,
        name: "fails",
        oldest: 3,
        sql: "CREATE TABLE half (id INTEGER) STRICT; DELETE FROM users;
              INSERT INTO nowhere VALUES (1);",
    };
    let schema = [SCHEMA[0], SECOND, failing];
    assert!(matches!(Db::migrate(&closed.url, &schema, 2), Err(Error::Engine(_))));
    assert_eq!(state(closed.path()), before);
    let db = Db::open(&closed.url, SCHEMA).expect("the old program can go on");
    assert_eq!(db.read(count).await, Ok(1));
}

#[test]
fn a_new_database_whose_first_step_failed_can_be_migrated_later() {
    let (_folder, url, path) = nowhere();
    let failing = Migration { sql: "CREATE TABLE half (id INTEGER) STRICT; nonsense", ..SCHEMA[0] };
    assert!(matches!(Db::migrate(&url, &[failing], 1), Err(Error::Engine(_))));
    assert!(!path.exists());
    assert_eq!(Db::open(&url, SCHEMA).err(), Some(Error::SchemaOlder { found: 0, known: 1 }));
    assert_eq!(Db::migrate(&url, SCHEMA, 2), Ok(Migrated { from: 0, to: 1, copy: None }));
    assert!(!state(&path).1.contains(&"half".to_owned()));
}
