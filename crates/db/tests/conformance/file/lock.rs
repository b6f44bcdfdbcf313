//! The lock of a file, and who may read it.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use db::{Db, Error};

use super::{files, mode};
use crate::migrations::NEWER;
use crate::{Fresh, SCHEMA, add, count, url};

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let fresh = Fresh::new();
    let path = fresh.path().to_path_buf();
    assert_eq!(Db::open(&fresh.url, SCHEMA).err(), Some(Error::InUse(path.clone())));
    // Nor may a newer program migrate the database of a running one.
    assert_eq!(Db::migrate(&fresh.url, NEWER, 2).err(), Some(Error::InUse(path.clone())));
    assert_eq!(Db::migrate(&fresh.url, SCHEMA, 2).map(|done| done.to), Ok(1), "nothing to do");
    fresh.db.write(add("ann")).await.unwrap();
    drop(fresh.db);
    let next = Db::open(&fresh.url, SCHEMA).unwrap();
    assert_eq!(next.read(count).await, Ok(1));
}

#[test]
fn the_lock_is_released_even_while_processes_are_being_started() {
    let enough = AtomicBool::new(false);
    let start = || {
        while !enough.load(SeqCst) {
            // Between fork and exec, a child process has a copy of every open file.
            Command::new("true").status().expect("it can be started");
        }
    };
    thread::scope(|scope| {
        let _others = [scope.spawn(start), scope.spawn(start)];
        let in_use = (0..60).find_map(|_| {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let url = url(&folder.path().join("postroom.db"));
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
async fn only_the_owner_may_read_the_files() {
    let fresh = Fresh::new();
    fresh.db.write(add("ann")).await.unwrap();
    let present = files(fresh.folder().path());
    assert_eq!(present, ["postroom.db", "postroom.db-shm", "postroom.db-wal"]);
    for name in present {
        assert_eq!(mode(&fresh.folder().path().join(&name)), 0o600, "of {name:?}");
    }
    assert_eq!(mode(&fresh.in_folder("postroom.db.lock")), 0o600);
}
