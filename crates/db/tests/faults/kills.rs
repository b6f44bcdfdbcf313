//! Processes that are killed: at any moment, and at each system call in turn.

use db::Db;

use crate::child;
use crate::place::Operation::{Link, Rename, Sync, Truncate, Unlink, Write};
use crate::place::{FILE, Fault, KILLED, Place, Server};

#[test]
fn acknowledged_writes_survive_a_kill_once_and_in_order() {
    let place = Place::new();
    let mut acknowledged = 2;
    for more in [1, 2, 7, 30, 100, 300, 1000, 3000, 5000, 8000] {
        let mut server = place.open();
        let there = all_of(&server.ask("rows"), acknowledged);
        server.tell(&format!("stream {}", there + 1));
        let mut said: Vec<_> = (0..more).map(|_| server.line()).collect();
        said.extend(server.kill());
        acknowledged = there + said.len();
        assert_eq!(said.last(), Some(&acknowledged.to_string()), "they are answered in order");
        assert_eq!(Db::integrity(&child::url(place.folder.path())), Ok(vec![]));
    }
    all_of(&place.rows_of_a_new_start(), acknowledged);
}

/// The number of rows: those acknowledged, and at most the few submitted after them.
fn all_of(rows: &str, acknowledged: usize) -> usize {
    let rows: Vec<usize> = rows.split(' ').map(|row| row.parse().expect("a number")).collect();
    let there = rows.len();
    assert_eq!(rows, (1..=there).collect::<Vec<_>>(), "each once and in order");
    assert!(there >= acknowledged, "{there} of {acknowledged} are there");
    assert!(there <= acknowledged + child::AT_ONCE, "{there}, more than was asked for");
    there
}

/// Kills the process at each system call of `command` in turn, until there are no more.
///
/// `begin` prepares what the command needs; `check` examines what is left.
fn killed_at_each_step(
    begin: impl Fn() -> (Place, Server),
    command: &str,
    check: impl Fn(&Place, &str),
) {
    let mut steps = 0;
    for operation in [Write, Sync, Truncate, Link, Unlink, Rename] {
        for step in 0.. {
            let (place, server) = begin();
            place.arm(Fault::once(operation, "", KILLED).after(step));
            if let Some(answer) = server.ask_once(command) {
                assert_eq!(answer, "ok");
                check(&place, "at the end");
                break;
            }
            steps += 1;
            check(&place, &format!("killed at {operation:?} {step}"));
        }
    }
    assert!(steps >= 4, "only {steps} steps");
}

#[test]
fn a_write_that_is_killed_at_any_step_happens_or_not() {
    let begin = || {
        let place = Place::new();
        let server = place.open();
        (place, server)
    };
    killed_at_each_step(begin, "write 3", |place, when| {
        let rows = place.rows_of_a_new_start();
        assert!(rows == "1 2 3" || rows == "1 2" && when != "at the end", "{rows} {when}");
    });
}

#[test]
fn a_migration_that_is_killed_at_any_step_is_done_or_not() {
    let begin = || {
        let place = Place::new();
        let server = place.start();
        (place, server)
    };
    killed_at_each_step(begin, "migrate-more", |place, when| {
        place.heal();
        assert_eq!(place.start().ask("migrate-more"), "ok", "again, {when}");
        assert_eq!(place.rows_after("open-more"), "1 2", "{when}");
        let copy = place.path("post.db.before-2");
        assert_eq!(Db::integrity(&child::at(&copy)), Ok(vec![]), "{when}");
    });
}

#[test]
fn a_backup_that_is_killed_at_any_step_is_complete_or_missing() {
    let begin = || {
        let place = Place::new();
        let server = place.start();
        (place, server)
    };
    // The child processes run in the folder of the database.
    killed_at_each_step(begin, "backup backup", |place, when| {
        place.heal();
        let target = place.path("backup");
        if !target.exists() {
            assert_ne!(when, "at the end");
            assert_eq!(place.start().ask("backup backup"), "ok", "again, {when}");
        }
        assert_eq!(Db::integrity(&child::at(&target)), Ok(vec![]), "{when}");
        assert_eq!(place.rows_of_a_new_start(), "1 2", "{when}");
    });
}

#[test]
fn a_restore_that_is_killed_at_any_step_leaves_the_old_or_the_new_database() {
    let begin = || {
        let place = Place::new();
        let mut server = place.open();
        assert_eq!(server.ask("backup backup"), "ok");
        assert_eq!(server.ask("write 3"), "ok");
        // Its log is left for the restore.
        drop(server.kill());
        let server = place.start();
        (place, server)
    };
    killed_at_each_step(begin, "restore backup first", |place, when| {
        assert!(place.path(FILE).exists(), "a start would make an empty database, {when}");
        let rows = place.rows_of_a_new_start();
        let old = rows == "1 2 3" && when != "at the end";
        assert!(old || rows == "1 2 9", "{rows} {when}");
        if !old {
            let kept = place.path("post.db.before-restore-first");
            let kept = rusqlite::Connection::open(kept).unwrap();
            let rows = kept.query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0));
            assert_eq!(rows, Ok(3), "what was there is kept, {when}");
        }
        assert_eq!(place.start().ask("restore backup second"), "ok", "again, {when}");
        assert_eq!(place.rows_of_a_new_start(), "1 2 9", "{when}");
        assert!(!place.path("post.db.postroom.partial").exists(), "{when}");
    });
}
