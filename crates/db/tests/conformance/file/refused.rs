//! A file that is refused stays as it was, byte for byte, and nothing appears beside it.

use std::fs;
use std::path::Path;

use db::{Db, Error, Result, Url};
use rusqlite::Connection;

use crate::migrations::NEWER;
use crate::{Fresh, SCHEMA, url};

/// Everything in a folder, with its bytes.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder).expect("it can be read");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("it can be listed");
        let name = entry.file_name().into_string().expect("it is a name");
        // The index of a log that another program has open.
        let bytes = if name.ends_with("-shm") {
            Vec::new()
        } else {
            fs::read(entry.path()).expect("it is a file")
        };
        (name, bytes)
    };
    let mut all: Vec<_> = files.map(file).collect();
    all.sort();
    all
}

/// What every operation that opens a file says of it, by name.
fn said_of(it: &Url) -> Vec<(&'static str, Option<Error>)> {
    let elsewhere = tempfile::tempdir().expect("a folder can be made");
    let (copy, target) = (elsewhere.path().join("copy.db"), url(&elsewhere.path().join("to.db")));
    let error = |result: Result<()>| result.err();
    let said = vec![
        ("migrate", error(Db::migrate(it, SCHEMA, 1).map(drop))),
        ("open", error(Db::open(it, SCHEMA).map(drop))),
        ("beside", error(Db::open_beside(it, SCHEMA).map(drop))),
        ("alone", error(Db::open_alone(it, SCHEMA).map(drop))),
        ("backup", error(Db::backup(it, &copy))),
        ("check", error(Db::integrity(it).map(drop))),
        ("copy", error(Db::copy(it, &target, SCHEMA, 1, |_| {}).map(drop))),
    ];
    assert_eq!(everything(elsewhere.path()), [], "{said:?}");
    said
}

#[test]
fn the_database_of_another_program() {
    for make in [
        "CREATE TABLE notes (text)",
        "PRAGMA journal_mode = WAL; CREATE TABLE notes (text)",
        // As the migrations of a well known framework.
        "CREATE TABLE schema_migrations (version TEXT PRIMARY KEY); CREATE TABLE users (id)",
    ] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("a %3f?#ä.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch(make).unwrap();
        // While the other program has it open, and afterwards.
        for open in [Some(other), None] {
            let before = everything(folder.path());
            for (operation, error) in said_of(&url(&path)) {
                let refused = matches!(&error, Some(Error::NotOurs { database, .. })
                    if *database == path.display().to_string());
                assert!(refused, "{make}: {operation}: {error:?}");
                assert!(everything(folder.path()) == before, "{make}: {operation}");
            }
            drop(open);
        }
    }
}

#[test]
fn an_empty_file_is_a_new_database_for_a_migration_alone() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("postroom.db");
    fs::write(&path, "").unwrap();
    let it = url(&path);
    assert_eq!(Db::open(&it, SCHEMA).err(), Some(Error::SchemaOlder { found: 0, known: 1 }));
    assert_eq!(Db::open_beside(&it, SCHEMA).err(), Some(Error::SchemaOlder { found: 0, known: 1 }));
    let copy = folder.path().join("copy.db");
    let database = path.display().to_string();
    let empty = Error::NotOurs { database, what: "it is empty" };
    assert_eq!(Db::backup(&it, &copy).err(), Some(empty.clone()));
    assert_eq!(Db::integrity(&it).err(), Some(empty.clone()));
    let target = url(&folder.path().join("to.db"));
    assert_eq!(Db::copy(&it, &target, SCHEMA, 1, |_| {}).err(), Some(empty));
    assert_eq!(everything(folder.path()), [("postroom.db".to_owned(), vec![])]);
    assert_eq!(Db::migrate(&it, SCHEMA, 1).map(|done| done.to), Ok(1));
}

#[test]
fn what_is_no_database() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("postroom.db");
    fs::write(&path, "Dear diary, ".repeat(1000)).unwrap();
    let before = everything(folder.path());
    for (operation, error) in said_of(&url(&path)) {
        // The check says what is wrong with it.
        assert_eq!(error.is_some(), operation != "check", "{operation}: {error:?}");
        assert!(everything(folder.path()) == before, "{operation}");
    }
    for device in ["/dev/null", "/dev/zero"] {
        for (operation, error) in said_of(&url(Path::new(device))) {
            let told = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(told.contains("it is not a regular file"), "{device} {operation}: {told}");
        }
    }
}

#[test]
fn one_of_another_version_keeps_even_its_journal_mode() {
    let closed = Fresh::new().closed();
    let file = Connection::open(closed.path()).unwrap();
    file.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
    drop(file);
    let before = everything(closed.folder.path());
    let older = Some(Error::SchemaOlder { found: 1, known: 2 });
    assert_eq!(Db::open(&closed.url, NEWER).err(), older);
    assert_eq!(Db::open_beside(&closed.url, NEWER).err(), older);
    assert!(everything(closed.folder.path()) == before);
}

#[test]
fn the_file_of_the_lock_goes_with_the_lock() {
    let fresh = Fresh::new();
    let lock = fresh.in_folder("postroom.db.lock");
    assert!(lock.exists());
    // Refused by the lock, nobody takes it away.
    assert!(Db::open(&fresh.url, SCHEMA).is_err());
    assert!(lock.exists());
    let closed = fresh.closed();
    assert!(!lock.exists());
    let bad = closed.in_folder("bad.db");
    fs::write(&bad, "no backup").unwrap();
    Db::restore(&closed.url, &bad, SCHEMA, (1, "now"), |_, _| Ok(())).unwrap_err();
    assert!(!lock.exists());
    drop(Db::open(&closed.url, SCHEMA).unwrap());
    assert!(!lock.exists());
}

#[test]
fn a_log_whose_database_is_missing_is_kept() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("postroom.db");
    fs::write(folder.path().join("postroom.db-wal"), "what was written last").unwrap();
    for is_empty in [false, true] {
        if is_empty {
            fs::write(&path, "").unwrap();
        }
        let before = everything(folder.path());
        for operation in
            [Db::migrate(&url(&path), SCHEMA, 1).map(drop), Db::open(&url(&path), SCHEMA).map(drop)]
        {
            let told = operation.unwrap_err().to_string();
            assert!(told.contains("postroom.db-wal is the log of a database"), "{told}");
        }
        assert!(everything(folder.path()) == before);
    }
}

#[test]
fn a_copy_has_no_name_under_which_a_log_is_kept() {
    let closed = Fresh::new().closed();
    let before = everything(closed.folder.path());
    for name in ["postroom.db-wal", "postroom.db-shm", "postroom.db-journal"] {
        let told = Db::backup(&closed.url, &closed.in_folder(name)).unwrap_err().to_string();
        assert!(told.contains("cannot be the name of a copy"), "{told}");
    }
    assert!(everything(closed.folder.path()) == before);
}
