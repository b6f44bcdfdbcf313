//! Migration, backup and restore on a full or failing disk: all or nothing.

use std::fs;

use crate::place::Operation::{Rename, Sync, Write};
use crate::place::{EIO, ENOSPC, FILE, Fault, LOG, Place};

#[test]
fn a_migration_on_a_full_or_failing_disk_changes_nothing() {
    for (operation, error) in [(Write, ENOSPC), (Write, EIO), (Sync, EIO)] {
        let place = Place::new();
        let mut server = place.start();
        place.arm(Fault::once(operation, LOG, error));
        assert!(server.ask("migrate-more").starts_with("error "));
        assert_eq!(place.hits(), 1);
        server.leave();
        assert_eq!(place.rows_of_a_new_start(), "1 2", "under the old schema");
        assert_eq!(place.start().ask("migrate-more"), "ok");
    }
}

#[test]
fn a_backup_on_a_full_or_failing_disk_leaves_nothing() {
    let place = Place::new();
    let mut server = place.open();
    let target = place.path("backup");
    let faults = [
        Fault::once(Write, ".partial", ENOSPC),
        Fault::once(Write, ".partial", EIO),
        // SQLite syncs the copy, and so do we.
        Fault::once(Sync, ".partial", EIO),
        Fault::once(Sync, ".partial", EIO).after(1),
        Fault::once(Rename, ".partial", EIO),
    ];
    for fault in faults {
        place.arm(fault);
        let answer = server.ask("backup backup");
        assert!(answer.starts_with("error "), "{answer} with {fault:?}");
        assert_eq!(place.hits(), 1);
        assert!(!target.exists() && !place.path("backup.postroom.partial").exists(), "{fault:?}");
        // Another file failed, and the server continues.
        assert_eq!(server.ask("sound"), "ok");
    }
    place.heal();
    assert_eq!(server.ask("write 3"), "ok");
    assert_eq!(server.ask("backup backup"), "ok");
}

#[test]
fn a_restore_on_a_full_or_failing_disk_changes_nothing() {
    let place = Place::new();
    let mut server = place.open();
    assert_eq!(server.ask("backup backup"), "ok");
    assert_eq!(server.ask("write 3"), "ok");
    server.leave();
    for (operation, error) in [(Write, ENOSPC), (Write, EIO), (Sync, EIO), (Rename, EIO)] {
        let mut server = place.start();
        place.arm(Fault::once(operation, ".partial", error));
        let answer = server.ask("restore backup now");
        assert!(answer.starts_with("error "), "{answer} with {operation:?}");
        assert_eq!(place.hits(), 1);
        server.leave();
        for left in ["post.db.postroom.partial", "post.db.before-restore-now"] {
            assert!(!place.path(left).exists(), "{left} with {operation:?}");
        }
        assert_eq!(place.rows_of_a_new_start(), "1 2 3", "with {operation:?}");
    }
    place.heal();
    assert_eq!(place.start().ask("restore backup now"), "ok");
    assert_eq!(place.rows_of_a_new_start(), "1 2 9");
}

#[test]
fn a_restore_that_cannot_copy_the_old_log_back_keeps_it() {
    let place = Place::new();
    let mut server = place.open();
    assert_eq!(server.ask("backup backup"), "ok");
    // Writes acknowledged from now on stay in the log.
    place.arm(Fault::once(Write, FILE, ENOSPC).forever());
    assert_eq!(server.ask("write 3"), "ok");
    drop(server.kill());
    let mut server = place.start();
    assert_eq!(server.ask("restore backup now"), "ok");
    server.leave();
    assert_eq!(place.rows_of_a_new_start(), "1 2 9");
    let kept = place.path("post.db.before-restore-now");
    fs::rename(place.path("post.db.before-restore-now-wal"), place.path("post.db-wal")).unwrap();
    fs::rename(kept, place.path(FILE)).unwrap();
    assert_eq!(place.rows_of_a_new_start(), "1 2 3", "put back, it is all there");
}
