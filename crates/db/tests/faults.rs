//! Failed commits, failed syncs, full disks and killed processes, on the real engine.
//!
//! The database runs in a process of its own (`faults/child.rs`), in which a small library
//! (`faults/shim.c`) makes chosen system calls fail. Everything above them is production code.
#![cfg(target_os = "linux")]

#[path = "faults/child.rs"]
mod child;
#[path = "faults/copies.rs"]
mod copies;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/place.rs"]
mod place;
#[path = "faults/reserve.rs"]
mod reserve;

use std::fs;

use place::Operation::{Read, Sync, Truncate, Write};
use place::{EIO, ENOSPC, ESTALE, FILE, Fault, INDEX, LOG, Place, Server, until};

/// Makes a commit fail with `fault` on a server that worked until then.
fn assert_the_first_failed_commit_is_the_last(fault: Fault) {
    for end in Server::ends() {
        let place = Place::new();
        let mut server = place.open();
        place.arm(fault);
        server.ask_in_vain("write 3");
        assert_eq!(place.hits(), 1, "{fault:?}");
        place.heal();
        server.ask_in_vain("failed");
        for later in ["write 4", "write 5", "big 6 100000"] {
            server.ask_in_vain(later);
        }
        assert_eq!(server.ask("rows"), "1 2", "reads go on without it, after {fault:?}");
        end(server);
        // The failed one may have reached the disk; the later ones did not.
        let rows = place.rows_of_a_new_start();
        assert!(rows == "1 2" || rows == "1 2 3", "{rows} after {fault:?}");
    }
}

#[test]
fn after_a_failed_sync_of_the_log_nothing_is_acknowledged() {
    // The first sync is that of the log's header, the second that of the commit.
    assert_the_first_failed_commit_is_the_last(Fault::once(Sync, LOG, EIO));
    assert_the_first_failed_commit_is_the_last(Fault::once(Sync, LOG, EIO).after(1));
}

#[test]
fn after_a_failed_write_to_the_log_nothing_is_acknowledged() {
    // The first write is that of the log's header, later ones are those of pages.
    assert_the_first_failed_commit_is_the_last(Fault::once(Write, LOG, EIO));
    assert_the_first_failed_commit_is_the_last(Fault::once(Write, LOG, EIO).after(2));
}

#[test]
fn after_a_failed_checkpoint_nothing_is_acknowledged() {
    let faults = [
        Fault::once(Sync, FILE, EIO),
        Fault::once(Write, FILE, EIO),
        Fault::once(Sync, LOG, EIO).after(2),
    ];
    for fault in faults {
        for end in Server::ends() {
            let place = Place::new();
            let mut server = place.open();
            place.arm(fault);
            assert_eq!(server.ask("write 3"), "ok", "it is in the log");
            server.ask_in_vain("failed");
            assert_eq!(place.hits(), 1, "{fault:?}");
            place.heal();
            server.ask_in_vain("write 4");
            server.ask_in_vain("write 5");
            assert_eq!(server.ask("rows"), "1 2 3");
            end(server);
            assert_eq!(place.rows_of_a_new_start(), "1 2 3", "after {fault:?}");
        }
    }
}

#[test]
fn a_write_during_a_failed_checkpoint_is_not_acknowledged() {
    let place = Place::new();
    let mut server = place.open();
    place.arm(Fault::once(Sync, FILE, EIO));
    assert_eq!(server.ask("write 3"), "ok", "it is in the log");
    server.ask_in_vain("patient 4");
    assert_eq!(place.hits(), 1);
    drop(server.kill());
    let rows = place.rows_of_a_new_start();
    assert!(rows == "1 2 3" || rows == "1 2 3 4", "{rows}");
}

#[test]
fn after_a_failed_read_the_storage_is_not_trusted() {
    // Each of the reads in turn: the first ones open the connection, the last one reads a row's
    // page.
    let all_in_turn = |error| {
        (0..100).find(|passing| !a_failed_read(Fault::once(Read, FILE, error).after(*passing)))
    };
    assert!(all_in_turn(EIO) > Some(2));
    assert!(all_in_turn(ESTALE) > Some(2));
}

/// Makes a read fail. Returns whether there were that many reads.
fn a_failed_read(fault: Fault) -> bool {
    let place = Place::new();
    let mut server = place.open();
    place.arm(fault);
    let answer = server.ask("rows");
    if place.hits() == 0 {
        return false;
    }
    assert!(answer.starts_with("error Failed("), "{answer} to {fault:?}");
    place.heal();
    server.ask_in_vain("failed");
    server.ask_in_vain("write 3");
    assert_eq!(server.ask("rows"), "1 2");
    server.leave();
    assert_eq!(place.rows_of_a_new_start(), "1 2");
    true
}

#[test]
fn a_failed_read_counts_even_if_the_closure_ignores_it() {
    for deaf in ["deaf-write", "deaf-read"] {
        let overlooked = |passing: &i32| {
            let place = Place::new();
            let mut server = place.open();
            place.arm(Fault::once(Read, FILE, EIO).after(*passing));
            let answer = server.ask(deaf);
            if place.hits() == 0 {
                assert_eq!(answer, "ok");
                return true;
            }
            // A read whose caller ignores the failure is answered; a write is not.
            assert!(deaf == "deaf-read" || answer.starts_with("error Failed("), "{answer}");
            place.heal();
            server.ask_in_vain("failed");
            server.ask_in_vain("write 3");
            false
        };
        // Each of the reads in turn.
        let reads = (0..100).find(overlooked);
        assert!(reads > Some(0), "{reads:?} of a {deaf}");
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let place = Place::new();
    let mut server = place.open();
    assert_eq!(server.ask("write 3"), "ok");
    place.arm(Fault::once(Write, LOG, ENOSPC).forever());
    for refused in ["write 4", "big 5 100000", "big 6 20000000", "write 7"] {
        assert_eq!(server.ask(refused), "error Full");
        assert_eq!(server.ask("rows"), "1 2 3", "reads go on");
    }
    assert!(place.hits() >= 4);
    assert_eq!(server.ask("sound"), "ok");
    place.heal();
    assert_eq!(server.ask("write 8"), "ok");
    assert_eq!(server.ask("big 9 20000000"), "ok");
    assert_eq!(server.ask("rows"), "1 2 3 8 9");
    drop(server.kill());
    assert_eq!(place.rows_of_a_new_start(), "1 2 3 8 9");
}

#[test]
fn a_full_disk_for_the_index_of_the_log_refuses_writes_until_there_is_space() {
    let place = Place::new();
    let mut server = place.open();
    assert_eq!(server.ask("write 3"), "ok");
    place.arm(Fault::once(Write, INDEX, ENOSPC).forever());
    // The index has room for 4062 pages before it grows.
    assert_eq!(server.ask("big 4 20000000"), "error Full");
    assert!(place.hits() > 0);
    assert_eq!(server.ask("rows"), "1 2 3");
    assert_eq!(server.ask("sound"), "ok");
    place.heal();
    assert_eq!(server.ask("big 5 20000000"), "ok");
    assert_eq!(server.ask("rows"), "1 2 3 5");
    drop(server.kill());
    assert_eq!(place.rows_of_a_new_start(), "1 2 3 5");
}

#[test]
fn a_disk_too_full_for_a_checkpoint_does_not_block_writes() {
    for end in Server::ends() {
        let place = Place::new();
        let mut server = place.open();
        place.arm(Fault::once(Write, FILE, ENOSPC).forever());
        assert_eq!(server.ask("write 3"), "ok");
        until(|| place.hits() > 0);
        assert_eq!(server.ask("write 4"), "ok", "the log has room");
        assert_eq!(server.ask("sound"), "ok");
        end(server);
        assert_eq!(place.rows_of_a_new_start(), "1 2 3 4");
    }
}

#[test]
fn a_log_that_cannot_be_emptied_at_the_end_loses_nothing() {
    let place = Place::new();
    let mut server = place.open();
    place.arm(Fault::once(Truncate, LOG, EIO).forever());
    assert_eq!(server.ask("write 3"), "ok");
    server.leave();
    assert!(place.hits() > 0);
    assert_eq!(place.rows_of_a_new_start(), "1 2 3");
}

#[test]
fn a_failed_commit_fails_every_write_in_it() {
    let faults = [
        Fault::once(Sync, LOG, EIO),
        Fault::once(Sync, LOG, EIO).after(1),
        Fault::once(Write, LOG, EIO),
        Fault::once(Write, LOG, ENOSPC),
        Fault::once(Write, LOG, ENOSPC).after(2),
    ];
    for fault in faults {
        // The writer gathers for a few milliseconds only, which may be too short on a busy machine.
        let shared = (0..50).any(|_| all_of_a_commit_fail(fault));
        assert!(shared, "writes that waited together never failed together with {fault:?}");
    }
}

/// Makes a commit of ten writes fail. Returns whether it contained all of them.
fn all_of_a_commit_fail(fault: Fault) -> bool {
    let place = Place::new();
    let mut server = place.open();
    place.arm(fault);
    server.tell("batch 3 12");
    let answers: Vec<_> = (3..=12).map(|_| server.line()).collect();
    // After a permanent failure, those that were in no commit yet are not even tried.
    let ran = server.line();
    let expected = if fault.error == EIO { "error Failed(" } else { "error Full" };
    if ran != "10" || answers.iter().any(|answer| answer == "ok") {
        return false;
    }
    assert_eq!(place.hits(), 1);
    assert!(answers.iter().all(|answer| answer.starts_with(expected)), "{answers:?}");
    assert_eq!(server.ask("rows"), "1 2", "none of them is there");
    drop(server.kill());
    let rows = place.rows_of_a_new_start();
    let all = "1 2 3 4 5 6 7 8 9 10 11 12";
    // After a failed sync they may have reached the disk, but then all of them.
    let unknown = matches!(fault, Fault { operation: Sync, passing: 1, .. });
    assert!(rows == "1 2" || unknown && rows == all, "{rows} after {fault:?}");
    true
}

#[test]
fn a_write_that_continues_after_its_rollback_leaves_nothing() {
    let place = Place::new();
    let mut server = place.open();
    place.arm(Fault::once(Write, LOG, ENOSPC));
    assert_eq!(server.ask("stubborn 3"), "error Full");
    assert_eq!(place.hits(), 1);
    assert_eq!(server.ask("rows"), "1 2");
    assert_eq!(server.ask("write 4"), "ok");
    server.leave();
    assert_eq!(place.rows_of_a_new_start(), "1 2 4");
}

#[test]
fn a_real_full_disk_refuses_writes_until_there_is_space() {
    let Some((mut server, folder)) = reserve::on_a_small_disk("4m") else { return };
    for command in ["migrate", "open", "ballast 1000000", "write 1"] {
        assert_eq!(server.ask(command), "ok", "to {command}");
    }
    let full = |server: &mut Server, from: i32| {
        let mut numbers = from..;
        let refused = numbers.find(|number| match &*server.ask(&format!("big {number} 100000")) {
            "ok" => false,
            "error Full" => true,
            other => panic!("{other} on a full disk"),
        });
        let refused = refused.expect("a disk ends");
        let rows: Vec<_> = (1..refused).map(|row| row.to_string()).collect();
        for _ in 0..20 {
            assert_eq!(server.ask(&format!("big {refused} 100000")), "error Full");
            assert_eq!(server.ask("rows"), rows.join(" "), "reads go on");
        }
        assert_eq!(server.ask("sound"), "ok");
        refused
    };
    let refused = full(&mut server, 2);
    assert!(refused > 5, "there was room for some");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "it filled another disk");
    assert_eq!(server.ask("unballast"), "ok");
    assert_eq!(server.ask(&format!("big {refused} 100000")), "ok", "by itself");
    full(&mut server, refused + 1);
    assert_eq!(server.ask("integrity"), "ok");
    server.leave();
}
